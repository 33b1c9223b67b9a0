"""Blocks of bytes for the stdin of jobs; a record is never split."""

from __future__ import annotations

from typing import TYPE_CHECKING

from currant._values.errors import CommandError

if TYPE_CHECKING:
    from currant.cli._map.chunks import ChunkReader

__all__ = ["BlockReader"]


class BlockReader:
    """The blocks of a file, in order; an async iterator, for one pass.

    A block ends where a record ends.  The last record need not have an ending.
    """

    def __init__(
        self, chunks: ChunkReader, *, size: int, record_end: bytes, records: int | None = None
    ) -> None:
        """Begin at the present position of a file.

        Args:
            chunks: the file.
            size: the number of bytes that a block has at most, if it has more than one record.
            record_end: the bytes at the end of each record.
            records: the number of records of each block, whatever its size; None: as many as fit.

        Raises:
            CommandError: `record_end` is empty.
        """
        if not record_end:
            raise CommandError("the end of a record cannot be empty")
        self._chunks = chunks
        self._size = size
        self._end = record_end
        self._records = records
        self._data = bytearray()
        self._searched = 0
        """Where the search for the end of a record goes on."""
        self._found = 0
        """The number of records up to there."""

    def __aiter__(self) -> BlockReader:
        return self

    async def __anext__(self) -> bytes:
        """Wait for a block.

        Cancellation: loses nothing.

        Raises:
            CommandError: the file cannot be read.
        """
        while not (cut := self._cut()):
            if not (chunk := await self._chunks.read()):
                cut = len(self._data)
                break
            self._data += chunk
        if not cut:
            raise StopAsyncIteration
        block = bytes(self._data[:cut])
        del self._data[:cut]
        self._searched = self._found = 0
        return block

    def _cut(self) -> int:
        """Return the end of the next block; 0 if it has not come yet."""
        if self._records is not None:
            return self._cut_after(self._records)
        if len(self._data) < self._size:
            return 0
        if not self._searched:
            last = self._data.rfind(self._end, 0, self._size)
            if last >= 0:
                return last + len(self._end)
            self._searched = max(0, self._size - len(self._end) + 1)
        return self._cut_after(1)

    def _cut_after(self, records: int) -> int:
        """Return the end of that many records; 0 if they have not come yet."""
        while self._found < records:
            at = self._data.find(self._end, self._searched)
            if at < 0:
                self._searched = max(self._searched, len(self._data) - len(self._end) + 1)
                return 0
            self._searched = at + len(self._end)
            self._found += 1
        return self._searched
