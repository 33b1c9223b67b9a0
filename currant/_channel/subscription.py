"""A subscription to the channel: senders wait for room, or output is discarded.

Each sink has a subscription, and all iterators over a Runner share one.  A `Buffer` holds the
messages.  A sender waits if there is no room, so a slow reader slows the commands.  But if the
subscription is *abandoned* (no reader will make room), the sender discards the oldest output.

Senders are admitted in the order in which they came, with an exception: while a large batch waits,
a small batch of another command may enter first.  The buffer then puts it before the large batches
that it holds.  So a chatty command does not delay a quiet command.  A batch never overtakes output
of its own command.

Rejected: `MemoryObjectSendStream.send`, which yields before looking for room.  If the subscription
were abandoned during that yield, the sender would wait forever
(test_reader_whose_task_is_cancelled_does_not_block_join).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio

from currant._channel.fast_lane import MAX_OVERTAKES, SMALL_BATCH
from currant._synchronization import Notifier
from currant._values.lines import Batch
from currant._values.messages import size_of

if TYPE_CHECKING:
    from currant._channel.buffer import Buffer, Position
    from currant._values.messages import BatchMessage

__all__ = ["RECHECK_INTERVAL", "Subscription"]

RECHECK_INTERVAL = 1.0
"""Seconds after which a task that waits for a reader checks whether the reader's task has ended."""


@dataclass(slots=True, eq=False)
class _Sender:
    """A task in `Subscription.put` that waits for room."""

    message: BatchMessage
    released: anyio.Event = field(default_factory=anyio.Event)


class Subscription(ABC):
    """A buffer of messages, and the senders that wait for room in the buffer."""

    def __init__(self, buffer: Buffer) -> None:
        self._buffer = buffer
        self._waiting_senders: deque[_Sender] = deque()
        self._overtakes = 0
        self._is_closed = False
        self._change = Notifier()

    @property
    @abstractmethod
    def is_abandoned(self) -> bool:
        """Whether no reader will make room, so that a sender must not wait."""

    @property
    @abstractmethod
    def is_settled(self) -> bool:
        """Whether the readers have dealt with every message."""

    @property
    def has_messages(self) -> bool:
        """Whether there is a message to take."""
        return bool(self._buffer)

    async def put(self, message: BatchMessage) -> None:
        """Add `message`, or do nothing if the subscription is closed.

        If there is no room, wait until a reader makes room; if no reader will, discard output.
        """
        if not self.put_nowait(message):
            await self._wait_for_room(message)
            self.wake()

    def put_nowait(self, message: BatchMessage) -> bool:
        """Add `message` if that needs no wait, and return whether nothing is left to do."""
        if self._is_closed:
            return True
        if not self._may_enter(message):
            if not self._may_discard:
                return False
            while not self._buffer.has_room(message):
                self._discard_oldest()
        if self._waiting_senders:
            self._overtakes += 1
        self._buffer.append(message)
        self.wake()
        return True

    def accepts(self, message: BatchMessage) -> bool:
        """Return whether `put` would not wait."""
        return self._is_closed or self._may_enter(message) or self._may_discard

    def take(self) -> tuple[Position, BatchMessage]:
        """Remove and return the oldest message and its position; there must be a message."""
        position, message = self._buffer.take()
        if isinstance(message, Batch):  # What enters now must not overtake it.
            self._buffer.begin_reading(message)
            self._admit_senders()
            self._buffer.end_reading(message)
        else:
            self._admit_senders()
        self.wake()
        return position, message

    def take_overtaking(self) -> tuple[Position, Batch] | None:
        """Remove and return a small batch that has overtaken the others, if there is one."""
        taken = self._buffer.take_overtaking()
        if taken is not None:
            self._admit_senders()
            self.wake()
        return taken

    def recheck(self) -> None:
        """Check again whether the subscription is abandoned: a reader came or went."""
        self._discard_if_abandoned()
        self.wake()

    def wake(self) -> None:
        """Wake every task in `changed`."""
        self._change.notify_all()

    async def changed(self) -> None:
        """Wait until a message is put or taken, a reader comes or goes, or this is closed."""
        await self._change.wait()

    def close(self) -> None:
        """Accept no more messages; release the senders that still wait."""
        self._is_closed = True
        self._buffer.close()
        for sender in self._waiting_senders:
            sender.released.set()
        self._waiting_senders.clear()
        self.wake()

    def _may_enter(self, message: BatchMessage) -> bool:
        if not self._buffer.has_room(message):
            return False
        return not self._waiting_senders or self._may_overtake(message)

    @property
    def _may_discard(self) -> bool:
        """Whether a message that finds no room may enter at once, in the place of the oldest."""
        return not self._waiting_senders and self.is_abandoned

    def _may_overtake(self, message: BatchMessage) -> bool:
        return (
            self._overtakes < MAX_OVERTAKES
            and size_of(message) <= SMALL_BATCH
            and all(sender.message.command != message.command for sender in self._waiting_senders)
        )

    async def _wait_for_room(self, message: BatchMessage) -> None:
        sender = _Sender(message)
        self._waiting_senders.append(sender)
        try:
            self._discard_if_abandoned()
            while not sender.released.is_set():
                with anyio.CancelScope(deadline=self._next_check()):
                    await sender.released.wait()
                self._discard_if_abandoned()
        finally:
            if not sender.released.is_set():  # the task of the sender was cancelled
                self._waiting_senders.remove(sender)

    def _next_check(self) -> float:
        """Return when a waiting sender checks again whether the subscription is abandoned."""
        return anyio.current_time() + RECHECK_INTERVAL

    def _admit_senders(self) -> None:
        """Move messages of waiting senders into the buffer while there is room."""
        while self._waiting_senders and self._buffer.has_room(self._waiting_senders[0].message):
            sender = self._waiting_senders.popleft()
            self._buffer.append(sender.message)
            self._overtakes = 0
            sender.released.set()

    def _discard_if_abandoned(self) -> None:
        while self._waiting_senders and self.is_abandoned:
            self._discard_oldest()
            self._admit_senders()

    def _discard_oldest(self) -> None:
        self._buffer.discard_oldest()
