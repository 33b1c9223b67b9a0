"""The part that runs in a worker of Dask: starts an agent, and passes its bytes on.

It is sent to the worker by value, because currant may not be installed there; so it needs the
standard library alone.  A worker serves calls to an actor on its own asyncio loop.
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
"""The capacity of the pipes, if the system allows it, and the most bytes of one answer."""

NUMBER = 8
"""The bytes of a number."""

SET_PIPE_SIZE = 1031
"""``F_SETPIPE_SZ`` of Linux, which older Pythons have no name for."""


class DaskActor:
    """An agent, whose stdin and stdout are its link to the driver.

    If the driver is gone, Dask drops this object; then the stdin of the agent ends, and so does
    all that the agent has started.  A call that waits for output keeps the object alive, so it
    waits for `poll` seconds at most.

    Args:
        argv: the command line of the agent; its first word is replaced by the worker's Python if it
            is empty.
        poll: see above.
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
        threading.Thread(target=self._process.wait, daemon=True).start()  # It reaps the agent.
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
        """Return the next bytes of the agent, behind their number in `NUMBER` bytes.

        The numbers count from 0, since several calls may be under way, and their answers may
        overtake each other.  At the end only the number comes, and nothing if there was nothing
        for `poll` seconds.
        """
        async with self._turn:
            # One buffer, without a copy: Dask passes on a bytearray as it is.
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
        """Return what the agent has written to its stderr."""
        with suppress(BlockingIOError):
            return os.read(self._err.fileno(), 65536)
        return b""

    async def end(self) -> None:
        """Let the agent end, with all that it has started."""
        self.close()

    def close(self) -> None:
        """Close the stdin of the agent."""
        self._in.close()


async def _wait_until(fd: int, add: Callable[..., object], remove: Callable[[int], object]) -> None:
    """Wait until the loop calls back that a file is ready."""
    is_ready = asyncio.Event()
    add(fd, is_ready.set)
    try:
        await is_ready.wait()
    finally:
        remove(fd)


def _enlarge(fd: int) -> None:
    with suppress(OSError):  # Another system than Linux, or a limit.
        fcntl.fcntl(fd, SET_PIPE_SIZE, CHUNK)
