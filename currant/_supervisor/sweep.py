"""The final sweep: end the escapees of commands that are gone.

The escapees of a running command are left alone, so most escapees are ended after all commands.
But one slow command must not use up the grace of other commands' escapees.  So after a kill, the
escapees of commands that are gone are asked to stop at half of the grace.  A second kill hurries.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, cast

import anyio

from currant._process.launcher import Sweeper
from currant._supervisor.health import has_checks
from currant._supervisor.side_commands import name_of_probes, name_of_stop
from currant._values.errors import CannotStopError

if TYPE_CHECKING:
    from collections.abc import Callable

    from currant._process.launcher import Launcher
    from currant._supervisor.failure import Failure
    from currant._synchronization import KillBarrier, Notifier
    from currant._values.command import Command
    from currant._values.shutdown_limits import ShutdownLimits

__all__ = ["FinalSweep", "end_escapees_of"]

INTERVAL = 1.0
"""Seconds between two sweeps while commands go on to end."""


async def end_escapees_of(command: Command, launcher: Launcher, grace: float) -> None:
    """End the escapees of one command, and of the commands that ran beside it.

    Cancellation: the escapees have been asked to stop.

    Raises:
        CannotStopError: a process survived SIGKILL.
    """
    # An isinstance of a protocol takes 5 to 15 µs.
    if getattr(launcher, "sweep", None) is not None:
        sweeper = cast("Sweeper", launcher)
        await sweeper.sweep(command.name, grace)
        if has_checks(command):
            await sweeper.sweep(name_of_probes(command.name), grace)
        if command.stop_command is not None:
            await sweeper.sweep(name_of_stop(command.name), grace)


class FinalSweep:
    """Ends escapees, after a kill within the grace of that kill.

    Args:
        launcher: finds the escapees, if the launcher is a `Sweeper`.
        failure: records escapees that cannot be stopped.
        limits: `limits.escapee_grace` is the least grace of escapees.
    """

    def __init__(self, launcher: Launcher, failure: Failure, limits: ShutdownLimits) -> None:
        self._launcher = launcher
        self._failure = failure
        self._least_grace = limits.escapee_grace
        self._deadline = inf
        self._hurried = anyio.Event()

    @property
    def is_hurried(self) -> bool:
        """Whether a second kill has cut the grace short."""
        return self._hurried.is_set()

    def hurry(self) -> None:
        """Cut the grace short, also for a sweep that is under way."""
        self._hurried.set()

    async def each_second(self, some_ended: Notifier) -> None:
        """Sweep in the second after commands have ended, so that little is left for the end.

        For a supervisor of any number of commands: a launcher remembers a command until a sweep.
        Cancellation: harmless.
        """
        while True:
            await some_ended.wait()
            await anyio.sleep(INTERVAL)
            await self.run()

    async def after_kill(self, barrier: KillBarrier, grace: Callable[[], float]) -> None:
        """Wait for a kill; then sweep at half of the grace, and again after a second kill.

        Args:
            barrier: is thrown by the kill.
            grace: returns the seconds that the commands have to stop.

        Cancellation: harmless; call `run` after it.
        """
        await barrier.wait()
        seconds = grace()
        self._deadline = anyio.current_time() + seconds
        async with anyio.create_task_group() as sweeping:
            sweeping.start_soon(self._run_after, seconds / 2)
            await self._hurried.wait()
            sweeping.cancel_scope.cancel()
        await self.run()

    async def run(self) -> None:
        """End the escapees of the commands that are gone."""
        if not isinstance(self._launcher, Sweeper):
            return
        left = max(self._deadline - anyio.current_time(), self._least_grace)
        try:
            await self._launcher.sweep(None, 0 if self.is_hurried else left)
        except CannotStopError as error:
            self._failure.note(error)

    async def _run_after(self, seconds: float) -> None:
        await anyio.sleep(seconds)
        await self.run()
