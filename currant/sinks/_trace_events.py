"""`EventLines`: events of the Trace Event Format, each on a line of JSON.

The first line of a file opens an array, and each other line begins with the comma before its event.
So a file that ends after any line lacks the closing bracket alone.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["HEADER", "RUN_TRACK", "EventLines"]

RUN_TRACK = 1
"""The track of the events that are about no command that runs.

The process id of all events is 1, too, so viewers show this track first.
"""

HEADER = b'[{"ph":"M","pid":1,"tid":1,"name":"process_name","args":{"name":"currant"}}\n'
"""The first line of a file."""

_as_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
"""The encoder of all events: to build one for each event takes longer than to use it."""


class EventLines:
    """Events that have not been written yet."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def take(self) -> bytes:
        """Return the lines since the last call; each is ``,`` and an event.

        They are UTF-8; ``?`` stands for each byte of a name that is not.
        """
        taken = "".join(self._lines)
        self._lines.clear()
        return taken.encode(errors="replace")

    def add(
        self,
        phase: str,
        time: int,
        track: int,
        name: str,
        facts: Mapping[str, object] | None = None,
        more: str = "",
    ) -> None:
        """Add an event.

        Args:
            phase: the kind of event, a letter of the format.
            time: microseconds since the start of the run.
            track: the number of the track.
            name: the name of the event.
            facts: what a viewer shows of the event besides.
            more: the other keys of that kind of event, as JSON that begins with a comma.
        """
        args = "" if facts is None else f',"args":{_as_json(facts)}'
        self._lines.append(
            f',{{"ph":"{phase}","ts":{time},"pid":1,"tid":{track},"name":{_as_json(name)}'
            f"{more}{args}}}\n"
        )

    def name_track(self, track: int, name: str, place: int) -> None:
        """Give a track its name, and its place among the tracks."""
        self._add_metadata("thread_name", track, {"name": name})
        self._add_metadata("thread_sort_index", track, {"sort_index": place})

    def _add_metadata(self, name: str, track: int, facts: Mapping[str, object]) -> None:
        self._lines.append(
            f',{{"ph":"M","pid":1,"tid":{track},"name":"{name}","args":{_as_json(facts)}}}\n'
        )
