"""From bytes to readers: output is read, cut into whole lines, and handed to every subscription.

Read `output` first, then `channel`, and `subscription` for what happens when a reader is slow or
absent.  `readers` are the iterators over a Runner, `feed` is the stream of a sink, and `waiters`
knows which tasks wait for the commands.
"""
