"""The captured output of an attempt, for `Result.stdout` and `Result.stderr`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from currant._values.lines import StreamName

__all__ = ["Capture"]


class Capture:
    """Keeps the output of an attempt: everything, the last bytes, or nothing.

    Memory is bounded: with a limit, each stream holds at most twice that many bytes and one chunk.
    Trimming at twice the limit, not at each chunk, keeps the cost of a byte constant.

    Args:
        capture: False for none, True for all, or how many last bytes of each stream to keep.
    """

    __slots__ = ("_kept", "_limit")

    def __init__(self, capture: bool | int) -> None:
        self._limit = None if capture is True else int(capture)
        self._kept: dict[StreamName, bytearray] = {}
        if capture is not False:
            self._kept = {"stdout": bytearray(), "stderr": bytearray()}

    def add(self, stream: StreamName, chunk: bytes) -> None:
        """Add a chunk that was read from `stream`."""
        if stream in self._kept:
            kept = self._kept[stream]
            kept += chunk
            if self._limit is not None and len(kept) > 2 * self._limit:
                del kept[: len(kept) - self._limit]

    def get(self, stream: StreamName) -> bytes | None:
        """Return the bytes kept of `stream`; None if the caller asked for no capture."""
        if stream not in self._kept:
            return None
        kept = bytes(self._kept[stream])
        return kept if self._limit is None else kept[max(0, len(kept) - self._limit) :]
