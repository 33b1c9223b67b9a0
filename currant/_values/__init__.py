"""Values and pure functions: commands, messages, results, and the decisions about them.

Nothing here imports anyio, reads a clock or calls the system, so tables test all of it.

Read `command` (with `launch_spec` and `policies`) and `messages` first.  `lines` cuts output into
lines, `restart` decides whether a command runs again, `exit` and `results` describe the end.
`names`, `dependencies` and `plan` are for the commands of a Runner as a whole, `probe` is the
interface of a probe.  `wire` writes messages as JSON and reads them back, and `state` folds them
into the state of a command.  `incremental_search` finds a match in bytes that arrive in parts, and
`excerpt` is a part of the output.  `host_names` unfolds names such as ``gpu[1-4]`` and folds them.
`errors` and `checks` are below all of them.
"""
