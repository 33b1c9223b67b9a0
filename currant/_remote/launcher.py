"""`RemoteLauncher`: starts processes on another host, through an agent there."""

from __future__ import annotations

import json
import time
from contextlib import asynccontextmanager, suppress
from functools import partial
from math import inf
from typing import TYPE_CHECKING

import anyio

from currant._agent.frames import MAX_BODY, Kind
from currant._agent.spec import decode_finding, encode_spec
from currant._remote.connection import Connection, Heartbeat
from currant._remote.words import plain
from currant._synchronization import task_group_beside
from currant._values.errors import (
    CommandError,
    CommandNotFoundError,
    HostLostError,
    LaunchError,
)
from currant._values.launch_spec import check_portable
from currant._values.messages import HostLost, HostUp
from currant._values.shutdown_limits import ShutdownLimits

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
    from typing import Self

    from currant._process.launcher import Process
    from currant._remote.process import RemoteProcess
    from currant._remote.transport import Transport
    from currant._values.errors import CurrantError
    from currant._values.launch_spec import LaunchSpec
    from currant._values.messages import HostMessage

__all__ = ["RemoteLauncher"]


FRAMING = 1000
"""More bytes than a START frame has besides the spec of its command."""


class RemoteLauncher(anyio.AsyncContextManagerMixin):
    """Starts processes on another host.

    On entry, the launcher connects, and sends an agent that runs a `LocalLauncher` on the host.  If
    the host is lost, the agent ends all processes by itself, and waiting for a process raises
    `HostLostError`.

    Args:
        host: the name of the host, for errors and as `Process.host`.
        transport: carries the bytes to the host.
        heartbeat: how soon driver and agent notice each other's silence.
        orphan_guard: whether a helper process on the host ends the processes if the agent is
            killed.
        replaces: the `identity` of an earlier connection that was lost.  Its agent may be frozen,
            and then cannot end its processes.  So the new agent kills that agent first, and the
            guard of that agent ends the processes.
        on_change: as for `Connection`.

    Attributes:
        limits: how long each step of ending a process may take.
        connection: the connection to the agent, from the entry on.
        longest_grace: the longest grace of all commands until now, in seconds.

    Raises:
        HostUnreachableError: on entry, no agent could be started.
    """

    def __init__(
        self,
        host: str,
        transport: Transport,
        *,
        heartbeat: Heartbeat | None = None,
        orphan_guard: bool = True,
        replaces: str | None = None,
        on_change: Callable[[], None] | None = None,
    ) -> None:
        self.limits: ShutdownLimits = ShutdownLimits()
        self.longest_grace: float = 0.0
        self.connection: Connection
        self._new_connection = partial(
            Connection,
            host,
            transport,
            heartbeat or Heartbeat(),
            has_guard=orphan_guard,
            replaces=replaces,
            on_change=on_change,
        )

    @property
    def is_lost(self) -> bool:
        """Whether the host is lost; then the exits of its processes may never be known."""
        return self.connection.peer.lost is not None

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        self.connection = self._new_connection()  # A Runner may be entered again after a refusal.
        async with task_group_beside() as tasks:
            try:
                await self.connection.open(tasks)
                yield self
            finally:
                with anyio.CancelScope(shield=True):  # Bounded: by the agent, and the heartbeat.
                    await self.connection.close()

    async def check(self, commands: Sequence[LaunchSpec]) -> None:
        """Look up on the host what commands need; see `Checker.check`.

        Cancellation: harmless.

        Raises:
            CommandNotFoundError: a file is missing on the host, or cannot be used.
            CommandError: the host has no such user or group, or cannot set a limit; or the command
                has an open file of this program, which cannot be sent.
            HostLostError: the host is lost.
        """
        for error in await self.errors_of(commands):
            if error is not None:
                raise error

    async def errors_of(self, commands: Sequence[LaunchSpec]) -> Sequence[CurrantError | None]:
        """Return, for each command, the error with which `check` refuses the command, or None.

        Cancellation: harmless.
        """
        errors: list[CurrantError | None] = [None] * len(commands)

        async def look_up(number: int) -> None:
            errors[number] = await self._error_of(commands[number])

        async with anyio.create_task_group() as tasks:  # All questions at the same time.
            for number, command in enumerate(commands):
                if (problem := _problem_with_sending(command)) is not None:
                    errors[number] = CommandError(f"command {command.name!r}: {problem}")
                else:
                    tasks.start_soon(look_up, number)
        return errors

    async def _error_of(self, command: LaunchSpec) -> CurrantError | None:
        """Return why the host cannot start a command; None if it can."""
        peer = self.connection.peer
        try:
            with peer.expecting():
                body = {"spec": encode_spec(command)}
                kind, problem = await peer.ask(Kind.CHECK, 0, body, decode_finding)
        except HostLostError as error:
            return error
        reason = f"on {peer.host}: {plain(problem)}"
        if kind == "missing":
            return CommandNotFoundError(command.name, reason)
        return CommandError(f"command {command.name!r}: {reason}") if kind == "wrong" else None

    async def launch(
        self,
        command: LaunchSpec,
        *,
        beside: Process | None = None,  # noqa: ARG002 - there is one host
    ) -> RemoteProcess:
        """Start `command` on the host and return once the program runs.

        Cancellation: nothing is left running; waits until the host has confirmed that.

        Raises:
            LaunchError: the command could not be started, or the host is lost; nothing is left.
        """
        if (problem := _problem_with_sending(command)) is not None:
            raise LaunchError(command.name, problem)
        grace = self.limits.grace if command.grace is None else command.grace
        self.longest_grace = max(self.longest_grace, grace)
        process = self.connection.start(command)
        try:
            await process.started.wait()
        except BaseException:
            process.send(Kind.CLOSE)
            await process.wait_closed()
            raise
        if process.failure is not None:
            is_dying = self.connection.is_dying  # Then the host counts as lost, too.
            lost = HostLostError(process.host, "its agent is about to end") if is_dying else None
            raise LaunchError(command.name, f"on {process.host}: {process.failure}") from lost
        if not process.pid:
            try:
                self.connection.peer.check()
            except HostLostError as lost:
                raise LaunchError(command.name, str(lost)) from lost
        return process

    async def hold(self) -> None:
        """Ask the agent to wait for this program, which will be suspended; see `Holder.hold`."""
        await self.connection.hold()

    async def watch(self, report: Callable[[HostMessage], Awaitable[None]]) -> None:
        """Report that the host is up, and later that it is lost; see `HostReporter.watch`."""
        await report(HostUp(self.connection.host, time.time()))
        error = await self.connection.lost()
        await report(HostLost(self.connection.host, error, time.time()))

    async def sweep(self, name: str | None = None, grace: float = inf) -> None:
        """End the escapees of a command, or of all; see `Sweeper.sweep`.

        If the host is lost, its agent ends the escapees by itself.
        Cancellation: the stop was requested; SIGKILL may or may not have been sent.

        Raises:
            CannotStopError: an escapee outlived SIGKILL for seconds.
        """
        peer, longest = self.connection.peer, min(grace, self.longest_grace)
        with suppress(HostLostError), peer.expecting(longest):
            await peer.ask(Kind.SWEEP, 0, {"name": name, "grace": grace}, bool)


def _problem_with_sending(command: LaunchSpec) -> str | None:
    try:
        check_portable(command)
    except CommandError as error:
        return str(error)
    for stream in ("stdout", "stderr"):
        if getattr(command, stream) == "inherit":
            return f"its {stream} cannot be 'inherit' on another host; let currant read it"
    # Encoding takes time, so only a long command is encoded: a character takes 6 bytes at most.
    words = [*command.argv, *command.env, *command.env.values()]
    is_long = 6 * sum(map(len, map(str, words))) > MAX_BODY // 2
    if is_long and len(json.dumps(encode_spec(command))) > MAX_BODY - FRAMING:
        return "its arguments and environment are longer than any system allows"
    return None
