"""`Track`: a row of slices in a trace, with what must be known to end them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from currant._values.state import QUEUED, CommandState
from currant.sinks._tail import Tail

if TYPE_CHECKING:
    from currant._values.command import Command
    from currant._values.links import Condition
    from currant._values.usage import Usage

__all__ = ["Track"]


@dataclass(slots=True)
class Track:
    """The row of one command, or of the commands that take turns in one slot.

    Attributes:
        number: the thread id of the events.
        last: the time of the last event.
        command: the command; None if it is not known.
        state: the state of the command.
        slices: the names of the slices that have begun and not ended, the outermost first.
        is_running: whether the outermost slice is an attempt.
        output: bytes of the present attempt, by stream.
        tail: the last lines of the present attempt.
        moments: when the command last reached a condition that others wait for.
    """

    number: int
    last: int = 0
    command: Command | None = None
    state: CommandState = QUEUED
    slices: list[str] = field(default_factory=list[str])
    is_running: bool = False
    output: dict[str, int] = field(default_factory=dict[str, int])
    tail: Tail = field(default_factory=Tail)
    moments: dict[Condition, int] = field(default_factory=dict["Condition", int])

    @property
    def local_pid(self) -> int | None:
        """The process that runs on this machine; None if there is none."""
        return self.state.pid if self.is_running and self.state.host is None else None

    def begin_attempt(self, time: int) -> None:
        """Forget the last attempt, and note that another one has begun."""
        self.is_running = True
        self.output.clear()
        self.tail = Tail()
        self.moments.pop("ready", None)
        self.moments["started"] = time

    def facts_of_end(self, usage: Usage | None) -> dict[str, object]:
        """Return what is known of the present attempt when it ends."""
        facts: dict[str, object] = {"status": self.state.phase}
        facts |= {f"{stream} bytes": size for stream, size in self.output.items()}
        if usage is not None:
            facts["user seconds"] = round(usage.user, 6)
            facts["system seconds"] = round(usage.system, 6)
            facts["peak memory bytes"] = usage.peak_memory
        if self.state.phase == "failed" and self.is_running and (lines := self.tail.lines()):
            facts["last lines"] = lines
        return facts

    def note_end(self, time: int) -> None:
        """Note that the command has ended."""
        self.output.clear()
        self.moments["ended"] = time
        self.moments.pop("succeeded", None)
        if self.state.phase == "succeeded":
            self.moments["succeeded"] = time

    def moment(self, condition: Condition | None) -> int | None:
        """Return when the command met a condition, at a time that its slice covers; None: never."""
        if condition is None:
            has_probe = self.command is not None and self.command.ready is not None
            condition = "ready" if has_probe else "started"
        moment = self.moments.get(condition)
        if moment is None or condition in ("ready", "started"):
            return moment
        # A slice does not cover its own end, so the arrow begins a microsecond earlier.
        return max(self.moments.get("started", moment), moment - 1)
