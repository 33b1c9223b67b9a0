"""Many commands: the public `Runner` and `Job`, and the tasks below them.

Read `runner` and `supervisor` first: the tasks of a block, and the order in which they end.  Then
follow one command.  `dispatcher` starts the command's life, with `scheduler` and `conditions`;
`lifecycle` is that life, `job` the public handle of it, and `attempt` one run of the process.
`health` runs the probes, `standard_input` feeds and closes stdin, `announcer` sends the messages,
`requested_stop` is a stop up to its first signal (with `stop_command`), `outcome` is how an
attempt ends, and `readiness` answers whether a command can still become ready.  The commands of
probes and stops are `side_commands`.  Of a `Job`, `conversation` is what it does with the output of
a life, `job_conditions` what it waits for, and `job_input` what it does with the stdin.  `startup`
waits for a start.  `reactions` restarts commands when files change (`file_changes`, `watch_rules`),
and with other commands.  `sweep`, `sink_tasks` and `failure` belong to the supervisor.  `context`
holds the objects that are handed down.  `run_alone` runs a single life, without a Runner.
"""
