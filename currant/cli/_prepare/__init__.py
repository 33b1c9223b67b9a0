"""From the options of the command line to a Runner that is ready to run.

`from_command_lines` (for `currant run`), `from_config` and `from_procfile` (for `currant start`)
make the commands, and pass them to `runner`, which builds the Runner.  They have these parts:

- `display`: the sinks that show and log the output; `env`: variables for the place of the output
- `hosts`: a launcher for many hosts
- `stack_place`: the socket, the history and the log of a stack
- `labels`: the default name of a command
- `scripts`: shortcuts for the scripts of package.json, and placeholders
- `remark`: lines about all commands, such as which command's end stops the others
- `file_limit`: the limit of open files

`currant map` and `currant with` build their own Runner, of the same parts.
"""
