"""Sinks: places for the output if no task iterates over the Runner.

A sink is an async callable that takes a stream of messages.  Each sink has a subscription of its
own, and `join` waits for all sinks.  The file of a sink may be slow (a terminal, a pipe, a disk),
so these sinks write in a thread, and the event loop goes on.  Messages that arrive during a write
wait in the buffer of the subscription, and are written together; if the buffer is full, the
commands wait.

To read the package: `_threaded` is the base of the sinks, `_files` writes bytes to files, and
`_log_file` appends to a file that may fail.  `_formatter` turns messages into text, with
`_templates` (labels and texts), `_events` (a description of each message), `_line_writer`,
`_control` (which control sequences pass), `_colors`, `_progress`, `_spool` and `_temporary` (output
that waits on disk), `_tail` (the last lines of a command), `_same` (equal output of many hosts) and
`_live` (whether a person watches).
`_trace_timeline` turns messages into the events of a trace, with `_trace_track`, `_trace_usage`,
`_rates` and `_trace_events`.

The modules are imported when their names are first used: most programs need one sink.
"""

import typing as _typing

from currant._first_use import imported as _imported

if _typing.TYPE_CHECKING:
    from currant._channel.feed import SinkAttribute
    from currant.sinks._colors import Color, check_style
    from currant.sinks._console import ConsoleSink
    from currant.sinks._directory import DirectorySink
    from currant.sinks._events import Event
    from currant.sinks._files import File
    from currant.sinks._formatter import Mode
    from currant.sinks._json import JSONSink
    from currant.sinks._logging import LoggingSink
    from currant.sinks._metrics import MetricsSink
    from currant.sinks._templates import DEFAULT_PREFIX
    from currant.sinks._trace import TraceSink
    from currant.sinks._warning import SinkWarning
    from currant.sinks._writer import WriterSink

__all__ = [
    "DEFAULT_PREFIX",
    "Color",
    "ConsoleSink",
    "DirectorySink",
    "Event",
    "File",
    "JSONSink",
    "LoggingSink",
    "MetricsSink",
    "Mode",
    "SinkAttribute",
    "SinkWarning",
    "TraceSink",
    "WriterSink",
    "check_style",
]

_HOMES = {
    "Color": "currant.sinks._colors",
    "ConsoleSink": "currant.sinks._console",
    "DEFAULT_PREFIX": "currant.sinks._templates",
    "DirectorySink": "currant.sinks._directory",
    "Event": "currant.sinks._events",
    "File": "currant.sinks._files",
    "JSONSink": "currant.sinks._json",
    "LoggingSink": "currant.sinks._logging",
    "MetricsSink": "currant.sinks._metrics",
    "Mode": "currant.sinks._formatter",
    "SinkAttribute": "currant._channel.feed",
    "SinkWarning": "currant.sinks._warning",
    "TraceSink": "currant.sinks._trace",
    "WriterSink": "currant.sinks._writer",
    "check_style": "currant.sinks._colors",
}
"""The module of each name; the imports above are for type checkers alone."""


def __getattr__(name: str) -> object:
    """Import a name when it is first used."""
    return _imported(globals(), _HOMES, name)


def __dir__() -> list[str]:
    """Return the names, used or not."""
    return sorted({*globals(), *__all__})
