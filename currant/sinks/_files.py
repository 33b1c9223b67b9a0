"""How bytes get into a file, whatever kind of file it is."""

from __future__ import annotations

import codecs
import inspect
import os
import select
from functools import partial
from io import BufferedWriter, FileIO
from typing import IO, TYPE_CHECKING, Any, TypeAlias

from anyio.abc import ByteSendStream

from currant.sinks._threaded import in_thread

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

    from anyio import AsyncFile

__all__ = ["AT_ONCE", "AnyFile", "File", "OpenFile", "Part", "SyncFile"]

Part: TypeAlias = "bytes | memoryview"
"""Some of the bytes that are written in one go."""

AT_ONCE = 64 * 1024
"""Bytes that are enough for one write: what is more waits for the next.

Enough that a call for each costs little, and so few that the memory is used again: of a larger
amount that is let go, malloc gives the pages back to the system.  With 1 MiB, writing 4 × 100 MB
took 215,000 page faults and a second more.
"""

SyncFile: TypeAlias = "IO[bytes] | IO[str]"
File: TypeAlias = "SyncFile | ByteSendStream | AsyncFile[bytes] | AsyncFile[str]"


class OpenFile:
    """A file that is written to with blocking calls, binary or text."""

    def __init__(self, file: SyncFile) -> None:
        # Text has a binary file below it; where it has none (a StringIO, a notebook), it is text.
        binary: SyncFile = getattr(file, "buffer", file)
        self._text = file if binary is not file else None
        self._file: Any = binary
        self._encode = _encoder(binary)
        # What a file object does to what it writes (compress it, say), only it can do.
        plain = isinstance(binary, (BufferedWriter, FileIO))
        self._fd = binary.fileno() if plain else None

    @property
    def columns(self) -> int | None:
        """How wide the terminal is that the file is at this moment; None where it is none."""
        try:
            return os.get_terminal_size(-1 if self._fd is None else self._fd).columns
        except OSError:
            return None

    def is_same_place(self, other: OpenFile) -> bool:
        """Tell whether what `other` writes comes out where this one's does, as on a terminal."""
        if self._fd is None or other._fd is None:
            return self._file is other._file
        return os.path.samestat(os.fstat(self._fd), os.fstat(other._fd))

    def write(self, parts: Sequence[Part]) -> None:
        """Write all of `parts` in one go, however long the file takes."""
        if self._fd is None:
            self._file.write(self._encode(b"".join(parts)))
            self._file.flush()
            return
        self._flush(self._fd)  # what the host wrote before
        # The last part may be large: it is not copied.
        begin, end = memoryview(b"".join(parts[:-1])), memoryview(parts[-1])
        while begin or end:
            try:
                written = os.writev(self._fd, (begin, end))
            except BlockingIOError:
                _wait_writable(self._fd)
            else:
                end = end[max(0, written - len(begin)) :]
                begin = begin[written:]

    def _flush(self, fd: int) -> None:
        while True:
            try:
                if self._text is not None:
                    self._text.flush()
                self._file.flush()
            except BlockingIOError:
                _wait_writable(fd)
            else:
                return


class AnyFile:
    """A file of any kind: an `OpenFile`, a byte stream of anyio's, or an async file."""

    def __init__(self, file: File) -> None:
        self._write_sync: Callable[[list[Part]], object] | None = None
        self._send: Callable[[bytes], Awaitable[object]]
        if isinstance(file, ByteSendStream):
            self._send = file.send
        elif not callable(getattr(file, "write", None)):
            raise TypeError(f"a file to write to has a method 'write' or 'send'; got {file!r}")
        elif inspect.iscoroutinefunction(file.write):
            self._file, self._encode = file, _encoder(file)
            self._send = self._send_to_async_file
        else:
            self._write_sync = OpenFile(file).write  # type: ignore[arg-type]

    async def write(self, parts: Iterable[Part]) -> None:
        """Write all of `parts`, which are made in a worker thread."""
        groups = _grouped(parts)
        if self._write_sync is not None:
            await in_thread(partial(_write_all, self._write_sync, groups))
            return
        while (group := await in_thread(partial(next, groups, None))) is not None:
            await self._send(b"".join(group))

    async def _send_to_async_file(self, data: bytes) -> None:
        file: Any = self._file
        await file.write(self._encode(data))
        await file.flush()


def _grouped(parts: Iterable[Part]) -> Iterator[list[Part]]:
    """Yield `parts` in such groups as are written in one go."""
    group: list[Part] = []
    size = 0
    for part in parts:
        group.append(part)
        size += len(part)
        if size >= AT_ONCE:
            yield group
            group, size = [], 0
    if size:
        yield group


def _write_all(write: Callable[[list[Part]], object], groups: Iterable[list[Part]]) -> None:
    for group in groups:
        write(group)


def _encoder(file: object) -> Callable[[bytes], bytes | str]:
    """Return what makes of bytes what `file` takes: text where it is a text file."""
    if not hasattr(file, "encoding"):
        return bytes
    return codecs.getincrementaldecoder("utf-8")("replace").decode


def _wait_writable(fd: int) -> None:
    """Wait until a file takes more that somebody who shares it has set not to block."""
    waiting = select.poll()
    waiting.register(fd, select.POLLOUT)
    waiting.poll()
