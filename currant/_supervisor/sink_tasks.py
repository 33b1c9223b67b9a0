"""The tasks of the sinks.  Each sink runs in a task, with a subscription of its own.

A sink starts when all commands are registered, and runs until it returns.  If the block is left
early, sinks have a limited time.  A sink that raises stops all commands, and the exception leaves
the block.
"""

from __future__ import annotations

from collections.abc import Iterable
from inspect import isasyncgenfunction, isawaitable, isbuiltin, isgeneratorfunction
from math import inf
from typing import TYPE_CHECKING, TypeAlias, cast

import anyio

from currant._values.errors import CommandError, CurrantError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from anyio.abc import ObjectReceiveStream, TaskGroup

    from currant._channel.channel import Channel
    from currant._channel.feed import SinkFeed
    from currant._supervisor.failure import Failure
    from currant._values.messages import BatchMessage
    from currant._values.shutdown_limits import ShutdownLimits

__all__ = ["Sink", "SinkTasks", "checked_sinks"]

Sink: TypeAlias = "Callable[[ObjectReceiveStream[BatchMessage]], Awaitable[None]]"
"""An async callable that takes all messages from its stream until the stream ends."""


def checked_sinks(sinks: Iterable[Sink]) -> tuple[Sink, ...]:
    """Return the sinks of a Runner, after a check.

    Raises:
        CommandError: one of them is no async callable.
    """
    if not isinstance(cast("object", sinks), Iterable):
        raise CommandError(f"sinks must be a list of async callables, not {sinks!r}")
    checked = tuple(sinks)
    for number, sink in enumerate(checked):
        what = f"sinks[{number}]"
        if isinstance(sink, type):
            name = sink.__name__
            raise CommandError(f"{what} is the class {name}; did you forget the '()' of {name}()?")
        if not callable(sink) or isbuiltin(sink) or isgeneratorfunction(sink):
            raise CommandError(f"{what}: a sink must be an async callable, not {sink!r}")
        if isasyncgenfunction(sink):
            raise CommandError(f"{what}: a sink must not 'yield', as {sink!r} does")
    return checked


class SinkTasks:
    """Runs the sinks of one Runner.

    Args:
        sinks: the sinks.
        failure: records the exceptions of sinks.
        limits: `limits.sinks` is the least time of a sink if the block is left early.
    """

    def __init__(self, sinks: Sequence[Sink], failure: Failure, limits: ShutdownLimits) -> None:
        self._sinks = sinks
        self._failure = failure
        self._least_time = limits.sinks
        self._released = anyio.Event()
        self._scopes: list[anyio.CancelScope] = []
        self._deadline = inf

    def start(self, channel: Channel, tasks: TaskGroup) -> None:
        """Subscribe each sink to the channel, and start a task that waits for `release`."""
        for sink in self._sinks:
            tasks.start_soon(self._run, sink, channel.subscribe())

    def release(self) -> None:
        """Let the sinks begin: the Runner is complete."""
        self._released.set()

    def limit(self, grace: float) -> None:
        """Cancel the sinks in a while: after the commands have stopped, and as long again.

        Args:
            grace: how long the commands may take to stop, in seconds.
        """
        deadline = anyio.current_time() + 2 * grace + self._least_time
        self._deadline = min(self._deadline, deadline)
        for scope in self._scopes:
            scope.deadline = self._deadline

    def hurry(self) -> None:
        """Shorten the time of `limit`, if there is one, because the commands stop at once."""
        if self._deadline < inf:
            self.limit(0.0)

    async def _run(self, sink: Sink, feed: SinkFeed) -> None:
        try:
            with anyio.CancelScope(deadline=self._deadline) as scope:
                self._scopes.append(scope)
                await self._released.wait()
                await _called(sink, feed)
        except anyio.get_cancelled_exc_class() as error:
            if anyio.current_effective_deadline() == -inf:
                raise
            # The sink awaited something that was cancelled.  Passed on, this exception would cancel
            # the tasks of the commands.
            problem = CurrantError(
                f"the sink {sink!r} ended by a cancellation that was not its own"
            )
            problem.__cause__ = error
            self._failure.note(problem)
        except BaseException as error:  # KeyboardInterrupt too; the block raises it again
            self._failure.note(error)
        finally:
            feed.close()


def _called(sink: Sink, feed: SinkFeed) -> Awaitable[None]:
    work: object = sink(feed)
    if not isawaitable(work):
        raise CommandError(
            f"the sink {sink!r} returned {work!r}; a sink must be an async callable, which takes "
            "messages until the stream ends"
        )
    return work
