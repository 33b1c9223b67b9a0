"""`LoggingSink`: output and events as records of the standard library's logging."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, cast

from currant._values.errors import CommandError
from currant._values.lines import Batch
from currant.sinks._events import describe
from currant.sinks._threaded import ThreadedSink

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from currant._values.command import Command
    from currant._values.messages import BatchMessage, Message
    from currant.sinks._events import Event

__all__ = ["LoggingSink"]

LEVELS: dict[Event, int] = {
    "started": logging.DEBUG,
    "ready": logging.INFO,
    "aborted": logging.ERROR,
    "exited": logging.INFO,  # ERROR if the exit is not expected
    "restarting": logging.WARNING,
    "failed": logging.ERROR,
    "skipped": logging.ERROR,
    "dropped": logging.WARNING,
    "host_up": logging.INFO,
    "host_lost": logging.ERROR,
}

ATTRIBUTES = ("command", "time", "stream", "pid", "attempt", "host")
"""The fields of messages that records have as attributes."""


class LoggingSink(ThreadedSink):
    """Logs each line of output, and each event, as a record.

    Log the output of a worker under the name of the app::

        import currant
        from currant.sinks import LoggingSink

        currant.run({"worker": "echo ready"}, sinks=[LoggingSink("app.workers")])

    Each record has the attributes ``command`` (the name; empty if a host came up or was lost) and
    ``time`` (seconds since the epoch, when the line was read).  A line also has ``stream``; events
    may have ``pid``, ``attempt`` and ``host``.
    The text of a line is the message of the record, with U+FFFD for bytes that are not UTF-8.
    Starts are DEBUG, ends INFO, failures and lost hosts ERROR; restarts and discarded lines are
    WARNING.

    Handlers run in a worker thread, and may be slow.

    Args:
        logger: a logger or the name of a logger; if None, the logger ``currant``.
        stdout: the level of lines on stdout.
        stderr: the level of lines on stderr.

    Raises:
        CommandError: when built: an argument is invalid.
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
        if not callable(getattr(logger, "log", None)):
            raise CommandError(f"logger must be a logger or the name of one, not {logger!r}")
        for what, level in (("stdout", stdout), ("stderr", stderr)):
            if not isinstance(cast("object", level), int):
                raise CommandError(f"{what} must be a level such as logging.INFO, not {level!r}")
        self._logger = logger
        self._levels = {"stdout": stdout, "stderr": stderr}

    def _handle(self, backlog: Sequence[BatchMessage], commands: Mapping[str, Command]) -> None:
        for message in backlog:
            if isinstance(message, Batch):
                for line in message.lines():
                    self._log(self._levels[line.stream], line, line.text)
            else:
                event = describe(message, commands)
                level = LEVELS[event.event] if event.is_expected else logging.ERROR
                self._log(level, message, event.text)

    def _log(self, level: int, message: Message, text: str) -> None:
        extra = {name: getattr(message, name) for name in ATTRIBUTES if hasattr(message, name)}
        self._logger.log(level, text, extra={"command": "", **extra})
