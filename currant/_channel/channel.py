"""The bounded channel from the commands to their readers, and the rule that nobody waits in vain.

Every message goes to each `Subscription`: one for those who iterate over the Runner, and one for
each sink.  A subscription is an anyio memory object stream of whole-line batches, so a reader that
is slow slows the commands (backpressure).  What a memory stream alone gets wrong is the reader that
is not there: who waits for the commands to end, while nobody takes their output, would wait for
ever.  So a subscription knows who reads it, and which tasks wait.  While nobody reads and somebody
waits it is *abandoned*: what does not fit is discarded, oldest output first, and counted.

Who reads?  What ``async for`` holds is a reader from its first step until it ends or is dropped, as
`break` drops it, except while its own task waits for the commands, and after that has ended.
Where there are sinks, they are where output goes: iteration that nobody has begun, or that was
left, does not hold them up.

Rejected: `MemoryObjectReceiveStream.receive`, which hands a message to a sleeping reader.  A native
`asyncio.Task.cancel` between the hand-over and the wake-up loses it.  Here a reader is woken only,
and takes the message in the step in which it returns it.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio
from anyio.lowlevel import checkpoint

from currant._channel.feed import SinkFeed
from currant._channel.readers import Readers
from currant._channel.subscription import LOOK_AGAIN
from currant._channel.waiters import Waiters
from currant._synchronization import Notifier
from currant._values.lines import Batch

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from currant._values.command import Command
    from currant._values.messages import BatchMessage

__all__ = ["Channel"]


class Channel:
    """Hands every message to every subscription, and knows which tasks wait for the commands.

    Args:
        buffer_size: how many messages each subscription holds.
        commands: all commands by name, those to come among them as far as they are known.
        for_sinks_only: whether nobody will ever iterate, so that nothing is kept for that.

    Attributes:
        commands: as given.
        readers: the subscription of those who iterate over the Runner.
    """

    def __init__(
        self,
        buffer_size: int,
        commands: Mapping[str, Command] | None = None,
        *,
        for_sinks_only: bool = False,
    ) -> None:
        self.commands: Mapping[str, Command] = {} if commands is None else commands
        self._for_sinks_only = for_sinks_only
        self._buffer_size = buffer_size
        self._producers = 0
        self._last_producer_left = Notifier()
        self._waiters = Waiters()
        self._feeds: list[SinkFeed] = []
        self.readers: Readers = Readers(
            self._waiters, buffer_size, lambda: self.producing, lambda: bool(self._feeds)
        )

    @property
    def producing(self) -> bool:
        """Whether a command may still send something."""
        return self._producers > 0

    def subscribe(self) -> SinkFeed:
        """Make a subscription for a sink."""
        feed = SinkFeed(self._waiters, self.commands, self._buffer_size)
        self._feeds.append(feed)
        return feed

    def add_producer(self) -> None:
        """Announce a command: until it is removed, readers do not come to an end."""
        self._producers += 1

    def remove_producer(self) -> None:
        """Take the announcement back; with the last one, readers come to an end."""
        self._producers -= 1
        if not self._producers:
            self.readers.wake()
            self._last_producer_left.notify_all()

    async def ended(self) -> None:
        """Wait until no command may send anything any more."""
        await self._last_producer_left.wait_for(lambda: not self.producing)

    async def send(self, message: BatchMessage) -> None:
        """Hand `message` to all in turn; wait for each that is full and not abandoned."""
        if isinstance(message, Batch):
            await checkpoint()  # output may come without end: others have their turn
        for feed in self._feeds:
            await feed.put(message)
        if not self._for_sinks_only:
            await self.readers.put(message)

    @contextmanager
    def waiting(self) -> Generator[None]:
        """Mark the current task as one that waits for the commands, and so does not read."""
        self.begin_to_wait()
        try:
            yield
        finally:
            self._waiters.remove_current_task()

    def begin_to_wait(self) -> None:
        """Mark the current task as one that waits for good: it is leaving the block."""
        self._waiters.add_current_task()
        for subscription in (self.readers, *self._feeds):
            subscription.reconsider()

    def abandon(self) -> None:
        """Let nothing wait for those who iterate any longer."""
        self.readers.give_up()

    async def settled(self) -> None:
        """Wait until every reader has had its messages and every sink has dealt with its own."""
        for subscription in (self.readers, *self._feeds):
            while not subscription.settled:
                with anyio.move_on_after(LOOK_AGAIN):
                    await subscription.changed()

    def close(self) -> None:
        """Nothing more will be sent: readers and sinks come to an end after what is left."""
        self.readers.close()
        for feed in self._feeds:
            feed.close()
