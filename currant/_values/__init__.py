"""Values and pure functions: commands, messages, results, and the decisions about them.

Nothing here imports anyio, reads a clock or calls the system, so tables test all of it.

Read `command` (with `launch_spec` and `policies`) and `messages` first.  The options of a command
that are more than a number or a text have modules of their own: `capture`, `limits`, `links`,
`listeners`, `resources`, `standard_files` (with `emptied_files`), `terminal`, `variables` and
`watch`.  `shell_syntax` says whether a line needs a shell, and `options` what an unknown option may
have meant.

`restart` decides whether a command runs again; `exit`, `usage` and `results` describe the end, and
`success` says whose failure counts.  `stop_request` and `shutdown_limits` are the times of a stop.
`names`, `dependencies` and `plan` are for the commands of a Runner as a whole.  `wire` writes
messages as JSON and reads them back, and `state` folds them into the state of a command.

`lines` cuts output into lines, `excerpt` is a part of the output, `incremental_search` finds a
match in bytes that arrive in parts, and `line_pattern` a match in lines.  `probe` is the interface
of a probe, `exchange` what it sends to a server, and `http_response` what a web server answers.
`host_names` unfolds names such as ``gpu[1-4]`` and folds them.  `file_name`, `printable` and
`escape_sequences` make texts safe for a path and for a terminal.  `errors` and `checks` are below
all of them.
"""
