"""The objects that all jobs of a Runner share, and those that all attempts of a life share."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from anyio.lowlevel import checkpoint, checkpoint_if_cancelled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from currant._channel.channel import Channel
    from currant._channel.discard import Discard
    from currant._channel.transcript import Transcript
    from currant._process.launcher import Launcher
    from currant._synchronization import ChildBarrier, HomeLoop, KillBarrier, Notifier
    from currant._values.messages import BatchMessage
    from currant._values.policies import Policies
    from currant._values.shutdown_limits import ShutdownLimits

__all__ = ["JobContext", "RunnerContext"]


def _do_nothing(_: str) -> None:
    """Take no notice: no other command refers to the command."""


async def _no_dependents(_: str) -> None:
    """Wait for no other command: none depends on the command."""
    await checkpoint()


class RunnerContext(NamedTuple):
    """The objects that the jobs of one Runner share.

    The defaults are for commands that do not depend on one another.

    Attributes:
        launcher: starts the processes.
        channel: takes the messages.
        barrier: the Runner's kill barrier.
        home: the event loop of the Runner.
        limits: how long each step of a shutdown may take.
        take_turn: waits for a turn to start a process.  Each start blocks the event loop for a
            third of a millisecond.
        withdraw: ends the command of that name at once, if the command still waits to begin.
        run_again: begins another life of the command of that name, which has ended.
        wait_for_dependents: waits until no process runs of the commands that need the command of
            that name.
    """

    launcher: Launcher
    channel: Channel | Discard
    barrier: KillBarrier
    home: HomeLoop
    limits: ShutdownLimits
    take_turn: Callable[[], Awaitable[None]] = checkpoint_if_cancelled
    withdraw: Callable[[str], None] = _do_nothing
    run_again: Callable[[str], None] = _do_nothing
    wait_for_dependents: Callable[[str], Awaitable[None]] = _no_dependents


class JobContext(NamedTuple):
    """The objects that the attempts of one life of a job share.

    Attributes:
        runner: shared with the other jobs.
        barrier: the kill barrier of the life, which the Runner's barrier throws too.
        change: is notified when something about the command has changed.
        policies: how the command is treated.
        transcript: takes the output.
    """

    runner: RunnerContext
    barrier: ChildBarrier
    change: Notifier
    policies: Policies
    transcript: Transcript

    @property
    def launcher(self) -> Launcher:
        """Starts the processes."""
        return self.runner.launcher

    @property
    def limits(self) -> ShutdownLimits:
        """How long each step of a shutdown may take."""
        return self.runner.limits

    async def send(self, message: BatchMessage) -> None:
        """Send a message to all readers and sinks; wait for room."""
        await self.runner.channel.send(message)

    def send_nowait(self, message: BatchMessage) -> bool:
        """Send a message if there is room, and return whether there is."""
        return self.runner.channel.send_nowait(message)
