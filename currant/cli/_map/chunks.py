"""Bytes of a file, a pipe or a terminal, as they come, without blocking the event loop.

A thread for each read was rejected: it takes 50 µs, and a thread that waits for a terminal cannot
be cancelled.
"""

from __future__ import annotations

import os
import stat

import anyio
from anyio.lowlevel import checkpoint

from currant._values.errors import CommandError

__all__ = ["ChunkReader", "open_file"]

_CHUNK = 65_536
"""Bytes that are read at once: the capacity of a pipe on Linux."""


def open_file(path: str) -> int:
    """Open a file for a `ChunkReader`, and return the descriptor.

    A named pipe is opened without a wait for a writer.

    Raises:
        CommandError: the file cannot be read.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        os.close(fd)
        raise CommandError(f"cannot read {path}: it is a directory")
    return fd


class ChunkReader:
    """The bytes of an open file.

    Attributes:
        name: the name of the file, for messages.
    """

    def __init__(self, name: str, fd: int) -> None:
        """Look at the kind of the file.

        Args:
            name: the name of the file, for messages.
            fd: its descriptor, which the caller closes.

        Raises:
            CommandError: the descriptor is not open.
        """
        self.name = name
        self._fd = fd
        self._has_ended = False
        try:
            mode = os.fstat(fd).st_mode
        except OSError as error:
            raise _unreadable(name, error) from error
        # An event loop cannot wait for any other file, and a read of one never waits.
        self._may_wait = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(fd)

    async def read(self) -> bytes:
        """Wait for bytes, and return at most 64 KiB; nothing at the end.

        A terminal can be read again after its end, Ctrl-D.  Here the first end is the last one.
        Cancellation: loses nothing.

        Raises:
            CommandError: the file cannot be read.
        """
        while not self._has_ended:
            if self._may_wait:
                await anyio.wait_readable(self._fd)
            else:
                await checkpoint()
            try:
                data = os.read(self._fd, _CHUNK)
            except BlockingIOError:
                continue
            except OSError as error:
                raise _unreadable(self.name, error) from error
            self._has_ended = not data
            return data
        return b""


def _unreadable(name: str, error: Exception) -> CommandError:
    reason = error.strerror if isinstance(error, OSError) else error
    return CommandError(f"cannot read {name}: {reason}")
