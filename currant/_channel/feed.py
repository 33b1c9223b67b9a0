"""The stream of a sink: its own subscription."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import anyio
from anyio import TypedAttributeSet, typed_attribute
from anyio.abc import ObjectReceiveStream
from anyio.lowlevel import checkpoint

from currant._channel.subscription import Subscription
from currant._values.messages import BatchMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from currant._channel.waiters import Waiters
    from currant._values.command import Command

__all__ = ["SinkAttribute", "SinkFeed"]


class SinkAttribute(TypedAttributeSet):
    """What a sink can ask its stream for with ``messages.extra(...)``, beside the messages.

    Attributes:
        commands: the Runner's commands by name, in the order given; it grows as more are started.
    """

    commands: Mapping[str, Command] = typed_attribute()


class SinkFeed(Subscription, ObjectReceiveStream[BatchMessage]):
    """The subscription of one sink, which is the stream that the sink is called with."""

    def __init__(self, waiters: Waiters, commands: Mapping[str, Command], buffer_size: int) -> None:
        super().__init__(buffer_size)
        self._waiters = waiters
        self._commands = commands
        self._task: int | None = None
        self._idle = False
        self._left = False

    @property
    def abandoned(self) -> bool:
        """Whether the sink itself waits for the commands; else it reads until it leaves."""
        return self._task is not None and self._task in self._waiters

    @property
    def settled(self) -> bool:
        """Whether the sink has come back for more with nothing left, has ended, or waits itself."""
        return self._left or self.abandoned or (self._idle and not self.unread)

    async def receive(self) -> BatchMessage:
        """Return the next message; ends when the Runner does."""
        self._task = anyio.get_current_task().id
        await checkpoint()
        while True:
            try:
                return self.take()
            except anyio.WouldBlock:
                self._idle = True
                self.wake()
            try:
                await self.changed()
            finally:
                self._idle = False

    def receive_nowait(self) -> BatchMessage:
        """Return the next message where there is one, as a memory object stream does.

        Raises:
            anyio.WouldBlock: there is none.
            anyio.EndOfStream: there is none, and none will come.
        """
        return self.take()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """What ``messages.extra(SinkAttribute.…)`` tells."""
        return {cast("Any", SinkAttribute.commands): lambda: self._commands}

    def leave(self) -> None:
        """Take nothing more, so that nobody waits for this sink any longer."""
        self._left = True
        self._receive.close()
        self._send.close()
        for passed_on, _ in self._blocked:
            passed_on.set()
        self._blocked.clear()
        self.wake()

    async def aclose(self) -> None:
        """Leave the stream before its end."""
        self.leave()
        await checkpoint()
