"""The tasks of the sinks: each sink runs in a task, over a subscription of its own.

A sink starts when all commands are known, and runs until it returns.  When the block is left early
it has a limited time.  A sink that raises stops everything; its exception leaves the block.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, TypeAlias

import anyio

from currant._values.errors import CurrantError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from anyio.abc import ObjectReceiveStream, TaskGroup

    from currant._channel.channel import Channel
    from currant._channel.feed import SinkFeed
    from currant._supervisor.failure import Failure
    from currant._values.messages import BatchMessage

__all__ = ["Sink", "SinkTasks"]

Sink: TypeAlias = "Callable[[ObjectReceiveStream[BatchMessage]], Awaitable[None]]"
"""An async callable that takes all messages from its stream until the stream ends."""


class SinkTasks:
    """Runs the sinks of one Runner.

    Args:
        sinks: what to run.
        failure: learns of the exceptions of sinks.
    """

    def __init__(self, sinks: Sequence[Sink], failure: Failure) -> None:
        self._sinks = sinks
        self._failure = failure
        self._released = anyio.Event()
        self._scopes: list[anyio.CancelScope] = []
        self._deadline = inf

    def start(self, channel: Channel, tasks: TaskGroup) -> None:
        """Subscribe each sink to the channel, and start its task, which waits for `release`."""
        for sink in self._sinks:
            tasks.start_soon(self._run, sink, channel.subscribe())

    def release(self) -> None:
        """Let the sinks begin: the Runner is complete."""
        self._released.set()

    def limit(self, seconds: float) -> None:
        """Cancel the sinks that still run in `seconds`."""
        self._deadline = anyio.current_time() + seconds
        for scope in self._scopes:
            scope.deadline = self._deadline

    async def _run(self, sink: Sink, feed: SinkFeed) -> None:
        try:
            with anyio.CancelScope(deadline=self._deadline) as scope:
                self._scopes.append(scope)
                await self._released.wait()
                await sink(feed)
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
            feed.leave()
