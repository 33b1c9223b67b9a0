"""Many commands: the public `Runner` and `Job`, and the tasks below them.

Read `runner` and `supervisor` first: the tasks of a block, and the order in which they end.  Then
follow one command.  `dispatcher` starts the command's life, with `scheduler` and `conditions`;
`lifecycle` is that life, `job` the public handle of it, and `attempt` one run of the process.
`health` runs the probes, `standard_input` feeds and closes stdin, `announcer` sends the messages,
`requested_stop` is a stop up to its first signal, with the `stop_command`, `outcome` is how an
attempt ends, and `readiness` answers whether a command can still become ready.  The commands of
probes and stops run `beside` a process.  `conversation` is what a `Job` does with the output of a
life, with `until` for its conditions, and `job_input` what it does with the stdin.  `up` waits for
a start.  `reactions` restarts commands when files change (`file_changes`, `watch_rules`), and with
other commands.  `sweep`, `sink_tasks` and `failure` belong to the supervisor.  `context` holds the
objects that are handed down.  `alone` runs a single life, without a Runner.
"""
