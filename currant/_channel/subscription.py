"""One bounded memory object stream of messages, as each reader or sink has one."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from bisect import insort
from collections import deque
from contextlib import suppress
from dataclasses import replace
from math import inf
from operator import itemgetter
from typing import TypeAlias

import anyio

from currant._synchronization import Notifier
from currant._values.lines import Batch, end_of_lines
from currant._values.messages import BatchMessage, Dropped

__all__ = ["AT_ONCE", "LOOK_AGAIN", "Place", "Subscription"]

KEPT = 10_000
"""Most messages other than output that an abandoned subscription keeps: a few megabytes."""

LOOK_AGAIN = 1.0
"""Seconds after which those who wait for a reader look whether its task has ended meanwhile."""

SMALL = 4 * 1024
"""Most bytes of a batch that need not wait behind the large ones of other commands."""

OVERTAKERS = 16
"""How many small batches do not wait behind the same large one."""

AT_ONCE = 64 * 1024
"""Bytes whose lines are read in one go: between them, other tasks have their turn."""

Place: TypeAlias = tuple[int, int]
"""Where a message belongs among others: how many were taken before it, and bytes of its batch."""


class Subscription(ABC):
    """One bounded memory object stream of messages, with what was set aside before it."""

    most_bytes = inf
    """Bytes of output that are held before a further large batch has to wait."""

    def __init__(self, buffer_size: int) -> None:
        stream = anyio.create_memory_object_stream[BatchMessage](buffer_size)
        self._send, self._receive = stream
        self._blocked: deque[tuple[anyio.Event, BatchMessage]] = deque()
        self._bytes = 0
        self._overtakers = 0
        self._kept: deque[tuple[Place, BatchMessage]] = deque()  # taken from the stream, in order
        self._taken = 0
        self._dropped: dict[str, int] = {}
        self._change = Notifier()

    @property
    @abstractmethod
    def abandoned(self) -> bool:
        """Whether nobody will make room here, so that a sender must not wait for it."""

    @property
    @abstractmethod
    def settled(self) -> bool:
        """Whether those who read have had all there is."""

    @property
    def unread(self) -> bool:
        """Whether there is anything to take."""
        return bool(self._kept or self._dropped or self._receive.statistics().current_buffer_used)

    async def put(self, message: BatchMessage) -> None:
        """Add `message`; where there is no room, wait for a reader, or discard if there is none."""
        # No `send`, which yields before it looks for room: a subscription that was abandoned just
        # then would leave the sender waiting (test_a_reader_whose_task_is_cancelled_...).
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):  # the sink has left
            try:
                if self._blocked:
                    self._overtake(message)
                self._pass(message)
            except anyio.WouldBlock:
                passed_on = anyio.Event()
                self._blocked.append((passed_on, message))
                self._discard_if_abandoned()
                try:
                    while not passed_on.is_set():
                        with anyio.move_on_after(LOOK_AGAIN):
                            await passed_on.wait()
                        self._discard_if_abandoned()
                finally:
                    if not passed_on.is_set():  # the sender was cancelled
                        self._blocked.remove((passed_on, message))
        self.wake()

    def take(self) -> BatchMessage:
        """Return the oldest message.

        Raises:
            anyio.WouldBlock: there is none.
            anyio.EndOfStream: there is none, and none will come.
        """
        return self.take_part(inf)[1]

    def take_part(self, most: float) -> tuple[Place, BatchMessage]:
        """Return the oldest message and its place; of a batch of more bytes the first lines.

        Raises:
            anyio.WouldBlock: there is none.
            anyio.EndOfStream: there is none, and none will come.
        """
        if self._kept:
            place, message = self._take_kept()
        elif self._dropped:
            place, message = (self._taken, 0), self._take_dropped(next(iter(self._dropped)))
        else:
            place, message = self._take_from_stream()
        if isinstance(message, Batch) and len(message.data) > most:
            message, rest = _cut(message)
            if rest is not None:
                self.put_back((place[0], place[1] + len(message.data)), rest)
        self._pass_blocked()
        self.wake()
        return place, message

    def reconsider(self) -> None:
        """Look again whether the subscription is abandoned: somebody came or went."""
        self._discard_if_abandoned()
        self.wake()

    def wake(self) -> None:
        """Have all look again who wait for a change."""
        self._change.notify_all()

    async def changed(self) -> None:
        """Wait until something was put, taken or closed, or somebody began or ceased to read."""
        await self._change.wait()

    def close(self) -> None:
        """Nothing more will be put."""
        self._send.close()
        self.wake()

    def put_back(self, place: Place, batch: Batch) -> None:
        """Have `batch` be taken again, in its place among others that were given back."""
        insort(self._kept, (place, batch), key=itemgetter(0))
        self._bytes += len(batch.data)

    def _pass(self, message: BatchMessage) -> None:
        """Put `message` into the stream; raises `anyio.WouldBlock` where it has to wait."""
        size = _size(message)
        if size > SMALL and self._bytes and self._bytes + size > self.most_bytes:
            raise anyio.WouldBlock
        self._send.send_nowait(message)
        self._bytes += size

    def _overtake(self, message: BatchMessage) -> None:
        """Let `message` pass those that wait; raises `anyio.WouldBlock` where it may not."""
        waits_itself = any(other.command == message.command for _, other in self._blocked)
        if waits_itself or _size(message) > SMALL or self._overtakers == OVERTAKERS:
            raise anyio.WouldBlock
        self._overtakers += 1

    def _take_from_stream(self) -> tuple[Place, BatchMessage]:
        message = self._receive.receive_nowait()
        self._bytes -= _size(message)
        self._taken += 1
        return (self._taken, 0), message

    def _take_kept(self) -> tuple[Place, BatchMessage]:
        place, message = self._kept.popleft()
        self._bytes -= _size(message)
        return place, message

    def _pass_blocked(self) -> None:
        with suppress(anyio.WouldBlock):
            while self._blocked:
                passed_on, waiting = self._blocked[0]
                self._pass(waiting)
                self._blocked.popleft()
                self._overtakers = 0
                passed_on.set()

    def _discard_if_abandoned(self) -> None:
        while self._blocked and self.abandoned:
            # What was put back is the oldest.
            put_back = self._kept and isinstance(self._kept[0][1], Batch)
            self._set_aside(*(self._take_kept() if put_back else self._take_from_stream()))
            self._pass_blocked()

    def _set_aside(self, place: Place, oldest: BatchMessage) -> None:
        """Count `oldest` as discarded if it is output; otherwise keep it, it is small."""
        if isinstance(oldest, Batch):
            self._dropped[oldest.command] = self._dropped.get(oldest.command, 0) + oldest.count()
            return
        if oldest.command in self._dropped:
            self._kept.append((place, self._take_dropped(oldest.command)))
        self._kept.append((place, oldest))
        while len(self._kept) > KEPT:
            match self._take_kept():
                case _, Dropped(command=command, lines=lines):
                    self._dropped[command] = self._dropped.get(command, 0) + lines
                case where, Batch() as batch:
                    self._set_aside(where, batch)
                case _:
                    pass

    def _take_dropped(self, command: str) -> Dropped:
        return Dropped(command, self._dropped.pop(command), time.time())


def _size(message: BatchMessage) -> int:
    return len(message.data) if isinstance(message, Batch) else 0


def _cut(batch: Batch) -> tuple[Batch, Batch | None]:
    """Return the first of a batch's lines, as many as one takes in one go, and the other ones."""
    end = end_of_lines(batch.data[:AT_ONCE])
    if not end:
        return batch, None
    return replace(batch, data=batch.data[:end]), replace(batch, data=batch.data[end:])
