"""The stream that a sink is called with, and the subscription behind that stream.

A sink sees a plain `ObjectReceiveStream`.  The machinery of the channel is in a second object, and
no public name of the stream leads there.

A sink is *settled* if all its work is done: it asks for the next message and there is none.  `join`
waits for that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import anyio
from anyio import TypedAttributeSet, typed_attribute
from anyio.abc import ObjectReceiveStream
from anyio.lowlevel import checkpoint

from currant._channel.buffer import Buffer
from currant._channel.subscription import Subscription
from currant._values.messages import BatchMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from currant._channel.waiters import Waiters
    from currant._synchronization import HomeLoop
    from currant._values.command import Command

__all__ = ["SinkAttribute", "SinkFeed", "SinkSubscription"]


class SinkAttribute(TypedAttributeSet):
    """The extra attributes of a sink's stream, for ``messages.extra(...)``.

    Attributes:
        commands: the Runner's commands by name, in the order given; grows as more are started.
            Those of a `currant.map` are there while they run.
        in_slots: True for `currant.map`: its commands take turns in a few slots, and there may be
            any number of them; False for a Runner.
    """

    commands: Mapping[str, Command] = typed_attribute()
    in_slots: bool = typed_attribute()


class SinkFeed(ObjectReceiveStream[BatchMessage]):
    """The messages of a Runner, as a sink receives them."""

    def __init__(
        self,
        subscription: SinkSubscription,
        commands: Mapping[str, Command],
        *,
        in_slots: bool = False,
    ) -> None:
        self._subscription = subscription
        self._commands = commands
        self._in_slots = in_slots

    async def receive(self) -> BatchMessage:
        """Wait for the next message and return that message.

        Raises:
            anyio.EndOfStream: the Runner has ended, and every message was received.
            anyio.ClosedResourceError: the stream was closed here.
            WrongLoopError: the call came from another event loop or thread.

        Cancellation: no message is lost.
        """
        return await self._subscription.receive()

    def receive_nowait(self) -> BatchMessage:
        """Return the next message without waiting, as a memory object stream does.

        Raises:
            anyio.WouldBlock: there is no message now.
            anyio.EndOfStream: the Runner has ended, and every message was received.
            anyio.ClosedResourceError: the stream was closed here.
            WrongLoopError: as for `receive`.
        """
        return self._subscription.receive_nowait()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """The values of `SinkAttribute`, for ``messages.extra(...)``."""
        return {
            cast("Any", SinkAttribute.commands): lambda: self._commands,
            cast("Any", SinkAttribute.in_slots): lambda: self._in_slots,
        }

    def close(self) -> None:
        """Receive no more messages, so that the commands no longer wait for this sink."""
        self._subscription.leave()

    async def aclose(self) -> None:
        """Do the same as `close`."""
        self.close()
        await checkpoint()


class SinkSubscription(Subscription):
    """The subscription of a sink."""

    def __init__(self, waiters: Waiters, buffer_size: int, home: HomeLoop) -> None:
        super().__init__(Buffer(buffer_size))
        self._home = home
        self._waiters = waiters
        self._task: int | None = None  # the id of the task that received last
        self._idle_tasks = 0  # the tasks that ask for the next message
        self._has_left = False

    @property
    def is_abandoned(self) -> bool:
        """Whether the sink itself waits for the commands; otherwise the sink reads on."""
        return self._task is not None and self._task in self._waiters

    @property
    def is_settled(self) -> bool:
        """Whether the sink asks for more and there is nothing, has left, or waits itself."""
        return (
            self._has_left or self.is_abandoned or (self._idle_tasks > 0 and not self.has_messages)
        )

    async def receive(self) -> BatchMessage:
        """Wait for the next message; raise the errors of `SinkFeed.receive`."""
        self._home.check_thread("receive")
        self._task = anyio.get_current_task().id
        await checkpoint()
        if not (self.has_messages or self._is_closed):
            await self._wait_for_message()
        return self._next()

    def receive_nowait(self) -> BatchMessage:
        """Return the next message; raise the errors of `SinkFeed.receive_nowait`."""
        self._home.check_thread("receive_nowait")
        return self._next()

    def _next(self) -> BatchMessage:
        if self._has_left:
            raise anyio.ClosedResourceError
        if self.has_messages:
            _, message = self.take()
            return message
        raise anyio.EndOfStream if self._is_closed else anyio.WouldBlock

    async def _wait_for_message(self) -> None:
        self._idle_tasks += 1
        # Once, not for each turn of the loop: two idle tasks would wake one another without end.
        self.wake()
        try:
            while not (self.has_messages or self._is_closed):
                await self.changed()
        finally:
            self._idle_tasks -= 1

    def leave(self) -> None:
        """Take no more messages; any thread may call this."""
        self._has_left = True
        self._home.call_in_task(self.close)
