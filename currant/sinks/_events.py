"""`describe`: an event as a short text for a person, and as fields for a template."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, assert_never

from currant._values.errors import HostUnreachableError
from currant._values.messages import (
    Aborted,
    Dropped,
    Exited,
    Failed,
    HostLost,
    HostUp,
    Ready,
    Restarting,
    Skipped,
    Started,
)
from currant._values.results import lost_host
from currant._values.state import is_expected

if TYPE_CHECKING:
    from collections.abc import Mapping

    from currant._values.command import Command
    from currant._values.errors import CurrantError, HostLostError
    from currant._values.messages import HostMessage

__all__ = ["Description", "Event", "EventMessage", "describe", "fate_of"]

Event: TypeAlias = Literal[
    "started",
    "ready",
    "aborted",
    "exited",
    "restarting",
    "failed",
    "skipped",
    "dropped",
    "host_up",
    "host_lost",
]
"""The events that a sink can report."""

EventMessage: TypeAlias = (
    "Started | Ready | Aborted | Exited | Restarting | Failed | Skipped | Dropped | HostMessage"
)
"""The messages that are not output."""


@dataclass(frozen=True, slots=True)
class Description:
    """An event in words.

    Attributes:
        event: the kind of event.
        text: what happened, in a few words; the command's name is in the text only if the event has
            an error, the host's if the event is about a host.
        fields: the facts in the text by name, for a template with other words.
        is_expected: whether an exit is a success or a stop by currant; True for other events.
    """

    event: Event
    text: str
    fields: Mapping[str, object]
    is_expected: bool = True

    @property
    def is_news(self) -> bool:
        """Whether a person wants to see the event without having asked for it."""
        return self.event not in ("started", "exited", "host_up") or not self.is_expected

    @property
    def names_subject(self) -> bool:
        """Whether the text names the command or the host."""
        return "error" in self.fields or "host" in self.fields


def describe(  # noqa: C901, PLR0911, PLR0912 - a row for each message
    message: EventMessage, commands: Mapping[str, Command]
) -> Description:
    """Describe `message`; `commands` are the commands of the Runner, by name."""
    match message:
        case Started(pid=pid):
            return Description("started", f"started (pid {pid})", {"pid": pid})
        case Ready(after=after):
            return Description("ready", f"ready after {after:.1f} s", {"after": after})
        case Aborted(error=error):
            # The text of the error has the last lines of output, which were shown before.
            text = _failure("has failed", message.command, error).partition("\n")[0]
            return Description("aborted", text, {"error": text})
        case Exited(exit=end):
            expected = is_expected(end, commands.get(message.command))
            return Description("exited", str(end), {"exit": end}, expected)
        case Restarting(delay=delay, reason=None):
            return Description("restarting", f"restarting in {delay:.1f} s", {"delay": delay})
        case Restarting(delay=delay, reason=reason):
            return Description("restarting", f"restarting: {reason}", {"delay": delay})
        case Failed(error=error):
            text = _failure("cannot be started", message.command, error)
            return Description("failed", text, {"error": error})
        case Skipped(error=error):
            return Description("skipped", str(error), {"error": error})
        case Dropped(lines=1):
            return Description("dropped", "1 line discarded", {"lines": 1})
        case Dropped(lines=lines):
            return Description("dropped", f"{lines} lines discarded", {"lines": lines})
        case HostUp(host=host):
            return Description("host_up", f"the host {host!r} is up", {"host": host})
        case HostLost(host=host, error=error):
            return Description("host_lost", _in_one_line(error), {"host": host, "error": error})
        case _:
            assert_never(message)


def _failure(what: str, command: str, error: CurrantError) -> str:
    """Return an error in a line; of a lost host only that: its own message says why, once."""
    if (lost := lost_host(error)) is not None:
        return f"{command!r} {what}: its host {lost.host!r} {fate_of(lost)}"
    return str(error)


def fate_of(error: HostLostError) -> str:
    """Return what has become of a host, in a few words that name neither it nor the reason."""
    return "cannot be reached" if isinstance(error, HostUnreachableError) else "is lost"


def _in_one_line(error: HostLostError) -> str:
    """Return the text of an error without all but the last line of what ssh has said."""
    *_, last = error.reason.strip().splitlines() or ("",)
    return str(type(error)(error.host, last))
