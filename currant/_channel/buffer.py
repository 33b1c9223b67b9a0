"""The messages of a subscription, in order and within bounds.

A reader takes messages from four places, in this order:

1. the messages that were *set aside*: batches that a reader returned, and events (all messages
   other than output) that were passed over to make room;
2. the counts of discarded lines, as `Dropped` messages;
3. the *fast lane*: small batches that have overtaken the stream (`fast_lane`);
4. the stream: an anyio memory object stream, which takes new messages and bounds their number.  A
   second bound limits their bytes.

This module only stores messages and never waits.  `Subscription` asks `has_room` before adding a
message and checks for emptiness before taking one, so the stream never raises `WouldBlock`.

Invariants: set-aside messages are sorted by position.  Until the buffer is closed, batches among
them are older than any event, because an event is set aside only after all older messages were
taken.
"""

from __future__ import annotations

import time
from bisect import insort
from collections import Counter, deque
from math import inf
from operator import itemgetter
from typing import TypeAlias

import anyio

from currant._channel.fast_lane import SMALL_BATCH, FastLane
from currant._values.lines import Batch
from currant._values.messages import BatchMessage, Dropped, size_of

__all__ = ["Buffer", "Position"]

MAX_EVENTS_KEPT = 10_000
"""How many messages are set aside at most while nothing reads: a few megabytes."""

Position: TypeAlias = int
"""The place of a message in the order in which messages were taken, from 1."""


class Buffer:
    """A bounded memory object stream of messages, with the messages set aside in front of it.

    Args:
        max_messages: how many messages the stream holds.
        max_bytes: how many bytes of output to hold before a further large batch has no room.
            Infinity: as many as come, for a reader that takes the whole backlog at once; then no
            batch overtakes others.
    """

    def __init__(self, max_messages: int, max_bytes: float = inf) -> None:
        stream = anyio.create_memory_object_stream[BatchMessage](max_messages)
        self._send, self._receive = stream
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._length = 0  # of the stream
        self._fast_lane = FastLane()
        self._bytes = 0
        self._position = 0
        self._set_aside: deque[tuple[Position, BatchMessage]] = deque()
        self._dropped: Counter[str] = Counter()

    def __bool__(self) -> bool:
        """Return whether there is a message to take."""
        return bool(self._length or self._fast_lane or self._set_aside or self._dropped)

    def has_room(self, message: BatchMessage) -> bool:
        """Return whether `message` fits now; an empty buffer accepts a batch of any size."""
        if self._length >= self._max_messages:
            return False
        size = size_of(message)
        return size <= SMALL_BATCH or not self._bytes or self._bytes + size <= self._max_bytes

    def append(self, message: BatchMessage) -> None:
        """Add `message`; the caller has checked that there is room for it."""
        if isinstance(message, Batch) and self._may_overtake(message):
            self._fast_lane.append(message)
        else:
            self._send.send_nowait(message)
            self._length += 1
            self._fast_lane.added_to_stream(message)
        self._bytes += size_of(message)

    def _may_overtake(self, batch: Batch) -> bool:
        return (
            self._max_bytes < inf
            and not self._fast_lane_must_wait
            and self._fast_lane.admits(batch, self._bytes)
        )

    @property
    def _fast_lane_must_wait(self) -> bool:
        """Whether messages that were set aside, or counts, come before the fast lane."""
        return bool(self._set_aside or self._dropped)

    def take(self) -> tuple[Position, BatchMessage]:
        """Remove and return the oldest message and its position; there must be a message."""
        if self._set_aside:
            position, message = self._set_aside.popleft()
        elif self._dropped:
            return self._position, self._take_dropped(next(iter(self._dropped)))
        elif self._fast_lane:
            position, message = self._take_from_fast_lane()
        else:
            position, message = self._take_from_stream()
        self._bytes -= size_of(message)
        return position, message

    def take_overtaking(self) -> tuple[Position, Batch] | None:
        """Remove and return the oldest batch of the fast lane, if it may be taken now."""
        if not self._fast_lane or self._fast_lane_must_wait:
            return None
        position, batch = self._take_from_fast_lane()
        self._bytes -= len(batch.data)
        return position, batch

    def begin_reading(self, batch: Batch) -> None:
        """Let small batches of other commands overtake a large `batch` that was taken."""
        self._fast_lane.begin_reading(batch)

    def end_reading(self, batch: Batch) -> None:
        """Undo `begin_reading`."""
        self._fast_lane.end_reading(batch)

    def put_back(self, position: Position, batch: Batch) -> None:
        """Return what is left of a `batch` that was taken, to be taken again in order."""
        insort(self._set_aside, (position, batch), key=itemgetter(0))
        self._bytes += len(batch.data)

    def discard_oldest(self) -> BatchMessage:
        """Make room: count the oldest batch as dropped, or set the oldest event aside.

        Return that batch or event.
        """
        if (batch := self._drop_from_set_aside()) is not None:
            return batch
        if not self._length:
            _, batch = self._take_from_fast_lane()
            self._drop(batch)
            return batch
        message = self._remove_from_stream()
        if isinstance(message, Batch):
            if self._fast_lane.has_batch_of(message.command):
                self._set_fast_lane_aside()  # These batches come before the count.
            self._drop(message)
        else:
            self._set_fast_lane_aside()
            self._position += 1
            self._keep(self._position, message)
        return message

    def close(self) -> None:
        """Close the stream; if messages are left, they stay here and can still be taken."""
        for command in list(self._dropped):
            self._position += 1  # What is left of a batch that is being read comes before.
            self._set_aside.append((self._position, self._take_dropped(command)))
        self._set_fast_lane_aside()
        while self._length:
            self._set_aside.append(self._take_from_stream())
        self._send.close()
        self._receive.close()

    def _take_from_stream(self) -> tuple[Position, BatchMessage]:
        self._position += 1
        return self._position, self._remove_from_stream()

    def _remove_from_stream(self) -> BatchMessage:
        message = self._receive.receive_nowait()
        self._length -= 1
        self._fast_lane.removed_from_stream(message)
        return message

    def _take_from_fast_lane(self) -> tuple[Position, Batch]:
        self._position += 1
        return self._position, self._fast_lane.popleft()

    def _set_fast_lane_aside(self) -> None:
        while self._fast_lane:
            self._set_aside.append(self._take_from_fast_lane())

    def _drop_from_set_aside(self) -> Batch | None:
        """Drop the oldest batch that was set aside, if there is one; its count takes its place."""
        for index, (position, message) in enumerate(self._set_aside):
            if isinstance(message, Batch):
                self._bytes -= len(message.data)
                count = Dropped(message.command, message.count(), time.time())
                self._set_aside[index] = (position, count)
                return message
            if not isinstance(message, Dropped):  # Events come after all batches.
                break
        return None

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
