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
from currant._values.state import state_after
from currant.sinks._rates import Rates
from currant.sinks._templates import line_of
from currant.sinks._trace_events import RUN_TRACK, EventLines
from currant.sinks._trace_track import Track
from currant.sinks._trace_usage import UsageRates

if TYPE_CHECKING:
    from collections.abc import Mapping

    from currant._system.session_usage import SessionUsage
    from currant._values.command import Command
    from currant._values.messages import BatchMessage
    from currant._values.usage import Usage

__all__ = ["Timeline"]

MAX_LINE = 1000
"""Characters of a command line in an event."""

MIN_PRUNED = 64
"""How many tracks there must be before those of forgotten commands are dropped."""


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
        self._tracks: dict[str, Track] = {}  # by command
        self._free: list[tuple[int, int]] = []  # slots without a command: number and last time
        self._numbers = RUN_TRACK  # the last number of a track
        self._flows = 0
        self._rates = Rates()
        self._usage = UsageRates()
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

    def local_pids(self) -> set[int]:
        """Return the processes that run on this machine."""
        pids = [track.local_pid for track in self._tracks.values()]
        return {pid for pid in pids if pid is not None}

    def add_usage(self, time: float, usage: Mapping[int, SessionUsage]) -> None:
        """Add what the processes of `local_pids` use at `time`, in seconds since the epoch."""
        for when, name, value in self._usage.samples(self._microseconds(time), usage):
            self._sample(when, name, value)

    def finish(self, time: float) -> None:
        """End all slices at `time`, in seconds since the epoch."""
        end = self._microseconds(time)
        for name in list(self._tracks):
            self._end_all(self._tracks[name], end)
        self._add_counters(end, is_last=True)
        for when, name, value in self._usage.last_samples(end):
            self._sample(when, name, value)

    def _microseconds(self, time: float) -> int:
        return max(0, _micros(time - self._start))

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
        before = track.last
        track.last = time = max(time, before)
        match message:
            case Started():
                self._start_attempt(track, message, before, time)
            case Ready():
                track.moments["ready"] = time
                self._next_phase(track, time, "running")
            case Aborted(error=CannotStopError() | HostLostError() as error):
                self._end_attempt(track, message.command, time, error=str(error))
            case Aborted(error=error):
                self._instant(track.number, time, "aborted", {"error": str(error)})
                self._next_phase(track, time, "stopping")
            case Exited():
                self._end_process(track, message, before, time)
            case Restarting(attempt=attempt, delay=delay, reason=reason):
                facts = {"attempt": attempt, "delay": delay, "reason": reason}
                self._instant(track.number, time, "restarting", facts)
                self._begin(track, time, self._phase_name(message.command, "waiting to restart"))
            case Failed(error=error) | Skipped(error=error):
                self._end_attempt(track, message.command, time, error=str(error))
            case _:
                assert_never(message)

    def _start_attempt(self, track: Track, message: Started, before: int, time: int) -> None:
        """Begin the slice of an attempt; the one of its launch begins at `before` or later."""
        if message.launching is not None and not track.is_running:
            launch = max(before, time - _micros(message.launching))
            while track.slices:
                self._end(track, launch)
            self._begin(track, launch, self._phase_name(message.command, "starting"))
        self._end_all(track, time)
        facts: dict[str, object] = {"pid": message.pid, "attempt": message.attempt}
        if message.host is not None:
            facts["host"] = message.host
        if track.command is not None:
            facts["command"] = line_of(track.command)[:MAX_LINE]
        self._begin(track, time, message.command, facts)
        track.begin_attempt(time)
        self._rates.count_start()
        if track.command is not None:
            if track.command.ready is not None:
                self._begin(track, time, "until ready")
            if message.attempt == 1:
                self._add_flows(track, track.command, time)

    def _next_phase(self, track: Track, time: int, name: str) -> None:
        """End the phase of the present attempt, if there is one, and begin another."""
        if not track.is_running:
            return
        while len(track.slices) > 1:
            self._end(track, time)
        self._begin(track, time, name)

    def _end_process(self, track: Track, message: Exited, before: int, time: int) -> None:
        """End an attempt; its stop, if it was requested, begins at `before` or later."""
        exit_text = str(message.exit)
        if message.stopping is not None and track.slices[1:] != ["stopping"]:
            self._next_phase(track, max(before, time - _micros(message.stopping)), "stopping")
        self._end_attempt(track, message.command, time, message.usage, exit=exit_text)
        if message.exit.forced:
            self._instant(track.number, time, "killed", {"exit": exit_text})

    def _end_attempt(
        self, track: Track, command: str, time: int, usage: Usage | None = None, **outcome: str
    ) -> None:
        """End all slices of a command with what has become of it."""
        if (pid := track.local_pid) is not None:
            self._usage.count_end(pid, usage)
        phase, facts = track.state.phase, track.facts_of_end(usage) | outcome
        track.note_end(time)
        self._end_all(track, time, facts)
        if phase in ("failed", "skipped"):
            self._instant(track.number, time, phase, {"command": command, **outcome})
        if self._in_slots:
            del self._tracks[command]
            heapq.heappush(self._free, (track.number, track.last))

    def _add_flows(self, track: Track, command: Command, time: int) -> None:
        """Add an arrow from each command that this one waited for, when it met the condition."""
        for name, condition in command.after.items():
            for other in self._replicas(name):
                source = self._tracks.get(other)
                moment = None if source is None else source.moment(condition)
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
            self._sample(when, name, value)

    def _sample(self, time: int, counter: str, value: int) -> None:
        """Add a sample; the first word is the name, the others the unit: viewers show both."""
        name, _, unit = counter.partition(" ")
        self._lines.add("C", time, RUN_TRACK, name, {unit: value})

    # ---- tracks ----

    def _track(self, command: str) -> Track:
        """Return the track of a command; a new one, or a free slot, if it has none."""
        if (track := self._tracks.get(command)) is not None:
            return track
        if self._free:
            track = Track(*heapq.heappop(self._free))
        else:
            self._prune()
            self._numbers += 1
            track = Track(self._numbers)
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
        self, track: Track, time: int, name: str, facts: Mapping[str, object] | None = None
    ) -> None:
        track.slices.append(name)
        self._lines.add("B", time, track.number, name, facts, ',"cat":"command"')

    def _end(self, track: Track, time: int, facts: Mapping[str, object] | None = None) -> None:
        self._lines.add("E", time, track.number, track.slices.pop(), facts)

    def _end_all(self, track: Track, time: int, facts: Mapping[str, object] | None = None) -> None:
        """End the slices of a track; the outermost gets the facts."""
        time = max(time, track.last)
        if track.is_running:
            track.is_running = False
            self._rates.count_end()
        while track.slices:
            self._end(track, time, facts if len(track.slices) == 1 else None)

    def _instant(self, track: int, time: int, name: str, facts: Mapping[str, object]) -> None:
        self._lines.add("i", time, track, name, facts, ',"cat":"command","s":"t"')


def _micros(seconds: float) -> int:
    return round(seconds * 1e6)
