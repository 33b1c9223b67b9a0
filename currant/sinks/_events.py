"""The events that sinks report as text: one description of each message.

Console, writer and logging sinks have texts of their own; the event and its fields come from here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias, assert_never

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

if TYPE_CHECKING:
    from currant._values.messages import BatchMessage

__all__ = ["Event", "describe"]

Event: TypeAlias = Literal[
    "started", "ready", "aborted", "exited", "restarting", "failed", "skipped", "dropped"
]
"""The events that a sink may have a text for."""


def describe(  # noqa: PLR0911 - one case for each message
    message: BatchMessage,
) -> tuple[Event, dict[str, object]] | None:
    """Return the event and the fields of a message; None for output.

    The fields are ``pid``, ``after``, ``error``, ``exit``, ``delay`` and ``lines``, as they apply.
    """
    match message:
        case Batch():
            return None
        case Started(pid=pid):
            return "started", {"pid": pid}
        case Ready(after=after):
            return "ready", {"after": after}
        case Aborted(error=error):
            return "aborted", {"error": _first_line(error)}
        case Skipped(error=error):
            return "skipped", {"error": error}
        case Exited(exit=end):
            return "exited", {"exit": end}
        case Restarting(delay=delay):
            return "restarting", {"delay": delay}
        case Failed(error=error):
            return "failed", {"error": error}
        case Dropped(lines=lines):
            return "dropped", {"lines": lines}
        case _:
            assert_never(message)


def _first_line(error: Exception) -> str:
    """Return the text of an error without the last lines of output, which have been shown."""
    return str(error).partition("\n")[0]
