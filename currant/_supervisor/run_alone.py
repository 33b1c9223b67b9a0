"""`run_alone`: the life of one command, in the task of the caller.

A Runner has some ten tasks, for readers, sinks, dependencies and other commands.  `run_process`
needs none of them, so it costs little more than the process itself.  A cancellation of the
caller stops the process.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import anyio

from currant._channel.discard import Discard
from currant._process.launcher import Checker, limits_of
from currant._supervisor.context import RunnerContext
from currant._supervisor.failure import unwrapped
from currant._supervisor.lifecycle import Lifecycle
from currant._supervisor.sweep import end_escapees_of
from currant._synchronization import HomeLoop, KillBarrier, keep_interrupts_out
from currant._values.emptied_files import empties_files
from currant._values.errors import HostLostError, LaunchError

if TYPE_CHECKING:
    from currant._process.launcher import Launcher
    from currant._values.command import Command
    from currant._values.policies import Policies
    from currant._values.results import Result

__all__ = ["run_alone"]


async def run_alone(command: Command, policies: Policies, launcher: Launcher) -> Result:
    """Run `command` until it ends and does not restart, and return the result.

    Cancellation: stops the command, with its grace.  The cancellation continues when no process is
    left, a few seconds after the grace at most.  A second Ctrl-C skips the rest of the grace.

    Args:
        command: the command, which waits for no other command.
        policies: how to treat the command.
        launcher: starts the process; entered and left here.

    Raises:
        CommandNotFoundError: the command could not be started, since a file is missing.
    """
    keep_interrupts_out(run_alone)
    life = Lifecycle(command, policies, _context(launcher))
    try:
        async with launcher:
            may_go_on = False
            try:
                # Before a start that empties a file, or is repeated for ever.  For all others,
                # a look after the failure is enough.
                if policies.restart.when != "never" or empties_files(command, policies.capture):
                    await _check(life, launcher)
                await life.run()
                if isinstance(life.attempt.outcome.error, LaunchError):
                    await _check(life, launcher)
                may_go_on = True
            finally:
                with anyio.CancelScope(shield=True):  # Bounded: by the grace, and limits.reap.
                    await _end_escapees(life, may_go_on=may_go_on)
    except BaseException as error:
        first = unwrapped(error)
        if first is error:
            raise
        raise first from first.__cause__
    assert life.result is not None
    return life.result


async def _check(life: Lifecycle, launcher: Launcher) -> None:
    """Look for a missing file: a more exact error than that of the start, and it comes sooner."""
    if isinstance(launcher, Checker):
        with suppress(HostLostError):  # The start has told that.
            await launcher.check([life.to_launch])


async def _end_escapees(life: Lifecycle, *, may_go_on: bool) -> None:
    """End the escapees of the command.

    Cancellation: if `may_go_on`, goes on when they have ended; see `Attempt._stop_and_drain`.
    """
    launcher, grace = life.context.runner.launcher, life.attempt.grace_of_escapees
    try:
        await end_escapees_of(life.command, launcher, grace)
    except BaseException as error:  # a cancellation, or on trio Ctrl-C
        if may_go_on and not isinstance(error, Exception):
            await end_escapees_of(life.command, launcher, grace)
        raise


def _context(launcher: Launcher) -> RunnerContext:
    """Return a context without other commands, readers or sinks."""
    return RunnerContext(
        launcher=launcher,
        channel=Discard(),
        barrier=KillBarrier(),
        home=HomeLoop(),
        limits=limits_of(launcher),
    )
