"""The last lines of an attempt, for `Job.tail` and for errors that show them.

Batches are kept, not lines: splitting every batch would cost as much as reading line by line.  So a
batch is only cut to its last bytes; if a caller asks for the tail, the rest is split into lines.
The pieces of a line that came in several batches are joined again.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, TypeAlias

from currant._values.lines import MAX_LINE, batches_with_limit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from currant._values.lines import Batch, Line, StreamName

    # The end of a batch: the command, the stream, the data, whether it is cut, and the time.
    _End: TypeAlias = tuple[str, StreamName, bytes, bool, float]

__all__ = ["TAIL_BYTES", "Tail"]

TAIL_LINES = 20
"""How many last lines are kept."""

TAIL_BYTES = 4096
"""How many last bytes of a batch are kept."""


class Tail:
    """Keeps the last lines of an attempt, both streams in the order in which they were read.

    Args:
        line_limit: the most bytes of a line that stay together.
    """

    __slots__ = ("_batches", "_make_batch")

    def __init__(self, line_limit: int = MAX_LINE) -> None:
        self._make_batch = batches_with_limit(line_limit)
        self._batches: list[_End] = []

    def add(self, batch: Batch) -> None:
        """Add a batch that was read; keep only the end of its data."""
        # This runs for every batch, so keep a tuple: a frozen dataclass takes longer to make.
        end = batch.data[-TAIL_BYTES:]
        is_cut = len(end) < len(batch.data)
        if self._batches:
            _, stream, begun, begun_is_cut, _ = self._batches[-1]
            if begun[-1:] not in (b"\n", b"\r") and stream == batch.stream:
                self._batches.pop()
                joined = begun + end
                end = joined[-TAIL_BYTES:]
                is_cut = is_cut or begun_is_cut or len(end) < len(joined)
        self._batches.append((batch.command, batch.stream, end, is_cut, batch.time))
        del self._batches[:-TAIL_LINES]  # Each batch has at least one line.

    def lines(self, unfinished: Iterable[Batch] = ()) -> tuple[Line, ...]:
        """Return the last lines, oldest first.

        Args:
            unfinished: what has come of a line that was not added yet.
        """
        if unfinished:
            tail = copy(self)
            tail._batches = self._batches.copy()  # noqa: SLF001 - of the same class
            for batch in unfinished:
                tail.add(batch)
            return tail.lines()
        lines: list[Line] = []
        for command, stream, data, is_cut, when in self._batches:
            of_batch = list(self._make_batch(command, stream, data, when).lines())
            # The first line of a cut batch may lack its beginning; show it only if alone.
            lines += of_batch[1:] or of_batch if is_cut else of_batch
        return tuple(lines[-TAIL_LINES:])
