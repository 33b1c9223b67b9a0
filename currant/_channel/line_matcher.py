"""The search for the lines that probes wait for, in both streams of an attempt.

Chunks are searched as they are read, so a probe does not wait for the end of a line, and sees a
line as a whole, wherever the line was cut to be passed on.  A match that needs the end of the line
(`port 80$`, while 8080 is being written) counts if the line has ended, or if it stays as it is for
a moment (`match_unfinished`).
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from currant._values.line_pattern import Lines

if TYPE_CHECKING:
    from collections.abc import Iterable

    from currant._values.lines import StreamName
    from currant._values.probe import LineProbe

__all__ = ["LineMatcher"]

MAX_UNFINISHED = 8 * 1024
"""The most bytes of an unfinished line that are searched again with the next chunk.

The bound keeps the cost linear, if a long line arrives in many small chunks.
"""


class LineMatcher:
    """Searches the output for the lines that probes wait for.

    Args:
        probes: the probes.

    Attributes:
        waiting: the probes that have not matched.
        undecided: the streams of which an unfinished line matches only if it ends as it is.
    """

    __slots__ = ("_streams", "undecided", "waiting")

    def __init__(self, probes: Iterable[LineProbe]) -> None:
        self.waiting: list[LineProbe] = list(probes)
        self.undecided: set[StreamName] = set()
        self._streams: dict[StreamName, _UnfinishedLine] = defaultdict(_UnfinishedLine)

    def add(self, stream: StreamName, chunk: bytes) -> bool:
        """Search `chunk`, which was read from `stream`; return whether a probe has matched."""
        return self._search(stream, self._streams[stream].continued_by(chunk))

    def match_unfinished(self, stream: StreamName) -> bool:
        """Search the unfinished line as if it ended here; return whether a probe has matched."""
        return self._search(stream, self._streams[stream].as_ended())

    def _search(self, stream: StreamName, lines: Lines) -> bool:
        found = [probe.found_in(lines, stream) for probe in self.waiting]
        self.waiting = [p for p, f in zip(self.waiting, found, strict=True) if not f]
        self.undecided.discard(stream)
        if None in found:
            self.undecided.add(stream)
        return True in found


class _UnfinishedLine:
    """The unfinished last line of a stream, or its last bytes."""

    __slots__ = ("_ended_by_cr", "_is_cut", "_unfinished")

    def __init__(self) -> None:
        self._unfinished = b""
        self._is_cut = False
        self._ended_by_cr = False

    def as_ended(self) -> Lines:
        """Return the line as if it ended here."""
        return Lines(self._unfinished, begins_inside=self._is_cut)

    def continued_by(self, chunk: bytes) -> Lines:
        """Return the line and the `chunk` that follows; keep the new unfinished line."""
        if self._ended_by_cr:
            chunk = chunk.removeprefix(b"\n")
        data = self._unfinished + chunk
        lines = Lines(data, begins_inside=self._is_cut, may_go_on=True)
        begin = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        self._ended_by_cr = data.endswith(b"\r")
        self._is_cut = len(data) - begin > MAX_UNFINISHED or (self._is_cut and not begin)
        self._unfinished = data[max(begin, len(data) - MAX_UNFINISHED) :]
        return lines
