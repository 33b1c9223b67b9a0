"""The captured output of an attempt, for `Result.stdout`, `Result.stderr` and `Result.omitted`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from currant._values.capture import NOTHING_OMITTED, Omitted

if TYPE_CHECKING:
    from currant._values.capture import Capture
    from currant._values.lines import StreamName

__all__ = ["CapturedOutput"]


class CapturedOutput:
    """Keeps the output of an attempt: everything, its two ends, or nothing.

    Args:
        capture: how many first and last bytes of each stream to keep; None: keep nothing.
    """

    __slots__ = ("_capture", "_streams")

    def __init__(self, capture: Capture | None) -> None:
        self._capture = capture
        self._streams: dict[StreamName, _CapturedStream] = {}  # those with output

    def add(self, stream: StreamName, chunk: bytes) -> None:
        """Add a chunk that was read from `stream`."""
        if self._capture is None:
            return
        if stream not in self._streams:
            self._streams[stream] = _CapturedStream(self._capture.head, self._capture.tail)
        self._streams[stream].add(chunk)

    def get(self, stream: StreamName) -> bytes | None:
        """Return the bytes kept of `stream`; None if the caller asked for no capture."""
        if self._capture is None:
            return None
        return self._streams[stream].kept() if stream in self._streams else b""

    @property
    def omitted(self) -> Omitted:
        """The numbers of bytes that were not kept."""
        counts = {stream: captured.omitted for stream, captured in self._streams.items()}
        if self._capture is None or not any(counts.values()):
            return NOTHING_OMITTED
        # The head is full before anything is omitted, so both streams are cut in the same place.
        return Omitted(counts.get("stdout", 0), counts.get("stderr", 0), after=self._capture.head)


class _CapturedStream:
    """The first and the last bytes of a stream.

    Memory is bounded by the first bytes, twice the last bytes, and a chunk.  Trimming at twice the
    limit, not at each chunk, keeps the cost of a byte constant.

    Args:
        head: how many first bytes to keep.
        tail: how many bytes to keep of those at the end.
    """

    __slots__ = ("_head", "_head_limit", "_tail", "_tail_limit", "_trimmed")

    def __init__(self, head: int, tail: int) -> None:
        self._head_limit, self._tail_limit = head, tail
        self._head, self._tail = bytearray(), bytearray()
        self._trimmed = 0

    def add(self, chunk: bytes) -> None:
        """Add a chunk that was read."""
        room = self._head_limit - len(self._head)
        if room:
            self._head += chunk[:room]
            if len(chunk) <= room:
                return
            chunk = chunk[room:]
        self._tail += chunk
        if len(self._tail) > 2 * self._tail_limit:
            self._trimmed += self._excess
            del self._tail[: self._excess]

    @property
    def omitted(self) -> int:
        """The number of bytes that were not kept."""
        return self._trimmed + self._excess

    def kept(self) -> bytes:
        """Return the first and the last bytes, joined."""
        return b"".join((self._head, memoryview(self._tail)[self._excess :]))

    @property
    def _excess(self) -> int:
        """The number of bytes in `_tail` that are not kept."""
        return max(0, len(self._tail) - self._tail_limit)
