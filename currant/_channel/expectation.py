"""`Expectation`: the search for one match in the output that a cursor reads.

Each stream is searched by itself, in the pieces in which its output arrived.  A match that depends
on what comes next (`currant._values.incremental_search`) counts after a moment of silence of its
stream, whatever the other stream writes.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, NamedTuple

from anyio import current_time

from currant._channel.output import MATCH_UNFINISHED_AFTER
from currant._values.errors import OutputDiscardedError
from currant._values.incremental_search import IncrementalSearch

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable

    from currant._channel.cursor import Cursor
    from currant._values.lines import StreamName

__all__ = ["Expectation", "Found"]


class Found(NamedTuple):
    """A match.

    Attributes:
        stream: the stream in which it was found.
        match: the match.
        end: the offset of its end in the stream.
    """

    stream: StreamName
    match: re.Match[bytes]
    end: int


class Expectation:
    """The search in one stream or in both.

    Args:
        pattern: the expression.
        streams: the streams to search.

    Attributes:
        missed: how many bytes were discarded before the search.
    """

    def __init__(self, pattern: re.Pattern[bytes], streams: Iterable[StreamName]) -> None:
        self._searches: dict[StreamName, IncrementalSearch] = {
            stream: IncrementalSearch(pattern) for stream in streams
        }
        self._ends: dict[StreamName, int] = dict.fromkeys(self._searches, 0)
        self._settle_at: dict[StreamName, float] = {}  # of the streams with an undecided match
        self.missed: int = 0

    async def wait(self, cursor: Cursor) -> Found | None:
        """Return the first match in what `cursor` reads; None if the output has ended without.

        Cancellation: harmless; `settle` may have an undecided match.
        """
        while (found := self._search(cursor)) is None:
            silence = min(self._settle_at.values(), default=inf) - current_time()
            if silence <= 0 or not await cursor.arrived(silence):
                return self.settle()
        return found

    def settle(self) -> Found | None:
        """Return the undecided match of the stream that has been silent for longest, if any."""
        for stream in sorted(self._settle_at, key=self._settle_at.__getitem__):
            match = self._searches[stream].settle()
            if match is not None:
                return self._found(stream, match)
        return None

    def _search(self, cursor: Cursor) -> Found | None:
        while cursor.has_unread:
            try:
                piece = cursor.take()
            except OutputDiscardedError as gap:
                self.missed += gap.size
                continue  # The search begins after the gap; a cursor that reads sees no later one.
            self._ends[piece.stream] = piece.start + len(piece.data)
            search = self._searches[piece.stream]
            match = search.feed(piece.data)
            if match is not None:
                return self._found(piece.stream, match)
            self._settle_at.pop(piece.stream, None)
            if search.is_undecided:
                self._settle_at[piece.stream] = current_time() + MATCH_UNFINISHED_AFTER
        return None

    def _found(self, stream: StreamName, match: re.Match[bytes]) -> Found:
        return Found(stream, match, self._ends[stream] - len(match.string) + match.end())
