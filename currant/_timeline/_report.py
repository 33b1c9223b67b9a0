"""`Report`: what has become of the commands of a run, from the events of a trace.

A row is an attempt, or a command that never ran.  Rejected: one row for each command, because its
attempts end in different ways.  Memory grows with the rows and the marks; of a counter there are at
most ten samples a second.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from currant._timeline._trace import read_events

if TYPE_CHECKING:
    from typing import BinaryIO

    from currant._timeline._trace import Event, Facts

__all__ = ["Link", "Mark", "Report", "Row", "Slice", "read_report"]

RESTART = "waiting to restart"

NAMED = (RESTART, "starting")
"""The slices before an attempt whose names begin with the command if the track is a slot."""

MAX_MARKS = 20_000
"""Marks of a report; the rows tell of failures anyway."""


@dataclass(slots=True)
class Slice:
    """A part of a track with a name, such as a phase of an attempt.

    Attributes:
        name: ``waiting``, ``waiting to restart``, ``starting``, ``until ready``, ``running`` or
            ``stopping``.
        begin: microseconds since the start of the run.
        end: the same; None if the trace breaks off before.
    """

    name: str
    begin: int
    end: int | None = None


@dataclass(slots=True)
class Row:
    """An attempt, or a command that never ran.

    Attributes:
        track: the number of its track.
        name: the name of the command.
        begin: when its process ran, in microseconds since the start; if it never did, when that was
            known.
        has_run: whether it has been an attempt.
        end: when it had ended, in microseconds; None if the trace breaks off before.
        before: the wait and the launch before it.
        phases: the phases of the attempt; none if it was running for all of its time.
        facts: the arguments of the attempt's begin and end, as `TraceSink` names them.
    """

    track: int
    name: str
    begin: int
    has_run: bool = True
    end: int | None = None
    before: list[Slice] = field(default_factory=list[Slice])
    phases: list[Slice] = field(default_factory=list[Slice])
    facts: Facts = field(default_factory=dict[str, object])


@dataclass(frozen=True, slots=True)
class Mark:
    """An event on a track, such as a restart.

    Attributes:
        track: the number of the track.
        time: microseconds since the start.
        name: what has happened.
        facts: the arguments of the event.
    """

    track: int
    time: int
    name: str
    facts: Facts


@dataclass(frozen=True, slots=True)
class Link:
    """A row waited for another one.

    Attributes:
        source: the index of the row that let the other one go on.
        target: the index of the row that waited.
        time: when `source` met the condition, in microseconds since the start.
    """

    source: int
    target: int
    time: int


@dataclass(slots=True)
class Report:
    """What is known of a run.

    Attributes:
        tracks: the names of the tracks by number, in order; each is a command, or a slot of `map`.
        rows: in the order of their begin on a track.
        marks: in the order of the file.
        links: which rows waited for which.
        counters: the samples by the name of the counter, which ends with its unit: microseconds,
            and the value.
        duration: the time of the last event but for samples, in microseconds since the start.
        is_whole: whether all slices have ended; otherwise currant was killed, or is still running.
    """

    tracks: dict[int, str] = field(default_factory=dict[int, str])
    rows: list[Row] = field(default_factory=list[Row])
    marks: list[Mark] = field(default_factory=list[Mark])
    links: list[Link] = field(default_factory=list[Link])
    counters: dict[str, list[tuple[int, int]]] = field(
        default_factory=dict[str, list[tuple[int, int]]]
    )
    duration: int = 0
    is_whole: bool = True


def read_report(file: BinaryIO) -> Report:
    """Read a trace.

    Args:
        file: the trace, open for reading bytes.

    Raises:
        TraceError: the file is not a trace of currant, or damaged before its end.
        OSError: the file cannot be read.
    """
    builder = _Builder()
    for event in read_events(file):
        builder.add(event)
    return builder.finish()


@dataclass(slots=True)
class _Track:
    """What is open on a track.

    Attributes:
        row: the index of the last row; None if there is none.
        is_running: whether that row is an attempt that has not ended.
        before: the wait and the launch since the last row.
        rows: the indexes of the rows of the last command; an arrow may begin at each of them.
    """

    row: int | None = None
    is_running: bool = False
    before: list[Slice] = field(default_factory=list[Slice])
    rows: list[int] = field(default_factory=list[int])


class _Builder:
    """Builds a `Report` from events."""

    def __init__(self) -> None:
        self._report = Report()
        self._tracks: dict[int, _Track] = {}
        self._arrows: dict[int, tuple[int, int]] = {}  # from which row and when, by number

    def add(self, event: Event) -> None:
        """Add an event."""
        report = self._report
        if event.phase != "C":  # The samples of the last window may be later than its events.
            report.duration = max(report.duration, event.time)
        track = self._tracks.setdefault(event.track, _Track())
        match event.phase:
            case "M" if event.name == "thread_name":
                report.tracks[event.track] = str(event.facts.get("name", ""))
            case "B":
                self._begin(track, event)
            case "E":
                self._end(track, event)
            case "i":
                self._mark(track, event)
            case "C":
                self._sample(event)
            case "s":
                source = self._row_at(track, event.time)
                if source is not None:
                    self._arrows[event.arrow] = source, event.time
            case "f" if track.row is not None and event.arrow in self._arrows:
                source, time = self._arrows.pop(event.arrow)
                report.links.append(Link(source, track.row, time))
            case _:
                pass

    def finish(self) -> Report:
        """Return the report."""
        self._report.is_whole = all(
            not track.is_running and all(part.end is not None for part in track.before)
            for track in self._tracks.values()
        )
        for number, track in self._tracks.items():
            if track.before and track.before[0].name == "waiting":
                self._add_row(track, self._row_of_wait(number, track.before[-1].end))
        return self._report

    def _row_of_wait(self, number: int, end: int | None) -> Row:
        """Return the row of a command that had not run when the run or the trace ended."""
        name, begin = self._report.tracks.get(number, ""), end or self._report.duration
        facts = {"status": "stopped", "error": "stopped before its start"}
        if end is None:
            facts = {"status": "unfinished", "error": "still waiting"}
        return Row(number, name, begin, has_run=False, end=end, facts=dict(facts))

    def _begin(self, track: _Track, event: Event) -> None:
        if "pid" in event.facts:
            row = Row(event.track, event.name, event.time, facts=event.facts)
            self._add_row(track, row)
            track.is_running = True
        elif track.is_running and track.row is not None:
            self._report.rows[track.row].phases.append(Slice(event.name, event.time))
        else:
            name = next((name for name in NAMED if event.name.endswith(f": {name}")), event.name)
            track.before.append(Slice(name, event.time))

    def _end(self, track: _Track, event: Event) -> None:
        row = None if track.row is None else self._report.rows[track.row]
        if row is not None and track.is_running:
            if row.phases and row.phases[-1].end is None:
                row.phases[-1].end = event.time
            else:
                row.end = event.time
                row.facts |= event.facts
                track.is_running = False
        elif track.before:
            track.before[-1].end = event.time
            if "status" in event.facts:  # The command will never run.
                name = event.name.removesuffix(f": {RESTART}")
                if name in ("waiting", RESTART):
                    name = self._report.tracks.get(event.track, "")
                self._add_idle_row(track, event, name, event.facts)

    def _mark(self, track: _Track, event: Event) -> None:
        report = self._report
        if event.name in ("failed", "skipped") and "command" in event.facts:
            # The row of an attempt that has just ended, or of a command that was not started.
            row = None if track.row is None else report.rows[track.row]
            if row is None or (row.end, row.name) != (event.time, event.facts["command"]):
                facts = event.facts | {"status": event.name}
                self._add_idle_row(track, event, str(facts.pop("command")), facts)
        if len(report.marks) < MAX_MARKS:
            report.marks.append(Mark(event.track, event.time, event.name, event.facts))

    def _sample(self, event: Event) -> None:
        for unit, value in event.facts.items():
            if isinstance(value, int):
                samples = self._report.counters.setdefault(f"{event.name} {unit}", [])
                samples.append((event.time, value))

    def _add_idle_row(self, track: _Track, event: Event, name: str, facts: Facts) -> None:
        """Add the row of a command that has not run."""
        time = event.time
        row = Row(event.track, name, time, has_run=False, end=time, facts=facts)
        self._add_row(track, row)

    def _add_row(self, track: _Track, row: Row) -> None:
        row.before, track.before = track.before, []
        if track.row is not None and self._report.rows[track.row].name != row.name:
            track.rows.clear()  # Arrows lead to the commands of a Runner alone, each with a track.
        track.row = len(self._report.rows)
        track.rows.append(track.row)
        self._report.rows.append(row)

    def _row_at(self, track: _Track, time: int) -> int | None:
        """Return the last row of a track that had begun at `time`."""
        return next(
            (row for row in reversed(track.rows) if self._report.rows[row].begin <= time), None
        )
