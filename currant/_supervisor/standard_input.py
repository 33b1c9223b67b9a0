"""`StandardInput`: the stdin of one attempt.

Three things close a pipe that we write to: `Job.close_stdin`, the normal end of the block, and a
stop.  A stop closes the pipe first, and waits a little before the first signal, because many
programs exit at end-of-file.  The Model Context Protocol wants its servers shut down in this order
(https://modelcontextprotocol.io/specification/2025-06-18/basic/lifecycle#shutdown).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from currant._synchronization import start_task
from currant._values.command import PIPE

if TYPE_CHECKING:
    from anyio.abc import ByteSendStream, TaskGroup

    from currant._process.launcher import Process
    from currant._values.command import Command

__all__ = ["StandardInput"]


class StandardInput:
    """The stdin of one attempt: nothing, bytes, or a pipe that stays open until currant closes it.

    A terminal is no pipe: a stop leaves it alone.

    Args:
        command: the command, for its `stdin` and `pty`.

    Attributes:
        is_pipe: whether the stdin is such a pipe.
        closed_by_stop: whether a stop has closed the pipe.
    """

    __slots__ = ("_is_open", "_source", "_stopping", "closed_by_stop", "is_pipe")

    def __init__(self, command: Command) -> None:
        self._source = command.stdin
        self.is_pipe: bool = command.stdin == PIPE and not command.pty
        self._is_open = self.is_pipe
        self.closed_by_stop: bool = False
        self._stopping: anyio.Event | None = None  # set when a stop has waited for the exit

    @property
    def was_closed(self) -> bool:
        """Whether the program has closed the pipe, by a call or by leaving the block."""
        return self.is_pipe and not self._is_open and not self.closed_by_stop

    def start(self, process: Process, tasks: TaskGroup) -> None:
        """Write the bytes of the command, or close a pipe that was closed before the start."""
        if process.stdin is None:
            return
        if isinstance(self._source, bytes):
            start_task(tasks, _write, process.stdin, self._source)
        elif self.is_pipe and not self._is_open:
            tasks.start_soon(process.stdin.aclose)

    async def aclose(self, process: Process) -> None:
        """Close the input; a terminal gets the end-of-file character and stays open.

        Cancellation: the pipe may be open or closed.
        """
        self._is_open = False
        if process.stdin is not None:
            await process.stdin.aclose()

    def close_soon(self, process: Process | None, tasks: TaskGroup | None) -> None:
        """Close a pipe, and return at once; if there is no process yet, close it at the start."""
        if self._is_open:
            self._is_open = False
            if process is not None and tasks is not None and process.stdin is not None:
                tasks.start_soon(process.stdin.aclose)

    async def close_and_wait(self, process: Process, seconds: float) -> None:
        """Close a pipe that is still open, and wait up to `seconds` for the exit of the process.

        A second task only waits until that is over: no signal may come earlier.
        Cancellation: the pipe may be open or closed.
        """
        if self._stopping is not None:
            await self._stopping.wait()
        elif self._is_open:
            self._stopping, self.closed_by_stop = anyio.Event(), True
            try:
                with anyio.move_on_after(seconds):
                    await self.aclose(process)
                    await process.wait()
            finally:
                self._stopping.set()


async def _write(stdin: ByteSendStream, data: bytes) -> None:
    """Write `data` and end-of-file; a command need not read to the end."""
    try:
        await stdin.send(data)
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        pass
    finally:
        await stdin.aclose()
