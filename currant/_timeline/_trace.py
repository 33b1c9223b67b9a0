"""`read_events`: the events in the file of a `TraceSink`.

The first line of the file is ``[`` and an event, each other line a comma and an event, and the last
line ``]``.  After a SIGKILL or a full disk, the last line may be missing, or be a part of a line.
So the file is read line by line, which also bounds the memory; rejected: `json.load`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import BinaryIO

__all__ = ["Event", "TraceError", "read_events"]

MAX_LINE = 1 << 20
"""Bytes of a line; those of a `TraceSink` have a few thousand at most."""

ADVICE = "give a file that currant wrote, with --trace FILE or a TraceSink"

Facts = dict[str, Any]
"""The arguments of an event."""


class TraceError(ValueError):
    """A file is not the trace of a run."""


@dataclass(frozen=True, slots=True)
class Event:
    """An event of the Trace Event Format.

    Attributes:
        phase: ``B`` (a slice begins), ``E`` (it ends), ``i`` (a mark), ``C`` (counters), ``s`` and
            ``f`` (an arrow begins and ends) or ``M`` (metadata).
        time: microseconds since the start of the run.
        track: the number of the track.
        name: the name of the event.
        facts: the arguments.
        arrow: the number of an arrow; 0 for other events.
    """

    phase: str
    time: int
    track: int
    name: str
    facts: Facts
    arrow: int


def read_events(file: BinaryIO) -> Iterator[Event]:
    """Yield the events of a trace; an unfinished last line is left out.

    Args:
        file: the trace, open for reading bytes.

    Raises:
        TraceError: the file is not a trace of currant, or damaged before its end.
    """
    first = file.readline(MAX_LINE)
    if not first:
        raise TraceError(f"the file is empty; {ADVICE}")
    event = _event_of(first, b"[")
    if event is None or (event.name, event.facts.get("name")) != ("process_name", "currant"):
        raise TraceError(f"this is not a trace of currant; {ADVICE}")
    yield event
    number = 1
    while line := file.readline(MAX_LINE):
        number += 1
        if line.strip() == b"]":
            return
        event = _event_of(line, b",")
        if event is not None:
            yield event
        elif file.read(1):
            raise TraceError(f"line {number} is not an event; the file is damaged")


def _event_of(line: bytes, begin: bytes) -> Event | None:
    """Return the event on a line that begins with `begin`; None if there is no whole event."""
    if not line.startswith(begin):
        return None
    try:
        event = json.loads(line[1:])
    except (ValueError, RecursionError):
        return None
    return _checked(cast("Mapping[str, object]", event)) if isinstance(event, dict) else None


def _checked(event: Mapping[str, object]) -> Event | None:
    """Return an event whose parts have the right types; None if they do not."""
    phase, name = event.get("ph"), event.get("name")
    time, track, arrow = event.get("ts", 0), event.get("tid", 0), event.get("id", 0)
    facts = event.get("args", {})
    match phase, time, track, name, facts, arrow:
        case str(), int(), int(), str(), dict(), int():
            return Event(phase, time, track, name, cast("Facts", facts), arrow)
        case _:
            return None
