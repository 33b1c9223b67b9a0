"""The tables that are values of keys, such as ``restart = { when = "always", delay = 1 }``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic_core.core_schema import (
    definition_reference_schema,
    dict_schema,
    float_schema,
    int_schema,
    list_schema,
    literal_schema,
)

from currant._values.restart import RestartWhen
from currant.config._table import Table, option, required
from currant.config._types import (
    ANY_TEXT,
    COUNT,
    FLAG,
    POSITIVE_SECONDS,
    PTY_SIDE,
    SECONDS,
    SIZE,
    TEXT,
    TEXTS,
    WHOLE,
    WORDS,
    by_kind,
    or_variable,
    words_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "CAPTURE_TABLE",
    "FILE_TABLE",
    "INPUT_TABLE",
    "LIMITS_TABLE",
    "PROBE",
    "PROBE_TABLE",
    "PTY_TABLE",
    "RESTART_TABLE",
    "TABLES",
    "WATCH_TABLE",
]

RESTART_TABLE = Table(
    "RestartTable",
    "When to restart a command that has ended by itself, and after which delay.",
    {
        "when": required(words_of(RestartWhen), "After which ends the command is restarted."),
        "max_restarts": option(WHOLE, "Give up after this many restarts in a row.", 5),
        "delay": option(SECONDS, "Seconds before the first restart; 0.1 by default.", 1.0),
        "factor": option(
            or_variable(float_schema(ge=1, allow_inf_nan=False)),
            "Multiplies each further delay; 2 by default.",
            2,
        ),
        "max_delay": option(SECONDS, "The longest delay in seconds; 30 by default.", 30),
        "jitter": option(
            or_variable(float_schema(ge=0, le=1, allow_inf_nan=False)),
            "Varies each delay at random by up to this share, from 0 to 1; 0.1 by default.",
            0.1,
        ),
        "reset_after": option(
            SECONDS,
            "After an attempt that was up for this many seconds, the count and the delay begin "
            "anew; 10 by default.",
            10,
        ),
    },
)

PTY_TABLE = Table(
    "PtyTable",
    "The size of a pseudo-terminal.",
    {
        "rows": option(PTY_SIDE, "The number of lines; 24 by default.", 24),
        "columns": option(PTY_SIDE, "The number of characters in a line; 80 by default.", 80),
    },
)

WATCH_TABLE = Table(
    "WatchTable",
    "The files that a command depends on.",
    {
        "paths": required(TEXTS, "Files and folders, relative to cwd.", "src", ["src", ".env"]),
        "include": option(TEXTS, "Patterns of the files that count.", ["*.py", "*.html"]),
        "ignore": option(
            TEXTS, "Patterns of files that do not count; ! takes one back.", "*_test.py"
        ),
        "debounce": option(
            SECONDS, "Seconds without another change before the restart; 0.2 by default.", 1
        ),
        "action": option(TEXT, "restart, or a signal to send to the command.", "HUP"),
    },
)

LIMITS_TABLE = Table(
    "LimitsTable",
    "What each process of a command may use.",
    {
        "memory": option(SIZE, "Bytes of address space; with k, M or G: KiB, MiB or GiB.", "512M"),
        "cpu_time": option(COUNT, "Whole seconds of processor time.", 60),
        "file_size": option(SIZE, "Bytes of a file that the process writes.", "1G"),
        "open_files": option(COUNT, "How many files the process may have open.", 1024),
        "processes": option(COUNT, "How many processes and threads the user may have.", 200),
        "core": option(WHOLE, "Bytes of a core dump; 0: none.", 0),
    },
)

CAPTURE_TABLE = Table(
    "CaptureTable",
    "Which part of the output to keep in memory or in a file.",
    {
        "head": option(WHOLE, "The number of first bytes of each stream.", 4096),
        "tail": option(WHOLE, "The number of last bytes of each stream.", 65536),
        "spill": option(
            TEXT, "A file for all of the output; {name} is the command.", "logs/{name}.out"
        ),
    },
)

FILE_TABLE = Table(
    "FileTable",
    "A file that gets the output.",
    {"file": required(TEXT, "The path, relative to the folder of the command.")},
)

INPUT_TABLE = Table(
    "InputTable",
    "What the command reads from its stdin.",
    {
        "file": option(
            TEXT, "The path of a file, relative to the folder of the command.", "in.txt"
        ),
        "text": option(ANY_TEXT, "The input itself, followed by its end.", "yes\n"),
    },
    one_of=("file", "text"),
)

STATUS = int_schema(ge=100, le=599)
PROBE = by_kind(text=TEXT, table=definition_reference_schema("ProbeTable"))

PROBE_TABLE = Table(
    "ProbeTable",
    "A check of whether a command is ready, or alive; it has exactly one of the keys tcp, unix, "
    "http, file, line, command, delay, all and any.",
    {
        "tcp": option(
            by_kind(number=int_schema(ge=1, le=65535), text=TEXT),
            "A port that accepts connections, on this machine or as HOST:PORT.",
            5432,
        ),
        "unix": option(
            TEXT,
            "A Unix socket that accepts connections; the path is relative to the folder of the "
            "command.",
            "web.sock",
        ),
        "http": option(
            TEXT,
            "A URL, of http or https, that answers a request.",
            "http://127.0.0.1:8000/health",
        ),
        "file": option(
            TEXT,
            "A file that the command makes or changes after its start; the path is relative to the "
            "folder of the command.",
            "web.pid",
        ),
        "line": option(
            ANY_TEXT, "A regular expression that matches a line of the output.", "^Listening"
        ),
        "command": option(
            WORDS, "A command that succeeds: a shell line, or words.", "pg_isready -q"
        ),
        "delay": option(POSITIVE_SECONDS, "Seconds to wait.", 2),
        "all": option(list_schema(PROBE, min_length=1), "Probes that all must succeed."),
        "any": option(list_schema(PROBE, min_length=1), "Probes of which one must succeed."),
        "own": option(
            FLAG,
            "With tcp, unix and http: whether the server must belong to the command itself; true "
            "by default. False for a server that docker starts.",
        ),
        "status": option(
            by_kind(number=STATUS, list=list_schema(STATUS, min_length=1)),
            "With http: the status code that is expected, or several; by default any from 200 to "
            "399.",
            204,
        ),
        "method": option(TEXT, "With http: the method of the request; GET by default.", "POST"),
        "headers": option(
            dict_schema(ANY_TEXT, ANY_TEXT),
            "With http: headers of the request.",
            {"Authorization": "Bearer ${TOKEN}"},
        ),
        "body": option(ANY_TEXT, "With http: the body of the request."),
        "pattern": option(
            ANY_TEXT,
            "With http: a regular expression that the body of the response matches.",
            '"status": *"up"',
        ),
        "ca": option(
            TEXT,
            "With https: a file with the certificates of the authorities to trust; the path is "
            "relative to the folder of the command. By default those that the machine trusts.",
            "ca.pem",
        ),
        "verify": option(
            FLAG,
            "With https: whether the certificate of the server must be valid; true by default.",
        ),
        "non_empty": option(FLAG, "With file: whether the file must have content."),
        "stream": option(
            literal_schema(["stdout", "stderr"]), "With line: the stream; both by default."
        ),
        "raw": option(FLAG, "With line: whether escape sequences are searched, too."),
        "interval": option(
            POSITIVE_SECONDS,
            "Seconds between two checks; by default 0.1 until the command is ready, then 5.",
            0.5,
        ),
        "timeout": option(
            POSITIVE_SECONDS,
            "Seconds until a command must be ready (60 by default), or that one check of alive "
            "may take (1 by default).",
            30,
        ),
    },
    one_of=("tcp", "unix", "http", "file", "line", "command", "delay", "all", "any"),
    only_with={
        "own": ("tcp", "unix", "http"),
        "status": ("http",),
        "method": ("http",),
        "headers": ("http",),
        "body": ("http",),
        "pattern": ("http",),
        "ca": ("http",),
        "verify": ("http",),
        "non_empty": ("file",),
        "stream": ("line",),
        "raw": ("line",),
    },
)

TABLES: Mapping[str, Table] = {
    "restart": RESTART_TABLE,
    "pty": PTY_TABLE,
    "watch": WATCH_TABLE,
    "limits": LIMITS_TABLE,
    "capture": CAPTURE_TABLE,
    "stdin": INPUT_TABLE,
    "stdout": FILE_TABLE,
    "stderr": FILE_TABLE,
    "ready": PROBE_TABLE,
    "alive": PROBE_TABLE,
    "all": PROBE_TABLE,
    "any": PROBE_TABLE,
}
"""The table that the value of each key may be."""
