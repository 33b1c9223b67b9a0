"""From bytes to readers: cut output into whole lines and deliver them to every subscription.

Read `output` first: it turns the bytes of a process into batches, with `flushing` for lines that
take long, `capture` and `tail` for the output that a `Result` or an error shows, and `line_matcher`
for the lines that probes wait for.  `spill` writes all output into a file, in one of the `threads`,
and `silence` measures for how long there was none.
Then read `channel`, which hands each message to every subscription.  `subscription` decides when a
sender waits and when output is discarded; `buffer` holds the messages, and `fast_lane` lets small
batches overtake large ones.  The two kinds of subscription are `readers` (the iterators over a
Runner) and `feed` (the stream of a sink).  `reader_task` knows which task reads, `waiters` which
tasks wait for the commands, and `unread` warns if no task reads.  A command without readers and
sinks has a `discard` in place of the channel.

The readers of one command have a way of their own.  `transcript` keeps its last output, in a
`track` for each stream, and a `cursor` is the position of one reader there.  On top of these are
`output_stream`, `transcript_lines` and `expectation`.
"""
