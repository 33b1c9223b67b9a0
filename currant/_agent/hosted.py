"""`Hosted`: one process on the host, and the tasks that report its output and its exit."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from dataclasses import replace
from math import inf
from signal import SIGKILL
from typing import TYPE_CHECKING, Any

import anyio

from currant._agent.frames import MAX_OUTPUT, Kind
from currant._agent.spec import encode_exit, encode_usage
from currant._values.errors import CannotStopError
from currant._values.shutdown_limits import ShutdownLimits

if TYPE_CHECKING:
    from anyio.abc import ByteReceiveStream

    from currant._agent.link import Link
    from currant._process.local_process import LocalProcess
    from currant._values.exit import Exit
    from currant._values.launch_spec import LaunchSpec

__all__ = ["Hosted"]


class Hosted:
    """A process that the agent runs for a driver.

    Args:
        number: the number of the process in frames.
        process: the process.
        spec: the spec of its command.
        link: the link to the driver.
        window: the credit of each output stream at first, in bytes.

    Attributes:
        process: as given.
        name: the name of its command.
        grace: the grace of its command, in seconds.
        is_orphaned: whether the driver is gone; then output is read and dropped.
        is_dying: whether the agent got a signal that ends it.  Unless the driver has asked for a
            stop, the exit is then reported as if nothing had stopped the command.
    """

    def __init__(
        self, number: int, process: LocalProcess, spec: LaunchSpec, link: Link, window: int
    ) -> None:
        self.process = process
        self.name: str = spec.name
        self.grace: float = ShutdownLimits().grace if spec.grace is None else spec.grace
        self.is_orphaned = False
        self.is_dying = False
        self._number = number
        self._spec = spec
        self._link = link
        self._credit = [float(window), float(window)]
        self._has_credit = [anyio.Event(), anyio.Event()]
        self._input: deque[bytes | None] = deque()  # None is the end of the input
        self._has_input = anyio.Event()
        self._scope = anyio.CancelScope()
        self._has_exited = False
        self._is_asked = False  # by the driver, to stop before the exit
        self._is_closing = False
        self._drained = anyio.Event()

    async def run(self) -> None:
        """Report output and exit to the driver, until the process is closed."""
        with self._scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._watch)
                if self.process.stdin is not None:
                    tasks.start_soon(self._write_input)
                await self._read_all()

    # ---- output ----

    def add_credit(self, stream: int, count: float) -> None:
        """Let `count` more bytes of a stream, 0 or 1, be sent."""
        self._credit[stream] += count
        self._has_credit[stream].set()

    def close_output(self, stream: int) -> None:
        """Close a stream, so that a process that writes there gets SIGPIPE."""
        output = (self.process.stdout, self.process.stderr)[stream]
        if output is not None:
            output.close()
        self.add_credit(stream, inf)  # so that no task waits for the driver

    async def drained(self) -> None:
        """Wait until all output was sent."""
        await self._drained.wait()

    async def _read_all(self) -> None:
        try:
            async with anyio.create_task_group() as tasks:
                if self.process.stderr is not None:
                    tasks.start_soon(self._read, 1, self.process.stderr)
                if self.process.stdout is not None:
                    await self._read(0, self.process.stdout)
        finally:
            self._drained.set()

    async def _read(self, stream: int, output: ByteReceiveStream) -> None:
        kind = (Kind.OUT, Kind.ERR)[stream]
        try:
            while True:
                await self._wait_for_credit(stream)
                data = await output.receive(int(min(self._credit[stream], MAX_OUTPUT)))
                self._credit[stream] -= len(data)
                if not self.is_orphaned:
                    self._link.send_bulk(kind, self._number, data)
        except (anyio.EndOfStream, anyio.ClosedResourceError):
            self._link.send_bulk(Kind.EOF, self._number, bytes([stream]))

    async def _wait_for_credit(self, stream: int) -> None:
        while self._credit[stream] < 1:
            self._has_credit[stream] = anyio.Event()
            await self._has_credit[stream].wait()
        await self._link.wait_for_room()

    # ---- input ----

    def write(self, data: bytes) -> None:
        """Queue `data` for the stdin."""
        self._input.append(data)
        self._has_input.set()

    def end_input(self) -> None:
        """Close the stdin: a terminal after all queued input, a pipe at once.

        A pipe must not wait, because a process may hold it open and never read it.
        """
        self._input.append(None)
        self._has_input.set()
        if self.process.stdin is not None and not self._spec.pty:
            self.process.stdin.close()

    async def _write_input(self) -> None:
        stdin = self.process.stdin
        assert stdin is not None
        while True:
            while self._input:
                data = self._input.popleft()
                if data is None:
                    await stdin.aclose()
                    continue
                with suppress(anyio.ClosedResourceError):  # The driver closed the stdin.
                    try:
                        await stdin.send(data)
                    except anyio.BrokenResourceError:
                        self._link.send(Kind.UNREAD, self._number)
                    else:
                        self._link.send(Kind.TAKEN, self._number, {"count": len(data)})
            self._has_input = anyio.Event()
            await self._has_input.wait()

    # ---- the end ----

    async def stop(self, signal: int, grace: float) -> dict[str, Any]:
        """Stop the process, as the driver has asked; return its exit."""
        self._is_asked = self._is_asked or not self._has_exited
        return {"exit": self._encode(await self.process.stop(signal, grace))}

    async def stop_as_told(self) -> None:
        """Stop the process with the stop signal and the grace of its command."""
        with suppress(CannotStopError):
            await self.process.stop(self._spec.stop_signal, self.grace)

    def orphan(self) -> None:
        """Note that the driver is gone: drop the output, so that no pipe blocks the process."""
        self.is_orphaned = True
        self.add_credit(0, inf)
        self.add_credit(1, inf)

    async def close(self) -> None:
        """Kill the process if it is alive, release all resources, and send CLOSED."""
        if self._is_closing:
            return
        self._is_closing = True
        await self.process.aclose()
        end: Exit | None = None
        with suppress(anyio.ClosedResourceError):  # The process outlived SIGKILL.
            end = await self.process.wait()
        self._scope.cancel()
        self._link.send(Kind.CLOSED, self._number, self._report(end))

    async def _watch(self) -> None:
        """Send EXIT when the leader has exited, with whether the whole group is gone."""
        try:
            end = await self.process.wait()
        except anyio.ClosedResourceError:  # `close` sends the exit.
            return
        self._has_exited = True
        is_gone = await self._is_gone()
        self._link.send(Kind.EXIT, self._number, self._report(end) | {"gone": is_gone})

    async def _is_gone(self) -> bool:
        """Return whether the group is empty; if so, let the output end soon, as a stop would.

        Then the driver need not ask for a stop, nor wait for CLOSED, which saves two round trips.
        """
        if self._spec.leftovers == "leave" or await self.process.send_signal(0):
            return False
        try:
            await self.process.stop(SIGKILL, 0)
        except CannotStopError:  # Its members belong to another user.
            return False
        return True

    def _report(self, end: Exit | None) -> dict[str, Any]:
        """Return the body of EXIT or CLOSED."""
        return {
            "exit": None if end is None else self._encode(end),
            "usage": encode_usage(self.process.usage),
            "interrupted": self.is_interrupted,
        }

    @property
    def is_interrupted(self) -> bool:
        """Whether the end of the process may be due to the end of the agent alone."""
        return self.is_dying and not self._is_asked

    def _encode(self, end: Exit) -> dict[str, Any]:
        return encode_exit(
            replace(end, stopped=False, forced=False) if self.is_interrupted else end
        )
