"""The last bytes of one output stream, in the chunks in which they were read.

Every byte has an offset in its stream, which goes on through all attempts of a life.  A place is
such an offset, so a place stays valid whatever is forgotten.  Small chunks are joined, unless the
other stream has written between them, or another attempt has begun.  The number of chunks is
bounded as well as their bytes.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

__all__ = ["KEPT", "Chunk", "Place", "Track"]

KEPT = 128 * 1024
"""Bytes of a stream that are kept at least, so that short output can be read after its end."""

SMALL_CHUNK = 4 * 1024
"""Bytes up to which a chunk takes in the next one."""

CHUNK_OVERHEAD = 250
"""Bytes of memory that a chunk takes beside its data."""

MAX_CHUNKS = 16 * 1024
"""Chunks of a stream that are kept at most: 4 MB, if both streams write single bytes in turn.

So `KEPT` holds for two streams that write in turn if they write 8 bytes or more each time.
"""


class Chunk(NamedTuple):
    """Bytes that were read together.

    Attributes:
        order: the offset of the first byte in both streams together, in the order of arrival.
        start: the offset of the first byte in its stream.
        data: the bytes.
        time: when the last of them was read, in seconds since the epoch.
        begins_attempt: whether these are the first bytes of an attempt.
    """

    order: int
    start: int
    data: bytes
    time: float
    begins_attempt: bool = False

    @property
    def end(self) -> int:
        """The offset after the last byte, in its stream."""
        return self.start + len(self.data)


class Place:
    """A position in a stream.

    Attributes:
        offset: the offset in the stream.
        number: the number of the chunk around the offset, or of one before; it saves a search.
    """

    __slots__ = ("number", "offset")

    def __init__(self, offset: int = 0, number: int = 0) -> None:
        self.offset: int = offset
        self.number: int = number

    def copy(self) -> Place:
        """Return another place at the same position."""
        return Place(self.offset, self.number)


_NO_CHUNKS: deque[Chunk] = deque()
"""The chunks of a stream without output: a deque takes 760 bytes, and many commands are silent."""


class Track:
    """The last chunks of one stream.

    Attributes:
        chunks: the chunks that are kept, oldest first.
        end: how many bytes the stream has had.
        has_ended: whether no more bytes will come.
    """

    __slots__ = ("_begins_attempt", "_first", "_size", "chunks", "end", "has_ended")

    def __init__(self) -> None:
        self.chunks: deque[Chunk] = _NO_CHUNKS
        self.end: int = 0
        self.has_ended: bool = False
        self._begins_attempt = True
        self._first = 0  # the number of the oldest chunk
        self._size = 0

    def begin_attempt(self) -> None:
        """Expect output again, after the end of an earlier attempt."""
        self.has_ended = False
        self._begins_attempt = True

    def add(self, order: int, data: bytes, time: float) -> None:
        """Add a chunk of at least one byte."""
        chunks, begins_attempt = self.chunks, self._begins_attempt
        self._begins_attempt = False
        if chunks and len(data) < SMALL_CHUNK and not begins_attempt:
            last = chunks[-1]
            is_next = last.order + len(last.data) == order
            if is_next and len(last.data) + len(data) <= SMALL_CHUNK:
                chunks[-1] = last._replace(data=last.data + data, time=time)
                self._size += len(data)
                self.end += len(data)
                return
        if chunks is _NO_CHUNKS:
            self.chunks = chunks = deque[Chunk]()
        chunks.append(Chunk(order, self.end, data, time, begins_attempt))
        self._size += len(data)
        self.end += len(data)

    @property
    def has_surplus(self) -> bool:
        """Whether the chunks after the oldest are enough to keep."""
        chunks = self.chunks
        if self._size > KEPT and self._size - len(chunks[0].data) >= KEPT:
            return True
        return len(chunks) > MAX_CHUNKS

    @property
    def size(self) -> int:
        """About how many bytes of memory the kept chunks take."""
        return self._size + CHUNK_OVERHEAD * len(self.chunks)

    def forget_oldest(self) -> None:
        """Forget the oldest chunk."""
        self._size -= len(self.chunks.popleft().data)
        self._first += 1

    def next_chunk(self, place: Place) -> Chunk | None:
        """Return the oldest chunk with a byte at `place` or after it; None if none is kept."""
        if place.offset >= self.end or not self.chunks:
            return None
        place.number = max(place.number, self._first)
        chunk = self.chunks[place.number - self._first]
        while chunk.end <= place.offset:
            place.number += 1
            chunk = self.chunks[place.number - self._first]
        return chunk

    def skip_gap(self, place: Place) -> int:
        """Move `place` over the bytes that were forgotten, and return how many there were."""
        chunk = self.next_chunk(place)
        gap = max(0, (self.end if chunk is None else chunk.start) - place.offset)
        place.offset += gap
        return gap

    def read(self, place: Place, max_bytes: int) -> bytes:
        """Return the bytes from `place` on, at most `max_bytes`, and move `place` behind them."""
        parts: list[bytes] = []
        while max_bytes and (chunk := self.next_chunk(place)) is not None:
            begin = place.offset - chunk.start
            part = chunk.data[begin : begin + max_bytes]
            parts.append(part)
            place.offset += len(part)
            max_bytes -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)
