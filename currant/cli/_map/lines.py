"""Lines of text from bytes that come in chunks."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from currant._values.errors import CommandError

if TYPE_CHECKING:
    from currant.cli._map.chunks import ChunkReader

__all__ = ["LineReader"]


class LineReader:
    """The lines of a file, each without its ending.

    A last line without an ending counts.  Lines may be empty.  Bytes that are not UTF-8 are kept,
    as `os.fsdecode` does.
    """

    def __init__(self, chunks: ChunkReader, *, null: bool) -> None:
        """Begin at the present position of a file.

        Args:
            chunks: the file.
            null: whether a line ends with a NUL byte instead of a newline.
        """
        self._chunks = chunks
        self._ending = b"\0" if null else b"\n"
        self._unfinished: list[bytes] = []
        self._count = 0

    async def read(self) -> list[str]:
        """Wait for lines, and return those that have come, at least one; none at the end.

        Cancellation: loses nothing.

        Raises:
            CommandError: the file cannot be read, or a line that ends with a newline has a NUL.
        """
        while chunk := await self._chunks.read():
            lines, ending, rest = chunk.rpartition(self._ending)
            if not ending:
                self._unfinished.append(chunk)
                continue
            complete = b"".join([*self._unfinished, lines])
            self._unfinished = [rest] if rest else []
            return self._split(complete)
        last = b"".join(self._unfinished)
        self._unfinished = []
        return self._split(last) if last else []

    def _split(self, data: bytes) -> list[str]:
        if self._ending != b"\0" and b"\0" in data:
            number = self._count + data.count(b"\n", 0, data.index(b"\0")) + 1
            raise CommandError(
                f"{self._chunks.name}, line {number}: an argument cannot have a NUL byte; with -0, "
                "values end with NUL bytes"
            )
        lines = os.fsdecode(data).split(os.fsdecode(self._ending))
        self._count += len(lines)
        return lines
