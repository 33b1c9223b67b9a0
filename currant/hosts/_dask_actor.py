"""The actor that runs in a worker of Dask: starts an agent, and copies bytes to and from the agent.

Dask sends this module to the worker by value, because currant may not be installed there.  So the
module imports the standard library alone.  A worker runs the calls of an actor on its own asyncio
loop.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if os.name == "posix":  # On other systems `require_posix` raises a clear error later.
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["NUMBER", "DaskActor"]

CHUNK = 1024 * 1024
"""The capacity of the pipes in bytes, if the system allows it, and the most bytes of one answer."""

NUMBER = 8
"""How many bytes the number of an answer takes."""

SET_PIPE_SIZE = 1031
"""``F_SETPIPE_SZ`` of Linux; the module `fcntl` of older Pythons does not have the name."""


class DaskActor:
    """An agent, whose stdin and stdout are the link to its driver.

    If the driver is gone, Dask drops this object.  That closes the stdin of the agent, and the
    agent ends all that it has started.  A call that waits keeps the object alive, so no call waits
    for output longer than `poll` seconds.

    Args:
        argv: the command line of the agent; an empty first word means the Python of the worker.
        poll: how many seconds a call waits for output.
    """

    def __init__(self, argv: list[str], poll: float) -> None:
        self._process = subprocess.Popen(
            [argv[0] or sys.executable, *argv[1:]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        threading.Thread(target=self._process.wait, daemon=True).start()  # Reaps the agent.
        files = self._process.stdin, self._process.stdout, self._process.stderr
        self._in, self._out, self._err = (file for file in files if file is not None)
        for file in (self._in, self._out, self._err):
            os.set_blocking(file.fileno(), False)
            _enlarge(file.fileno())
        self._poll = poll
        self._turn = asyncio.Lock()
        self._count = 0

    def __del__(self) -> None:
        self.close()

    async def push(self, data: bytes) -> None:
        """Write all of `data` to the agent.

        Raises:
            BrokenPipeError: the agent has ended.
        """
        rest = memoryview(data)
        loop = asyncio.get_running_loop()
        while rest:
            fd = self._in.fileno()
            try:
                rest = rest[os.write(fd, rest) :]
            except BlockingIOError:
                await _wait_until(fd, loop.add_writer, loop.remove_writer)

    async def pull(self) -> bytearray:
        """Return a number, big-endian in `NUMBER` bytes, and after it the next output of the agent.

        The numbers count from 0.  They give the order, because several calls may run at the same
        time, and their answers may overtake each other.  At the end of the output, the answer is a
        number alone.  If no output came for `poll` seconds, the answer is empty.
        """
        async with self._turn:
            # One buffer saves a copy: Dask sends a bytearray as it is.
            buffer = bytearray(NUMBER + CHUNK)
            count = await self._read_into(memoryview(buffer)[NUMBER:])
            if count is None:
                return bytearray()
            buffer[:NUMBER] = self._count.to_bytes(NUMBER, "big")
            self._count += 1
        del buffer[NUMBER + count :]
        return buffer

    async def _read_into(self, buffer: memoryview) -> int | None:
        fd, loop = self._out.fileno(), asyncio.get_running_loop()
        with buffer:
            try:
                return os.readv(fd, [buffer])
            except BlockingIOError:
                is_ready = _wait_until(fd, loop.add_reader, loop.remove_reader)
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(is_ready, self._poll)
                return os.readv(fd, [buffer])
        return None

    async def said(self) -> bytes:
        """Return what the agent has written to its stderr, at most 64 KiB."""
        with suppress(BlockingIOError):
            return os.read(self._err.fileno(), 65536)
        return b""

    async def end(self) -> None:
        """Close the stdin of the agent, which ends the agent and all that it has started."""
        self.close()

    def close(self) -> None:
        """Close the stdin of the agent."""
        self._in.close()


async def _wait_until(fd: int, add: Callable[..., object], remove: Callable[[int], object]) -> None:
    """Wait until the event loop reports that a file is ready."""
    is_ready = asyncio.Event()
    add(fd, is_ready.set)
    try:
        await is_ready.wait()
    finally:
        remove(fd)


def _enlarge(fd: int) -> None:
    with suppress(OSError):  # The system is not Linux, or has a lower limit.
        fcntl.fcntl(fd, SET_PIPE_SIZE, CHUNK)
