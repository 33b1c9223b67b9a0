"""The bounded channel from the commands to their readers, which cannot deadlock.

Every message goes to each `Subscription`: all iterators over the Runner share a subscription, and
each sink has its own.  A subscription is an anyio memory object stream of whole-line batches, so a
slow reader slows the commands (backpressure).  A memory stream alone would deadlock if a task
waited for the commands while no reader took their output.  So a subscription knows its readers, and
the channel knows which tasks wait.  If a task waits and no reader is present, the subscription is
*abandoned*: output that does not fit is discarded, oldest first, and counted.  The same happens if
the readers' subscription is full for some time and there is no reader at all, unless the Runner
was told to wait for one.

If there are sinks, only the sinks and the readers that are present count: an iteration that was
never begun, or that was left, does not hold up the sinks.

Rejected: `MemoryObjectReceiveStream.receive`, which hands a message to a sleeping reader.  A native
`asyncio.Task.cancel` between the hand-over and the wake-up loses that message.  Here a reader is
only woken, and takes the message in the same step in which it returns the message.
"""

from __future__ import annotations

from contextlib import contextmanager
from math import inf
from typing import TYPE_CHECKING

import anyio

from currant._channel.feed import SinkFeed, SinkSubscription
from currant._channel.readers import Readers
from currant._channel.subscription import RECHECK_INTERVAL
from currant._channel.transcript import Transcript
from currant._channel.waiters import Waiters
from currant._synchronization import HomeLoop, Notifier

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from currant._channel.subscription import Subscription
    from currant._values.command import Command
    from currant._values.messages import BatchMessage

__all__ = ["Channel"]

MAX_ENDED = 64 * 1024 * 1024
"""Bytes of memory that the output of ended commands may take, all together.

So about 950 commands that write 64 KiB each are kept whole.
"""

TRANSCRIPT_SIZE = 1024
"""Bytes that the transcript of a command takes without any output."""


class Channel:
    """Hands every message to every subscription, and knows which tasks wait for the commands.

    Args:
        buffer_size: how many messages each subscription holds.
        commands: all commands by name, for the sinks; may grow.
        for_sinks_only: whether the Runner is never iterated over, so that no messages are kept for
            readers.
        unread_timeout: seconds for which a full channel waits for a reader if there is none at all.
        on_unread: is called with the name of the command for each batch that is discarded after
            that time.
        home: the event loop of the readers and sinks; None: the loop of the first.
        max_ended: bytes of output that are kept of commands that have ended; None: `MAX_ENDED`.
        in_slots: see `SinkAttribute`.

    Attributes:
        commands: as given.
        readers: the subscription that all iterators over the Runner share.
    """

    def __init__(
        self,
        buffer_size: int,
        commands: Mapping[str, Command] | None = None,
        *,
        for_sinks_only: bool = False,
        unread_timeout: float = inf,
        on_unread: Callable[[str], None] = lambda _: None,
        home: HomeLoop | None = None,
        max_ended: int | None = None,
        in_slots: bool = False,
    ) -> None:
        self.commands: Mapping[str, Command] = {} if commands is None else commands
        self._for_sinks_only = for_sinks_only
        self._in_slots = in_slots
        self._buffer_size = buffer_size
        self._home = HomeLoop() if home is None else home
        self._producers = 0
        self._last_producer_left = Notifier()
        self._waiters = Waiters()
        self._unread_timeout = unread_timeout
        self._ended: dict[Transcript, int] = {}  # the sizes, of the oldest first
        self._ended_size = 0
        self._max_ended = MAX_ENDED if max_ended is None else max_ended
        self._sinks: list[SinkSubscription] = []
        self.readers: Readers = Readers(
            self._waiters,
            buffer_size,
            lambda: self._producers,
            lambda: bool(self._sinks),
            unread_timeout,
            on_unread,
            self._home,
        )

    @property
    def is_producing(self) -> bool:
        """Whether a command may still send a message."""
        return self._producers > 0

    def subscribe(self) -> SinkFeed:
        """Make a subscription for a sink and return its stream, which the caller must close."""
        subscription = SinkSubscription(self._waiters, self._buffer_size, self._home)
        self._sinks.append(subscription)
        return SinkFeed(subscription, self.commands, in_slots=self._in_slots)

    def new_transcript(self, command: str, may_go_on: Callable[[], bool]) -> Transcript:
        """Return the transcript of a life of `command`, which keeps the rules of this channel."""
        return Transcript(command, self._waiters, self.waiting, self._unread_timeout, may_go_on)

    def end_transcript(self, transcript: Transcript) -> None:
        """End the transcript of a life; of many that have ended, keep the last."""
        transcript.end()
        self._ended[transcript] = size = TRANSCRIPT_SIZE + transcript.size
        self._ended_size += size
        while self._ended_size > self._max_ended:
            self.forget_transcript(next(iter(self._ended)))

    def forget_transcript(self, transcript: Transcript) -> None:
        """Keep the output of a life that has ended no longer."""
        self._ended_size -= self._ended.pop(transcript, 0)
        transcript.forget()

    def limit_readers(self, seconds: float) -> None:
        """Let each reader of a transcript take only so long for each step: the block is left."""
        self._waiters.limit_readers(seconds)

    def add_producer(self) -> None:
        """Announce a command; loops over the Runner go on until the command is removed."""
        self._producers += 1

    def remove_producer(self) -> None:
        """Remove a command; if it was the last, loops over the Runner end."""
        self._producers -= 1
        if not self._producers:
            self.readers.wake()
            self._last_producer_left.notify_all()

    async def ended(self) -> None:
        """Wait until no command may send any more messages."""
        await self._last_producer_left.wait_for(lambda: not self.is_producing)

    async def send(self, message: BatchMessage) -> None:
        """Hand `message` to each subscription in turn; wait if it is full and not abandoned."""
        for subscription in self._takers:
            await subscription.put(message)

    def send_nowait(self, message: BatchMessage) -> bool:
        """Hand `message` to each subscription, if all have room now; return whether they have."""
        takers = self._takers
        if not all(taker.accepts(message) for taker in takers):
            return False
        for taker in takers:
            taker.put_nowait(message)
        return True

    @property
    def _takers(self) -> Sequence[Subscription]:
        """The subscriptions that get every message."""
        return self._sinks if self._for_sinks_only else (*self._sinks, self.readers)

    @contextmanager
    def waiting(self) -> Generator[None]:
        """Mark the current task as waiting for the commands, and so not reading."""
        self.begin_to_wait()
        try:
            yield
        finally:
            self._waiters.remove_current_task()

    def begin_to_wait(self) -> None:
        """Mark the current task as waiting: for good, or until the end of `waiting`."""
        self._waiters.add_current_task()
        for subscription in (self.readers, *self._sinks):
            subscription.recheck()

    def abandon(self) -> None:
        """Never again wait for an iteration over the Runner."""
        self._waiters.ignore_all_readers()
        self.readers.recheck()

    async def settled(self) -> None:
        """Wait until every reader and every sink has dealt with its messages."""
        for subscription in (self.readers, *self._sinks):
            while not subscription.is_settled:
                with anyio.move_on_after(RECHECK_INTERVAL):
                    await subscription.changed()

    def close(self) -> None:
        """Accept no more messages; readers and sinks end after the messages already here."""
        for subscription in (self.readers, *self._sinks):
            subscription.close()
