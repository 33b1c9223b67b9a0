"""What is looked after while a process runs: that it gets ready, stays alive, and keeps its time.

Only commands that ask for it have a `HealthCheck`, as a task beside those that read their output.
It ends nothing itself: it tells its attempt what is wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from currant._process.launcher import Launcher, PortOwner, Process
from currant._values.command import Command
from currant._values.errors import CurrantError, NotReadyError, TimeLimitError, UnresponsiveError
from currant._values.probe import ALIVE_INTERVAL, LineProbe, Probe, ProbeCommand

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.abc import ByteReceiveStream

    from currant._channel.output import Output
    from currant._values.exit import Exit

__all__ = ["HealthCheck", "has_checks", "name_of_probes"]


def has_checks(command: Command) -> bool:
    """Tell whether there is anything to look after."""
    return not (command.ready is None and command.alive is None and command.timeout is None)


def name_of_probes(name: str) -> str:
    """Return the name under which the probes of a command run other commands."""
    return f"{name}:probe"


class HealthCheck:
    """Looks after one process; a `ProbeTarget` to the probes.

    Args:
        command: the command that it runs.
        process: the process.
        launcher: starts what a probe runs.
        output: the process's output.
        on_ready: is called once it is ready, with the seconds that took.
        on_fault: is called with what is wrong; then the process is to be stopped, and has failed.
    """

    def __init__(
        self,
        command: Command,
        process: Process,
        launcher: Launcher,
        output: Output,
        on_ready: Callable[[float], None],
        on_fault: Callable[[CurrantError], None],
    ) -> None:
        self._command = command
        self._name = str(command.name)
        self._process = process
        self._launcher = launcher
        self._output = output
        self._on_ready = on_ready
        self._on_fault = on_fault

    async def watch(self) -> None:
        """Look after the process until something is wrong or nothing is left to look after.

        Cancellation: ends it; to be cancelled when the process has ended or is being stopped.
        """
        async with anyio.create_task_group() as tasks:
            if self._command.timeout is not None:
                tasks.start_soon(self._limit, self._command.timeout)
            if self._command.ready is not None and not await self._becomes_ready(
                self._command.ready
            ):
                return
            if self._command.alive is not None:
                await self._stays_alive(self._command.alive)

    async def _limit(self, seconds: float) -> None:
        await anyio.sleep(seconds)
        self._on_fault(TimeLimitError(self._name, seconds))

    async def _becomes_ready(self, probe: Probe) -> bool:
        began = anyio.current_time()
        problem = await probe.wait_until_met(self)
        after = anyio.current_time() - began
        if problem is None:
            self._on_ready(after)
            return True
        reason = f"its probe was not met within {after:.2f} s ({_said(problem)})"
        error = NotReadyError(self._name, reason, self._output.tail)
        error.__cause__ = problem
        self._on_fault(error)
        return False

    async def _stays_alive(self, probe: Probe) -> None:
        failures = 0
        while True:
            await anyio.sleep(ALIVE_INTERVAL if probe.interval is None else probe.interval)
            problem = await probe.check_once(self)
            failures = 0 if problem is None else failures + 1
            if problem is not None and failures == self._command.failure_threshold:
                error = UnresponsiveError(self._name, failures, _said(problem))
                error.__cause__ = problem
                self._on_fault(error)
                return

    async def line(self, probe: LineProbe) -> None:
        """Wait until a line has come that `probe` seeks."""
        await self._output.line(probe)

    async def run(self, command: ProbeCommand) -> Exit:
        """Run a command where the process runs, with its variables, and return how that ended."""
        own = self._command
        beside = Command(
            command.argv,
            name=name_of_probes(self._name),
            cwd=own.cwd if command.cwd is None else command.cwd,
            env={**own.env, **command.env},
            inherit_env=own.inherit_env,
            stderr="stdout",
            grace=0.0,
        )
        process = await self._launcher.launch(beside)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_drain, process.stdout)
                await process.wait()
                tasks.cancel_scope.cancel()  # a stranger may hold the pipe
            return await process.wait()
        finally:
            await process.aclose()

    async def listens(self, address: str, port: int) -> bool | None:
        """Tell whether the process listens there; None where that cannot be told."""
        if isinstance(self._process, PortOwner):
            return await self._process.listens(address, port)
        return None


async def _drain(output: ByteReceiveStream | None) -> None:
    """Read all, so that the writer never waits."""
    if output is not None:
        async for _ in output:
            pass


def _said(problem: Exception) -> str:
    return str(problem) or type(problem).__name__
