"""`SpillFile`: the file of `Capture.spill`, which gets all output of an attempt.

The chunks of both streams are written as they are read, one after the other, in a worker thread.
The task that reads a stream waits for that, so a slow disk slows the command, as a slow reader
does, and memory stays bounded.  A disk that does not answer at all must not hold up a kill, so from
the request to stop on, the wait for each write is bounded.

The file is opened for each write.  So no descriptor is left in use if a write is abandoned, and a
silent command costs none.  Only `create` creates the file: if another program has removed it, a new
file would lack the beginning without a word.
"""

from __future__ import annotations

import os
from functools import partial
from math import inf
from typing import TYPE_CHECKING

import anyio

from currant._channel.threads import in_thread
from currant._values.errors import LaunchError, SpillError

if TYPE_CHECKING:
    from collections.abc import Callable

    from currant._values.errors import CurrantError

__all__ = ["SpillFile"]


class SpillFile:
    """The file that gets all output of an attempt, both streams in the order of arrival.

    Args:
        name: the command's name.
        path: the file.
        on_fault: is called if the file cannot be written; after that, nothing more is written.
    """

    def __init__(self, name: str, path: str, on_fault: Callable[[CurrantError], None]) -> None:
        self._name = name
        self._path = path
        self._place = path
        self._on_fault = on_fault
        self._is_broken = False
        self._lock = anyio.Lock()
        self._write_timeout = inf  # seconds to wait for a write
        self._writing = anyio.CancelScope()  # the present write

    async def create(self) -> None:
        """Create the file, or empty it.

        Cancellation: the file may have been created.

        Raises:
            LaunchError: that is impossible.
        """
        try:
            await in_thread(self._create)
        except OSError as error:
            advice = "; create its folder first" if isinstance(error, FileNotFoundError) else ""
            reason = f"its output cannot be written to {self._path!r}: {_reason(error)}{advice}"
            raise LaunchError(self._name, reason) from error

    def _create(self) -> None:
        self._place = os.path.abspath(self._path)  # The program may change its directory later.
        _write(self._place, os.O_CREAT | os.O_TRUNC, b"")

    async def append(self, chunk: bytes) -> None:
        """Append `chunk`, after the chunks of earlier calls, unless the file is broken."""
        async with self._lock:
            if self._is_broken:
                return
            try:
                with anyio.move_on_after(self._write_timeout) as self._writing:
                    await in_thread(partial(_write, self._place, os.O_APPEND, chunk))
                    return
                error: OSError = TimeoutError("the disk does not answer")
            except OSError as caught:
                error = caught
            self._is_broken = True
            fault = SpillError(self._name, self._path, _reason(error))
            fault.__cause__ = error
            self._on_fault(fault)

    def limit_wait(self, seconds: float) -> None:
        """Wait at most `seconds` for the present write, and for each later one."""
        self._write_timeout = min(self._write_timeout, seconds)
        self._writing.deadline = min(self._writing.deadline, anyio.current_time() + seconds)


def _write(path: str, flags: int, data: bytes) -> None:
    # O_NONBLOCK, because a named pipe without a reader is an error, and not a wait for the reader.
    fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | flags, 0o666)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(fd, rest) :]
    finally:
        os.close(fd)


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
