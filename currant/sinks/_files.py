"""Files of every kind that sinks write to: blocking or async, binary or text."""

from __future__ import annotations

import codecs
import errno
import inspect
import os
import select
from functools import partial
from io import BufferedWriter, FileIO
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import anyio
from anyio.abc import ByteSendStream

from currant._channel.threads import in_thread
from currant._system.files import enlarge_pipe

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

    from anyio import AsyncFile

__all__ = [
    "BUSY_PIPE",
    "BYTES_PER_WRITE",
    "AnyFile",
    "Chunk",
    "File",
    "OpenFile",
    "SyncFile",
    "is_same_place",
    "terminal_columns",
]

Chunk: TypeAlias = "bytes | memoryview"
"""A part of a write."""

BYTES_PER_WRITE = 64 * 1024
"""Bytes after which a write begins.

This is enough to make system calls cheap, and little enough for malloc to reuse the memory: malloc
returns the pages of larger blocks to the system.  With 1 MiB, writing 4 × 100 MB took 215,000 page
faults and a second more.
"""

BUSY_PIPE = 512 * 1024
"""The capacity of a pipe to which much is written, for two writes of the usual size.

With 64 KiB, each write of 4 × 100 MB had to wait for the reader several times, and took 1.5 times
as long.
"""

SyncFile: TypeAlias = "IO[bytes] | IO[str]"
"""The files that `ConsoleSink` writes to: binary or text, with blocking writes."""

File: TypeAlias = "SyncFile | ByteSendStream | AsyncFile[bytes] | AsyncFile[str]"
"""The files that `WriterSink` and `JSONSink` write to, with blocking or async writes."""


class OpenFile:
    """A binary or text file with blocking writes."""

    def __init__(self, file: SyncFile) -> None:
        _check_has_write(file, "'write'")
        # A text file has a binary file below it, except for StringIO and the like.
        binary: SyncFile = getattr(file, "buffer", file)
        self._text = file if binary is not file else None
        self._file: Any = binary
        self._encode = _encoder(binary)
        # Any other file object may transform the data (compress it, say), so it has to write.
        plain = isinstance(binary, (BufferedWriter, FileIO))
        self._fd = binary.fileno() if plain else None
        self._name = _name_of(file)
        self._may_grow = True

    @property
    def columns(self) -> int | None:
        """The present width of the terminal; None if the file is not a terminal."""
        return None if self._fd is None else terminal_columns(self._fd)

    def is_same_place(self, other: OpenFile) -> bool:
        """Return whether both files are the same, as stdout and stderr on a terminal are."""
        if self._fd is None or other._fd is None:
            return self._file is other._file
        return is_same_place(self._fd, other._fd)

    def write(self, chunks: Sequence[Chunk]) -> None:
        """Write all chunks together, however long the file takes.

        Raises:
            OSError: the file cannot be written; the error names the file.
        """
        try:
            self._write(chunks)
        except OSError as error:
            raise _named(error, self._name) from None

    def _write(self, chunks: Sequence[Chunk]) -> None:
        if self._fd is None:
            self._file.write(self._encode(b"".join(chunks)))
            self._file.flush()
            return
        self._flush(self._fd)  # The program may have buffered some text.
        if self._may_grow and sum(map(len, chunks)) >= BYTES_PER_WRITE:
            self._may_grow = False
            enlarge_pipe(self._fd, BUSY_PIPE)
        # The last chunk may be large, so it is not copied.
        begin, end = memoryview(b"".join(chunks[:-1])), memoryview(chunks[-1])
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


def terminal_columns(fd: int) -> int | None:
    """Return the present width of a terminal; None if the file is not a terminal."""
    try:
        return os.get_terminal_size(fd).columns
    except OSError:
        return None


def is_same_place(fd: int, other: int) -> bool:
    """Return whether both are the same file, pipe or terminal.

    ``/dev/tty`` is a file of its own, but the same place as the controlling terminal, which a
    process has one of at most.
    """
    is_same_file = os.path.samestat(os.fstat(fd), os.fstat(other))
    return is_same_file or (_is_controlling_terminal(fd) and _is_controlling_terminal(other))


def _is_controlling_terminal(fd: int) -> bool:
    try:
        os.tcgetpgrp(fd)
    except OSError:
        return False
    return True


class AnyFile:
    """A file of any kind: an `OpenFile`, a byte stream of anyio, or an async file."""

    def __init__(self, file: File) -> None:
        self._write_sync: Callable[[list[Chunk]], object] | None = None
        self._send: Callable[[bytes], Awaitable[object]]
        self._name = _name_of(file)
        if isinstance(file, ByteSendStream):
            self._send = file.send
            return
        _check_has_write(file, "'write' or 'send'")
        if inspect.iscoroutinefunction(file.write):
            self._file, self._encode = file, _encoder(file)
            self._send = self._send_to_async_file
        else:
            self._write_sync = OpenFile(file).write  # type: ignore[arg-type]

    async def write(self, chunks: Iterable[Chunk]) -> None:
        """Write all chunks; the iterable is consumed in a worker thread.

        Raises:
            OSError: the file cannot be written; the error names the file, if it has a name.
        """
        groups = _grouped(chunks)
        if self._write_sync is not None:
            await in_thread(partial(_write_all, self._write_sync, groups))
            return
        while (group := await in_thread(partial(next, groups, None))) is not None:
            try:
                await self._send(b"".join(group))
            except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
                cause = error.__cause__
                if isinstance(cause, OSError):
                    raise cause from None
                raise BrokenPipeError(errno.EPIPE, "the stream takes no more output") from error
            except OSError as error:
                raise _named(error, self._name) from None

    async def _send_to_async_file(self, data: bytes) -> None:
        file: Any = self._file
        await file.write(self._encode(data))
        await file.flush()


def _grouped(chunks: Iterable[Chunk]) -> Iterator[list[Chunk]]:
    """Yield `chunks` in groups, each for a single write."""
    group: list[Chunk] = []
    size = 0
    for chunk in chunks:
        group.append(chunk)
        size += len(chunk)
        if size >= BYTES_PER_WRITE:
            yield group
            group, size = [], 0
    if size:
        yield group


def _write_all(write: Callable[[list[Chunk]], object], groups: Iterable[list[Chunk]]) -> None:
    for group in groups:
        write(group)


def _check_has_write(file: object, needed: str) -> None:
    if not callable(getattr(file, "write", None)):
        raise TypeError(f"a file needs a method {needed}, got {file!r}; a path has to be opened")


def _name_of(file: object) -> str | None:
    """Return the name of an open file for a message; a file without a path has a number."""
    name = getattr(file, "name", None)
    return f"file descriptor {name}" if isinstance(name, int) else name


def _named(error: OSError, name: str | None) -> OSError:
    """Return `error` with the name of the file, unless the error has one."""
    if error.filename is None:
        error.filename = name
    return error


def _encoder(file: object) -> Callable[[bytes], bytes | str]:
    """Return a function that decodes bytes if `file` is a text file."""
    if not hasattr(file, "encoding"):
        return bytes
    return codecs.getincrementaldecoder("utf-8")("replace").decode


def _wait_writable(fd: int) -> None:
    """Wait until a non-blocking file can be written to; another process may have made it so."""
    waiting = select.poll()
    waiting.register(fd, select.POLLOUT)
    waiting.poll()
