"""`StopCommand`: the command that asks a process to stop, before any signal does.

The command and the exit that follows it have half of the grace.  So the signal has the other half,
whatever the command does: a command that hangs is killed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import anyio

from currant._supervisor.side_commands import command_beside, name_of_stop, run_beside
from currant._values.errors import HostLostError, LaunchError

if TYPE_CHECKING:
    from currant._process.launcher import Launcher, Process
    from currant._values.command import Command

__all__ = ["StopCommand"]

PID = "CURRANT_PID"
"""The variable with the pid of the process that the command stops."""


class StopCommand:
    """The `stop_command` of one attempt, which runs once.

    Args:
        command: the command that it stops.
        launcher: starts it.

    Attributes:
        has_run: whether it was run, so that an exit after that is a stop.
    """

    __slots__ = ("_command", "_ended", "_launcher", "_scope", "has_run")

    def __init__(self, command: Command, launcher: Launcher) -> None:
        self.has_run: bool = False
        self._command = command
        self._launcher = launcher
        self._ended: anyio.Event | None = None
        self._scope: anyio.CancelScope | None = None

    async def run(self, process: Process, seconds: float) -> None:
        """Run the stop command, and wait for the exit of the process if it succeeds.

        If it has been run, only wait until that is over: no signal may come earlier.
        Cancellation: kills the stop command.

        Args:
            process: the process, which has not exited.
            seconds: how long all of this may take.
        """
        if self._ended is not None:
            await self._ended.wait()
            return
        if self._command.stop_command is None or seconds <= 0:
            return
        self._ended, self.has_run = anyio.Event(), True
        try:
            with anyio.move_on_after(seconds) as self._scope:
                if await self._succeeds(process, self._command.stop_command):
                    await process.wait()
        finally:
            self._ended.set()

    def cut_short(self) -> None:
        """Kill the stop command, and wait no longer."""
        if self._scope is not None:
            self._scope.cancel()

    async def _succeeds(self, process: Process, given: Command) -> bool:
        own = self._command
        command = command_beside(own, given, name_of_stop(own.name))
        command = replace(command, env={**command.env, PID: str(process.pid)})
        try:
            end = await run_beside(command, process, self._launcher)
        except (LaunchError, HostLostError):
            return False
        return end.code in given.success_codes
