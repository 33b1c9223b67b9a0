"""`Timeline`: messages into the events of a trace, in the Trace Event Format.

Pure: it neither reads a clock nor writes a file.  A slice is a pair of events, begin (``B``) and
end (``E``), so a trace that breaks off still shows the commands that ran.  Rejected: complete
events (``X``), which are written at the end alone.

Invariants:

- The slices of a track are nested, and its times never go back, whatever the clock of the messages
  does.
- `finish` ends all slices.
- What is kept of a command that has ended is its track, and in a `map` nothing.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, assert_never

from currant._values.errors import CannotStopError, HostLostError
from currant._values.lines import Batch
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
from currant._values.state import QUEUED, CommandState, state_after
from currant.sinks._rates import Rates
from currant.sinks._tail import Tail
from currant.sinks._templates import line_of
from currant.sinks._trace_events import RUN_TRACK, EventLines

if TYPE_CHECKING:
    from collections.abc import Mapping

    from currant._values.command import Command, Condition
    from currant._values.messages import BatchMessage
    from currant._values.usage import Usage

__all__ = ["Timeline"]

MAX_LINE = 1000
"""Characters of a command line in an event."""

MIN_PRUNED = 64
"""How many tracks there must be before those of forgotten commands are dropped."""


@dataclass(slots=True)
class _Track:
    """A row of slices: of one command, or of the commands that take turns in one slot.

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


class Timeline:
    """Turns the messages of a run into events.

    Args:
        start: the start of the run, in seconds since the epoch: the time 0 of the events.
        commands: the commands by name; may change in another thread.
        in_slots: whether the commands take turns in slots, each of which is a track; otherwise each
            command has a track.
    """

    def __init__(self, start: float, commands: Mapping[str, Command], *, in_slots: bool) -> None:
        self._start = start
        self._commands = commands
        self._in_slots = in_slots
        self._lines = EventLines()
        self._tracks: dict[str, _Track] = {}  # by command
        self._free: list[tuple[int, int]] = []  # slots without a command: number and last time
        self._numbers = RUN_TRACK  # the last number of a track
        self._flows = 0
        self._rates = Rates()
        self._lines.name_track(RUN_TRACK, "currant", 0)
        if not in_slots:
            for name in list(commands):
                self._begin(self._track(name), 0, "waiting")

    def take(self) -> bytes:
        """Return the lines of the events since the last call."""
        return self._lines.take()

    def add(self, message: BatchMessage) -> None:
        """Add the events of a message."""
        time = self._microseconds(message.time)
        self._add_counters(time)
        match message:
            case Batch():
                self._add_output(message)
            case HostUp(host=host):
                self._instant(RUN_TRACK, time, "host up", {"host": host})
            case HostLost(host=host, error=error):
                self._instant(RUN_TRACK, time, "host lost", {"host": host, "error": str(error)})
            case Dropped(command=name, lines=lines):
                track = self._tracks.get(name)
                number = RUN_TRACK if track is None else track.number
                self._instant(number, time, "output dropped", {"command": name, "lines": lines})
            case _:
                self._add_step(message, time)

    def finish(self, time: float) -> None:
        """End all slices at `time`, in seconds since the epoch."""
        end = self._microseconds(time)
        for name in list(self._tracks):
            self._end_all(self._tracks[name], end)
        self._add_counters(end, is_last=True)

    def _microseconds(self, time: float) -> int:
        return max(0, round((time - self._start) * 1e6))

    # ---- the life of a command ----

    def _add_step(
        self,
        message: Started | Ready | Aborted | Exited | Restarting | Failed | Skipped,
        time: int,
    ) -> None:
        """Add the events of a message that changes the state of its command."""
        track = self._track(message.command)
        track.command = self._commands.get(message.command, track.command)
        track.state = state_after(message, track.state, track.command)
        track.last = time = max(time, track.last)
        match message:
            case Started():
                self._start_attempt(track, message, time)
            case Ready():
                track.moments["ready"] = time
                self._next_phase(track, time, "running")
            case Aborted(error=CannotStopError() | HostLostError() as error):
                self._end_attempt(track, message.command, time, error=str(error))
            case Aborted(error=error):
                self._instant(track.number, time, "aborted", {"error": str(error)})
                self._next_phase(track, time, "stopping")
            case Exited(exit=end, usage=usage):
                self._end_attempt(track, message.command, time, usage, exit=str(end))
                if end.forced:
                    self._instant(track.number, time, "killed", {"exit": str(end)})
            case Restarting(attempt=attempt, delay=delay, reason=reason):
                facts = {"attempt": attempt, "delay": delay, "reason": reason}
                self._instant(track.number, time, "restarting", facts)
                self._begin(track, time, self._phase_name(message.command, "waiting to restart"))
            case Failed(error=error) | Skipped(error=error):
                self._end_attempt(track, message.command, time, error=str(error))
            case _:
                assert_never(message)

    def _start_attempt(self, track: _Track, message: Started, time: int) -> None:
        self._end_all(track, time)
        facts: dict[str, object] = {"pid": message.pid, "attempt": message.attempt}
        if message.host is not None:
            facts["host"] = message.host
        if track.command is not None:
            facts["command"] = line_of(track.command)[:MAX_LINE]
        self._begin(track, time, message.command, facts)
        track.is_running = True
        self._rates.count_start()
        track.output.clear()
        track.tail = Tail()
        track.moments.pop("ready", None)
        track.moments["started"] = time
        if track.command is not None:
            if track.command.ready is not None:
                self._begin(track, time, "until ready")
            if message.attempt == 1:
                self._add_flows(track, track.command, time)

    def _next_phase(self, track: _Track, time: int, name: str) -> None:
        """End the phase of the present attempt, if there is one, and begin another."""
        if not track.is_running:
            return
        while len(track.slices) > 1:
            self._end(track, time)
        self._begin(track, time, name)

    def _end_attempt(
        self, track: _Track, command: str, time: int, usage: Usage | None = None, **outcome: str
    ) -> None:
        """End all slices of a command with what has become of it."""
        phase = track.state.phase
        facts: dict[str, object] = {"status": phase, **outcome}
        facts |= {f"{stream} bytes": size for stream, size in track.output.items()}
        if usage is not None:
            facts["user seconds"] = round(usage.user, 6)
            facts["system seconds"] = round(usage.system, 6)
            facts["peak memory bytes"] = usage.peak_memory
        if phase == "failed" and track.is_running and (lines := track.tail.lines()):
            facts["last lines"] = lines
        track.output.clear()
        track.moments["ended"] = time
        track.moments.pop("succeeded", None)
        if phase == "succeeded":
            track.moments["succeeded"] = time
        self._end_all(track, time, facts)
        if phase in ("failed", "skipped"):
            self._instant(track.number, time, phase, {"command": command, **outcome})
        if self._in_slots:
            del self._tracks[command]
            heapq.heappush(self._free, (track.number, track.last))

    def _add_flows(self, track: _Track, command: Command, time: int) -> None:
        """Add an arrow from each command that this one has waited for, where it let this go on."""
        for name, condition in command.after.items():
            for other in self._replicas(name):
                source = self._tracks.get(other)
                moment = None if source is None else _moment(source, condition)
                if source is not None and moment is not None:
                    self._flows += 1
                    flow = f',"cat":"after","id":{self._flows}'
                    self._lines.add("s", moment, source.number, "after", more=flow)
                    self._lines.add("f", time, track.number, "after", more=f'{flow},"bp":"e"')

    def _replicas(self, name: str) -> list[str]:
        """Return the names of the replicas of a command; its own if it has none."""
        if name in self._commands:
            return [name]
        found: list[str] = []
        while (replica := f"{name}.{len(found) + 1}") in self._commands:
            found.append(replica)
        return found

    def _phase_name(self, command: str, phase: str) -> str:
        """Return the name of a slice beside the attempts; in a slot, it has to name the command."""
        return f"{command}: {phase}" if self._in_slots else phase

    # ---- output ----

    def _add_output(self, batch: Batch) -> None:
        self._rates.output += len(batch.data)
        track = self._tracks.get(batch.command)
        if track is not None:
            track.output[batch.stream] = track.output.get(batch.stream, 0) + len(batch.data)
            track.tail.add(batch.data)

    def _add_counters(self, time: int, *, is_last: bool = False) -> None:
        for when, name, value in self._rates.samples(time, is_last=is_last):
            self._lines.add("C", when, RUN_TRACK, name, {name: value})

    # ---- tracks ----

    def _track(self, command: str) -> _Track:
        """Return the track of a command; a new one, or a free slot, if it has none."""
        if (track := self._tracks.get(command)) is not None:
            return track
        if self._free:
            track = _Track(*heapq.heappop(self._free))
        else:
            self._prune()
            self._numbers += 1
            track = _Track(self._numbers)
            slot = self._numbers - RUN_TRACK
            name = f"slot {slot}" if self._in_slots else command
            self._lines.name_track(track.number, name, slot)
        self._tracks[command] = track
        return track

    def _prune(self) -> None:
        """Drop the tracks of commands that have ended, and that the Runner has forgotten."""
        if self._in_slots or len(self._tracks) < MIN_PRUNED + 2 * len(self._commands):
            return
        self._tracks = {
            name: track
            for name, track in self._tracks.items()
            if track.slices or name in self._commands
        }

    # ---- events ----

    def _begin(
        self, track: _Track, time: int, name: str, facts: Mapping[str, object] | None = None
    ) -> None:
        track.slices.append(name)
        self._lines.add("B", time, track.number, name, facts, ',"cat":"command"')

    def _end(self, track: _Track, time: int, facts: Mapping[str, object] | None = None) -> None:
        self._lines.add("E", time, track.number, track.slices.pop(), facts)

    def _end_all(self, track: _Track, time: int, facts: Mapping[str, object] | None = None) -> None:
        """End the slices of a track; the outermost gets the facts."""
        time = max(time, track.last)
        if track.is_running:
            track.is_running = False
            self._rates.count_end()
        while track.slices:
            self._end(track, time, facts if len(track.slices) == 1 else None)

    def _instant(self, track: int, time: int, name: str, facts: Mapping[str, object]) -> None:
        self._lines.add("i", time, track, name, facts, ',"cat":"command","s":"t"')


def _moment(source: _Track, condition: Condition | None) -> int | None:
    """Return when a command met a condition, at a time that its slice covers; None: never."""
    if condition is None:
        has_probe = source.command is not None and source.command.ready is not None
        condition = "ready" if has_probe else "started"
    moment = source.moments.get(condition)
    if moment is None or condition in ("ready", "started"):
        return moment
    return max(source.moments.get("started", moment), moment - 1)
