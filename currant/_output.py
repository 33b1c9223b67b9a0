"""What is kept of a command's output beside what is sent on: captured bytes, and the last lines."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from currant._messages import Batch

if TYPE_CHECKING:
    from currant._messages import Line, StreamName

__all__ = ["Capture", "Tail"]

TAIL_LINES = 20
"""How many last lines are remembered, for errors that show them."""

TAIL_BYTES = 4096
"""Most bytes of one batch that are remembered for that."""


class Capture:
    """The output of one attempt: all of it, its last bytes, or nothing."""

    __slots__ = ("_kept", "_limit")

    def __init__(self, capture: bool | int) -> None:
        self._limit = None if capture is True else int(capture)
        self._kept: dict[StreamName, bytearray] = {}
        if capture is not False:
            self._kept = {"stdout": bytearray(), "stderr": bytearray()}

    def add(self, stream: StreamName, chunk: bytes) -> None:
        """Take a chunk that was read."""
        if stream in self._kept:
            kept = self._kept[stream]
            kept += chunk
            if self._limit is not None and len(kept) > 2 * self._limit:
                del kept[: len(kept) - self._limit]

    def get(self, stream: StreamName) -> bytes | None:
        """Return what is kept of `stream`; None where nothing was asked for."""
        if stream not in self._kept:
            return None
        kept = bytes(self._kept[stream])
        return kept if self._limit is None else kept[max(0, len(kept) - self._limit) :]


class Tail:
    """The last lines of one attempt, both streams in the order in which they were read."""

    __slots__ = ("_batches",)

    def __init__(self) -> None:
        # A batch has at least one line, so this many hold enough of them.
        self._batches: deque[tuple[str, StreamName, bytes, bool, float]] = deque(maxlen=TAIL_LINES)

    def add(self, batch: Batch) -> None:
        """Take a batch that was read; all but its end is let go at once."""
        # Tuples, split only when asked for: this is done for every batch.
        end = batch.data[-TAIL_BYTES:]
        is_cut = len(end) < len(batch.data)
        self._batches.append((batch.command, batch.stream, end, is_cut, batch.time))

    def lines(self) -> tuple[Line, ...]:
        """Return the last lines."""
        lines: list[Line] = []
        for command, stream, data, is_cut, when in self._batches:
            own = list(Batch(command, stream, data, when).lines())
            # The first line may have lost its beginning; where there are more, it is left out.
            lines += own[1:] or own if is_cut else own
        return tuple(lines[-TAIL_LINES:])
