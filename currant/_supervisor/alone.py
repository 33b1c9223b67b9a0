"""`run_alone`: the life of one command, without the tasks of a Runner.

A Runner has some ten tasks, for readers, sinks, dependencies and other commands.  A call that waits
for a single process needs one: a shielded task lives the life of the command, and the task of the
caller waits.  So a cancellation of the caller becomes a kill, as in a Runner.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import anyio
from anyio.lowlevel import checkpoint

from currant._channel.discard import Discard
from currant._process.launcher import limits_of
from currant._supervisor.context import RunnerContext
from currant._supervisor.failure import unwrapped
from currant._supervisor.lifecycle import Lifecycle
from currant._supervisor.sweep import end_escapees_of
from currant._synchronization import HomeLoop, KillBarrier

if TYPE_CHECKING:
    from currant._process.launcher import Launcher
    from currant._values.command import Command
    from currant._values.policies import Policies
    from currant._values.results import Result

__all__ = ["run_alone"]


async def run_alone(command: Command, policies: Policies, launcher: Launcher) -> Result:
    """Run `command` until it ends and does not restart, and return the result.

    Cancellation: a kill.  The cancellation goes on when no process is left: after the grace and a
    few seconds at most.  A second Ctrl-C skips the rest of the grace.

    Args:
        command: the command, which waits for no other command.
        policies: how to treat the command.
        launcher: starts the process; entered and left here.
    """
    life = Lifecycle(command, policies, _context(launcher))
    over = anyio.Event()
    errors: list[BaseException] = []
    has_begun = False
    stopped_at: float | None = None

    async def live() -> None:
        nonlocal has_begun
        has_begun = True
        try:
            # Bounded, once the barrier is thrown: by the grace and limits.reap.
            with anyio.CancelScope(shield=True):
                async with launcher:
                    await life.run()
                    await end_escapees_of(command, launcher, escapee_grace())
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as error:  # of the launcher, or Ctrl-C on trio
            errors.append(unwrapped(error))
        finally:
            over.set()

    def escapee_grace() -> float:
        """Return what is left of the grace after a stop; without a stop, escapees have all."""
        if stopped_at is None:
            return inf
        left = stopped_at + policies.grace - anyio.current_time()
        return max(left, life.context.limits.escapee_grace)

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(live, name=f"currant {command.name}")
            # The end of an event loop may cancel the task before its first step.
            while not over.is_set() and (has_begun or not errors):
                try:
                    with anyio.CancelScope(shield=bool(errors)):
                        await over.wait()
                except BaseException as error:  # a cancellation, or Ctrl-C on trio
                    errors.append(error)
                    stopped_at = stopped_at or anyio.current_time()
                    life.stop_soon(f"the call was left by {type(error).__name__}")
    finally:  # This error replaces the error that the task group raised.
        if errors:
            try:
                raise errors[0]
            finally:
                errors.clear()  # The errors refer to this frame.
    assert life.result is not None
    return life.result


def _context(launcher: Launcher) -> RunnerContext:
    """Return a context without other commands, readers or sinks."""
    return RunnerContext(
        launcher=launcher,
        channel=Discard(),
        barrier=KillBarrier(),
        home=HomeLoop(),
        limits=limits_of(launcher),
        starting=anyio.Lock(fast_acquire=True),
        withdraw=_do_nothing,
        run_again=_do_nothing,
        wait_for_dependents=_no_dependents,
    )


def _do_nothing(_: str) -> None:
    """Take no notice: nothing else refers to the command."""


async def _no_dependents(_: str) -> None:
    await checkpoint()
