"""`LoggingSink`: output as records of the standard library's logging."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, assert_never

from currant._values.lines import Batch
from currant._values.messages import (
    Aborted,
    Dropped,
    Exited,
    Failed,
    Ready,
    Restarting,
    Skipped,
    Started,
)
from currant.sinks._templates import succeeded
from currant.sinks._threaded import ThreadedSink

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from currant._values.command import Command
    from currant._values.messages import BatchMessage, Message

__all__ = ["LoggingSink"]


class LoggingSink(ThreadedSink):
    """Logs each line of output, and each event, as one record.

    Each record has ``command``, the name, as an attribute (``extra``), beside ``time`` (seconds
    since the epoch, when it was read) and what else its message tells: ``stream`` of a line,
    ``pid`` and ``attempt`` of events.  A line's text is the record's message; what is no UTF-8 is
    U+FFFD.  Starts are logged as DEBUG, ends as INFO, failures as ERROR, restarts and lines that
    were discarded as WARNING.

    Handlers run in a worker thread, and may be slow.

    Args:
        logger: where to log to, or its name; None: the logger ``currant``.
        stdout: the level of what commands write to stdout.
        stderr: the level of what they write to stderr.
    """

    def __init__(
        self,
        logger: logging.Logger | logging.LoggerAdapter[logging.Logger] | str | None = None,
        *,
        stdout: int = logging.INFO,
        stderr: int = logging.WARNING,
    ) -> None:
        super().__init__()
        if logger is None or isinstance(logger, str):
            logger = logging.getLogger(logger or "currant")
        self._logger = logger
        self._levels = {"stdout": stdout, "stderr": stderr}

    def take(  # noqa: C901 - a row for each message
        self, pile: Sequence[BatchMessage], commands: Mapping[str, Command]
    ) -> None:
        """Log `pile`."""
        for message in pile:
            match message:
                case Batch(stream=stream):
                    for line in message.lines():
                        self._log(self._levels[stream], line, line.text)
                case Started(pid=pid):
                    self._log(logging.DEBUG, message, f"started (pid {pid})")
                case Exited(exit=end):
                    expected = end.stopped or succeeded(message, commands)
                    self._log(logging.INFO if expected else logging.ERROR, message, str(end))
                case Ready(after=after):
                    self._log(logging.INFO, message, f"ready after {after:.1f} s")
                case Aborted(error=error) | Skipped(error=error):
                    self._log(logging.ERROR, message, str(error).partition("\n")[0])
                case Restarting(delay=delay):
                    self._log(logging.WARNING, message, f"restarting in {delay:.1f} s")
                case Failed(error=error):
                    self._log(logging.ERROR, message, str(error))
                case Dropped(lines=lines):
                    self._log(logging.WARNING, message, f"lines that were discarded: {lines}")
                case _:
                    assert_never(message)

    def _log(self, level: int, message: Message, text: str) -> None:
        fields = ("command", "time", "stream", "pid", "attempt")
        extra = {name: getattr(message, name) for name in fields if hasattr(message, name)}
        self._logger.log(level, text, extra=extra)
