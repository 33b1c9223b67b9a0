"""The messages of a subscription, in order and within bounds.

New messages go into an anyio memory object stream, which bounds their number.  A second bound
limits their bytes.  In front of the stream is a deque of messages that were *set aside*: batches
that a reader returned, and events (all messages other than output) that were passed over to make
room.  Discarded lines are only counted; a `Dropped` message later reports the count.

This module only stores messages and never waits.  `Subscription` asks `has_room` before adding a
message and checks for emptiness before taking one, so the stream never raises `WouldBlock`.

Invariants: a reader takes the messages that were set aside first, then the counts, then the stream.
Set-aside messages are sorted by position.  Until the buffer is closed, batches among them are older
than any event, because an event is set aside only after all older messages were taken.
"""

from __future__ import annotations

import time
from bisect import insort
from collections import Counter, deque
from dataclasses import replace
from math import inf
from operator import itemgetter
from typing import TypeAlias

import anyio

from currant._values.lines import Batch, end_of_lines, line_length
from currant._values.messages import BatchMessage, Dropped, size_of

__all__ = ["SMALL_BATCH", "Buffer", "Position"]

MAX_EVENTS_KEPT = 10_000
"""How many messages are set aside at most while nothing reads: a few megabytes."""

SMALL_BATCH = 4 * 1024
"""Bytes up to which a batch ignores the byte bound, and may overtake large batches."""

Position: TypeAlias = tuple[int, int]
"""The place of a message in the order: messages taken so far, and offset in the batch."""


class Buffer:
    """A bounded memory object stream of messages, with the messages set aside in front of it.

    Args:
        max_messages: how many messages the stream holds.
        max_bytes: how many bytes of output to hold before a further large batch has no room.
    """

    def __init__(self, max_messages: int, max_bytes: float = inf) -> None:
        stream = anyio.create_memory_object_stream[BatchMessage](max_messages)
        self._send, self._receive = stream
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._in_stream = 0
        self._bytes = 0
        self._position = 0
        self._set_aside: deque[tuple[Position, BatchMessage]] = deque()
        self._dropped: Counter[str] = Counter()

    def __bool__(self) -> bool:
        """Return whether there is a message to take."""
        return bool(self._in_stream or self._set_aside or self._dropped)

    def has_room(self, message: BatchMessage) -> bool:
        """Return whether `message` fits now; an empty buffer accepts a batch of any size."""
        if self._in_stream >= self._max_messages:
            return False
        size = size_of(message)
        return size <= SMALL_BATCH or not self._bytes or self._bytes + size <= self._max_bytes

    def append(self, message: BatchMessage) -> None:
        """Add `message`; the caller has checked that there is room for it."""
        self._send.send_nowait(message)
        self._in_stream += 1
        self._bytes += size_of(message)

    def take(self, max_lines: int | None = None) -> tuple[Position, BatchMessage]:
        """Remove and return the oldest message and its position; there must be a message.

        Args:
            max_lines: take only about that many lines of a batch that has more.
        """
        if self._set_aside:
            position, message = self._set_aside.popleft()
        elif self._dropped:
            position, message = (self._position, 0), self._take_dropped(next(iter(self._dropped)))
        else:
            position, message = self._take_from_stream()
        if isinstance(message, Batch):
            self._bytes -= len(message.data)
            if max_lines is not None:
                message, rest = _cut(message, max_lines)
                if rest is not None:
                    self.unread((position[0], position[1] + len(message.data)), rest)
        return position, message

    def unread(self, position: Position, batch: Batch) -> None:
        """Return a `batch` that was taken but not used, to be taken again in order."""
        insort(self._set_aside, (position, batch), key=itemgetter(0))
        self._bytes += len(batch.data)

    def discard_oldest(self) -> BatchMessage:
        """Make room: count the oldest batch as dropped, or set the oldest event aside.

        Return that batch or event.
        """
        if self._set_aside and isinstance(self._set_aside[0][1], Batch):
            position, message = self._set_aside.popleft()
        else:
            position, message = self._take_from_stream()
        if isinstance(message, Batch):
            self._drop(message)
        else:
            self._keep(position, message)
        return message

    def close(self) -> None:
        """Close the stream; if messages are left, they stay here and can still be taken."""
        for command in list(self._dropped):
            self._set_aside.append(((self._position, 0), self._take_dropped(command)))
        while self._in_stream:
            self._set_aside.append(self._take_from_stream())
        self._send.close()
        self._receive.close()

    def _take_from_stream(self) -> tuple[Position, BatchMessage]:
        message = self._receive.receive_nowait()
        self._in_stream -= 1
        self._position += 1
        return (self._position, 0), message

    def _drop(self, batch: Batch) -> None:
        self._bytes -= len(batch.data)
        self._dropped[batch.command] += batch.count()

    def _keep(self, position: Position, event: BatchMessage) -> None:
        """Set `event` aside, after the count of lines dropped before it; drop the oldest events."""
        if event.command is not None and event.command in self._dropped:
            self._set_aside.append((position, self._take_dropped(event.command)))
        self._set_aside.append((position, event))
        while len(self._set_aside) > MAX_EVENTS_KEPT:
            match self._set_aside.popleft()[1]:
                case Dropped(command=command, lines=lines):
                    self._dropped[command] += lines
                case Batch() as batch:
                    self._drop(batch)
                case _:
                    pass

    def _take_dropped(self, command: str) -> Dropped:
        return Dropped(command, self._dropped.pop(command), time.time())


def _cut(batch: Batch, max_lines: int) -> tuple[Batch, Batch | None]:
    """Split `batch` after about `max_lines`, an estimate from the first lines."""
    max_bytes = max_lines * line_length(batch.data)
    if len(batch.data) <= max_bytes:
        return batch, None
    end = end_of_lines(batch.data[:max_bytes])
    if not end:  # the next line is longer than all that
        return batch, None
    return replace(batch, data=batch.data[:end]), replace(batch, data=batch.data[end:])
