"""All keys of a configuration: those at the top level, and those of a command.

A key has the name of the option in Python.  pydantic's core checks the types of the values, and the
library checks the values when `_build` builds the commands; the limits of numbers are repeated here
for editors, which also show the descriptions: `schema.json` is made from these tables.

Only `_load` imports this module, and when it reads a file: pydantic's core is an extra.
"""

from __future__ import annotations

from pydantic_core import SchemaValidator
from pydantic_core.core_schema import (
    bool_schema,
    definitions_schema,
    dict_schema,
    float_schema,
    int_schema,
    list_schema,
    literal_schema,
    no_info_before_validator_function,
    str_schema,
    union_schema,
)

from currant._values.launch_spec import KillMode, Leftovers
from currant._values.links import Condition
from currant._values.policies import KillOthersOn
from currant._values.restart import RestartWhen
from currant.config._table import Table, option, required
from currant.config._tables import (
    CAPTURE_TABLE,
    FILE_TABLE,
    INPUT_TABLE,
    LIMITS_TABLE,
    PROBE,
    PTY_TABLE,
    RESTART_TABLE,
    TABLES,
    WATCH_TABLE,
)
from currant.config._types import (
    ACCOUNT,
    ANY_TEXT,
    COUNT,
    FLAG,
    POSITIVE_SECONDS,
    SECONDS,
    SIGNAL,
    SIZE,
    TEXT,
    TEXTS,
    VARIABLES,
    WHOLE,
    WORDS,
    WRAP,
    by_kind,
    or_variable,
    words_of,
)
from currant.sinks import Color

__all__ = ["COMMAND_TABLE", "SCHEMA", "TOP_TABLE", "VALIDATOR"]

# ---- at the top level and in a command ----

CAPTURE = by_kind(flag=bool_schema(), number=int_schema(ge=0), table=CAPTURE_TABLE.type)
RESTART = by_kind(text=words_of(RestartWhen), table=RESTART_TABLE.type)
STDIN_WORD = literal_schema(["open", "null", "pipe"])

CAPTURE_TEXT = "Which part of the output results keep: a number of last bytes, all, or a table."
CWD_TEXT = "The folder to run in, from the folder of this file on."
ENV_FILE_TEXT = "Files of variables, one NAME=value per line, from the folder of this file on."
RESTART_TEXT = "When a command that has ended by itself is restarted."
STDIN_TEXT = (
    "What a command reads: open (a pipe that stays open and silent), null (/dev/null), or pipe "
    "(what is sent to it)."
)

ENV_KEY = option(
    VARIABLES, "Variables, in addition to those of currant's environment.", {"DEBUG": "1"}
)
GRACE_KEY = option(SECONDS, "Seconds between the request to stop and SIGKILL; 5 by default.", 10)
IDLE_TIMEOUT_KEY = option(
    POSITIVE_SECONDS,
    "Stop a command that writes nothing for this many seconds; it has failed.",
    60,
)
KILL_MODE_KEY = option(
    words_of(KillMode),
    "Ask the whole process group to stop, or (mixed) its first process alone.",
)
LEFTOVERS_KEY = option(
    words_of(Leftovers),
    "What happens to processes that the first process leaves behind when it exits.",
)
MAX_OUTPUT_KEY = option(
    SIZE,
    "Stop a command that writes more bytes than this; with k, M or G: KiB, MiB or GiB.",
    "10M",
)
STOP_SIGNAL_KEY = option(
    SIGNAL, "The signal that asks a command to stop: a name or a number; TERM by default.", "INT"
)
WRAP_KEY = option(
    WRAP, "Words to put before those of the command, such as 'nice -n 10'.", "nice -n 10"
)

# ---- a command ----

COMMAND_TABLE = Table(
    "CommandTable",
    "A command, and how it is run.",
    {
        "command": required(
            WORDS,
            "What to run: a line for the shell, or an array of words that are run without a shell.",
            "uvicorn web:app --reload",
            ["python", "-m", "http.server"],
        ),
        "after": option(
            by_kind(
                text=TEXT, list=list_schema(TEXT), table=dict_schema(TEXT, words_of(Condition))
            ),
            "The commands to wait for, which are then ready, or started if they have no probe; in "
            "a table: what to wait for.",
            "db",
            ["db", "redis"],
            {"migrate": "succeeded"},
        ),
        "ready": option(
            PROBE,
            "When the command is ready: tcp:PORT, unix:PATH, http://URL, file:PATH, line:PATTERN, "
            "command:LINE, delay:SECONDS, or a table.",
            "tcp:5432",
            "http://127.0.0.1:8000/health",
            "line:^Listening",
        ),
        "alive": option(
            PROBE,
            "What is checked again and again while the command is ready.",
            "http://127.0.0.1:8000/",
        ),
        "watch": option(
            by_kind(text=TEXT, list=list_schema(TEXT, min_length=1), table=WATCH_TABLE.type),
            "Files and folders: if one changes, the command is restarted, or gets a signal.",
            "src",
            ["src", ".env"],
            {"paths": "nginx.conf", "action": "HUP"},
        ),
        "restart_with": option(
            TEXTS,
            "Restart the command when one of these has been restarted and is up again.",
            ["db"],
        ),
        "failure_threshold": option(
            COUNT, "How many failures of alive in a row end an attempt; 3.", 3
        ),
        "restart": option(
            RESTART, RESTART_TEXT, "on-failure", {"when": "always", "max_restarts": 5}
        ),
        "kill_others_on": option(
            words_of(KillOthersOn), "Stop all commands when this one ends this way."
        ),
        "profiles": option(
            list_schema(TEXT),
            "Start the command only if it is named, needed by another one, or one of these "
            "profiles is chosen with --profile.",
            ["debug"],
        ),
        "hidden": option(FLAG, "Whether the output is not shown; a log file still gets it."),
        "color": option(TEXT, "The colour of the name.", "cyan", "bold #ff8800"),
        "replicas": option(
            or_variable(int_schema(ge=1, le=10_000)),
            "The number of copies to run: web becomes web.1 to web.N.",
            2,
        ),
        "cwd": option(TEXT, CWD_TEXT, "api"),
        "env": ENV_KEY,
        "env_file": option(TEXTS, ENV_FILE_TEXT, ".env.test", [".env", ".env.local"]),
        "inherit_env": option(
            FLAG, "Whether the command has the variables of currant's environment."
        ),
        "stdin": option(
            by_kind(text=STDIN_WORD, table=INPUT_TABLE.type), STDIN_TEXT, "null", {"file": "in.txt"}
        ),
        "stdout": option(
            by_kind(text=literal_schema(["inherit"]), table=FILE_TABLE.type),
            "Where stdout goes instead of to currant; inherit: to currant's own stdout.",
        ),
        "stderr": option(
            by_kind(text=literal_schema(["separate", "stdout", "inherit"]), table=FILE_TABLE.type),
            "Where stderr goes; by default, merge decides.",
        ),
        "pty": option(
            by_kind(flag=bool_schema(), table=PTY_TABLE.type),
            "Whether the command runs on a terminal of its own.",
            {"columns": 120},
        ),
        "stop_command": option(
            WORDS,
            "What stops the command, before any signal: a line for the shell, or an array of "
            "words.",
            "redis-cli shutdown nosave",
        ),
        "stop_signal": STOP_SIGNAL_KEY,
        "grace": GRACE_KEY,
        "kill_mode": KILL_MODE_KEY,
        "leftovers": LEFTOVERS_KEY,
        "timeout": option(
            POSITIVE_SECONDS, "Stop an attempt that takes longer; it has failed.", 60
        ),
        "idle_timeout": IDLE_TIMEOUT_KEY,
        "max_output": MAX_OUTPUT_KEY,
        "success_codes": option(
            list_schema(or_variable(int_schema(ge=0, le=255))),
            "The exit codes that count as success.",
            [0, 3],
        ),
        "limits": option(LIMITS_TABLE.type, "What each process may use.", {"memory": "512M"}),
        "nice": option(or_variable(int_schema(ge=-39, le=39)), "How much to give way.", 5),
        "umask": option(
            or_variable(int_schema(ge=0, le=0o777)),
            "The permissions that new files do not get; 0o077 in TOML.",
            0o077,
        ),
        "user": option(ACCOUNT, "The user to run as.", "www-data"),
        "group": option(ACCOUNT, "The group to run as.", "www-data"),
        "extra_groups": option(list_schema(ACCOUNT), "The supplementary groups.", ["docker"]),
        "wrap": WRAP_KEY,
        "host": option(TEXT, "The host to run on, if there are hosts.", "gpu1"),
        "resources": option(
            dict_schema(TEXT, WHOLE), "What the command needs of its host.", {"gpus": 1}
        ),
        "capture": option(CAPTURE, CAPTURE_TEXT, {"spill": "logs/{name}.out"}),
        "line_limit": option(COUNT, "The most bytes of a line that stay together; 65536.", 65536),
        "flush_after": option(
            by_kind(
                number=float_schema(ge=0, allow_inf_nan=False),
                text=literal_schema(["auto", "never"]),
            ),
            "Seconds of silence after which an unfinished line is shown.",
            0.1,
        ),
    },
)


def _as_table(value: object) -> object:
    """Return a line for the shell as the table of a command."""
    return {"command": value} if isinstance(value, str) else value


LINE = str_schema(min_length=1, metadata={"description": "A line for the shell."})
LINE_OR_TABLE = no_info_before_validator_function(
    _as_table, COMMAND_TABLE.type, json_schema_input_schema=union_schema([LINE, COMMAND_TABLE.type])
)

# ---- the top level ----

TOP_TABLE = Table(
    "TopTable",
    "The settings for all commands, and the commands themselves.",
    {
        "$schema": option(ANY_TEXT, "The schema of this file, for editors."),
        "commands": required(
            dict_schema(TEXT, LINE_OR_TABLE),
            "The commands by name: a shell line, or a table.",
            {"web": "uvicorn web:app", "db": {"command": "postgres", "ready": "tcp:5432"}},
        ),
        "env": ENV_KEY,
        "env_file": option(TEXTS, f"{ENV_FILE_TEXT}  By default .env, if it exists.", ".env.dev"),
        "cwd": option(TEXT, f"{CWD_TEXT}  By default that folder.", "app"),
        "restart": option(RESTART, RESTART_TEXT, "on-failure"),
        "kill_others_on": option(
            words_of(KillOthersOn), "Stop all commands when one ends this way.", "failure"
        ),
        "max_processes": option(COUNT, "How many commands may run at the same time.", 4),
        "timeout": option(
            POSITIVE_SECONDS, "Seconds that everything may take; then all stop.", 3600
        ),
        "grace": GRACE_KEY,
        "stop_signal": STOP_SIGNAL_KEY,
        "kill_mode": KILL_MODE_KEY,
        "leftovers": LEFTOVERS_KEY,
        "idle_timeout": IDLE_TIMEOUT_KEY,
        "max_output": MAX_OUTPUT_KEY,
        "stdin": option(STDIN_WORD, STDIN_TEXT),
        "cgroup": option(
            by_kind(flag=bool_schema(), text=literal_schema(["auto"])),
            "Whether each command has a control group of Linux; auto: if that is possible.",
        ),
        "wrap": WRAP_KEY,
        "capture": option(CAPTURE, CAPTURE_TEXT, 65536),
        "prefix": option(
            ANY_TEXT,
            "The prefix of each line: name, index, command, pid, time, none, or a text with "
            "fields.",
            "{time} {name} | ",
        ),
        "prefix_length": option(COUNT, "The characters of a command line in a prefix; 10.", 20),
        "timestamps": option(FLAG, "Whether the time of day is before each line."),
        "raw": option(FLAG, "Whether the output is shown unchanged, without prefixes."),
        "group": option(FLAG, "Whether the output of a command is one block."),
        "merge": option(FLAG, "Whether stderr is shown on stdout, in the order written."),
        "color": option(words_of(Color), "When names are coloured; auto: on a terminal."),
        "json": option(FLAG, "Whether each line and event is a JSON object."),
        "quiet": option(FLAG, "Whether currant's own messages are hidden."),
        "log_dir": option(
            TEXT, "A folder that gets the output of each command as NAME.log.", "logs"
        ),
        "log_size": option(SIZE, "The size at which another log file begins.", "10M"),
        "summary": option(FLAG, "Whether a table at the end shows how each command ended."),
        "timings": option(FLAG, "Whether a table at the end shows when each command ran."),
        "success": option(
            TEXT,
            "Whose failure sets the exit status: all, first, last, NAME or !NAME.",
            "!web",
        ),
    },
)

_ALL_TABLES = {table.name: table for table in (*TABLES.values(), COMMAND_TABLE, TOP_TABLE)}

SCHEMA = definitions_schema(TOP_TABLE.type, [each.definition for each in _ALL_TABLES.values()])
"""The schema of a whole configuration."""

VALIDATOR = SchemaValidator(SCHEMA)
