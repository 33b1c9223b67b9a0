"""Those who iterate over the Runner: the subscription that they share, and the iterators."""

from __future__ import annotations

from contextlib import suppress
from itertools import filterfalse
from math import inf
from typing import TYPE_CHECKING, Generic, TypeVar

import anyio
from anyio.lowlevel import checkpoint

from currant._channel.subscription import AT_ONCE, Place, Subscription
from currant._values.lines import Batch
from currant._values.messages import BatchMessage, Message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

    from currant._channel.waiters import Waiters
    from currant._values.lines import Line

__all__ = ["BatchReader", "LineReader", "Readers"]

MOST_BYTES = 256 * 1024
"""Bytes of output that are held for those who iterate, before a further large batch has to wait.

Who reads line by line comes to a line when those before it are read: behind sixteen batches of a
command that writes without end that took 20 ms, behind this much 4 to 8 ms.  Sinks have no such
bound: they deal with all that has piled up at once.
"""

T_Message = TypeVar("T_Message")


class Readers(Subscription):
    """The subscription that all who iterate over the Runner share."""

    most_bytes = MOST_BYTES

    def __init__(
        self,
        waiters: Waiters,
        buffer_size: int,
        is_producing: Callable[[], bool],
        has_sinks: Callable[[], bool],
    ) -> None:
        super().__init__(buffer_size)
        self._waiters = waiters
        self._is_producing = is_producing
        self._has_sinks = has_sinks
        # By the reader's id, the task of its last step and the one that made it.
        self._tasks: dict[int, tuple[anyio.TaskInfo, anyio.TaskInfo]] = {}
        self._holding: set[int] = set()  # ids of the readers in the middle of a batch
        self._given_up = False

    @property
    def being_read(self) -> bool:
        """Whether somebody is in the middle of an iteration."""
        return any(map(self._is_there, self._tasks))

    @property
    def abandoned(self) -> bool:
        """Whether nobody reads, though somebody waits or the output goes elsewhere."""
        return not self.being_read and (self._given_up or bool(self._waiters) or self._has_sinks())

    @property
    def settled(self) -> bool:
        """Whether nobody reads, or there is nothing left to read."""
        return not (self.unread and self.being_read) and not any(map(self._is_there, self._holding))

    async def next(self, reader: _Reader[T_Message]) -> BatchMessage:
        """Return the oldest message for `reader`; ends when no command is left."""
        self._tasks[id(reader)] = (anyio.get_current_task(), reader.made_in)
        self._holding.discard(id(reader))
        if self.unread:
            await checkpoint()
        while True:
            with suppress(anyio.WouldBlock, anyio.EndOfStream, anyio.ClosedResourceError):
                place, message = self.take_part(AT_ONCE if reader.splits else inf)
                if reader.splits and isinstance(message, Batch):
                    self._holding.add(id(reader))
                reader.place = place
                return message
            self.wake()
            if not self._is_producing():
                self.leave(reader)
                raise StopAsyncIteration
            await self.changed()

    def leave(self, reader: _Reader[T_Message], unread: Batch | None = None) -> None:
        """End the reading of `reader`, which gives back what it has taken and not passed on."""
        if unread is not None:
            self.put_back(reader.place, unread)
        self._holding.discard(id(reader))
        if self._tasks.pop(id(reader), None) is not None:
            self.reconsider()

    def _is_there(self, reader: int) -> bool:
        # A step may be a task of its own (`asyncio.wait_for`): then it is who made the reader.
        task = next(filterfalse(_has_ended, self._tasks[reader]), None)
        return not (self._given_up or task is None or task.id in self._waiters)

    def give_up(self) -> None:
        """Count nobody as a reader any more: the block is left early."""
        self._given_up = True
        self.reconsider()

    def close(self) -> None:
        """Nothing more will be put; what is left stays there to be read."""
        super().close()
        with suppress(anyio.EndOfStream, anyio.ClosedResourceError):
            while True:
                self._kept.append(self._take_from_stream())
        self._receive.close()


def _has_ended(task: anyio.TaskInfo) -> bool:
    return getattr(task.coro, "cr_frame", task) is None


class _Reader(Generic[T_Message]):
    """What ``async for`` holds; leaving the loop drops it, and so ends the reading.

    A class and not an async generator: that one is not closed by `break`, but later, by the event
    loop, and trio warns of it.

    Attributes:
        made_in: the task that made it.
        place: where what it has taken last belongs.
    """

    __slots__ = ("_readers", "made_in", "place")

    splits = False
    """Whether it hands a batch on in parts."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
        self.made_in: anyio.TaskInfo = anyio.get_current_task()
        self.place: Place = (0, 0)

    def __aiter__(self) -> Self:
        """Return a reader for one loop: this one may have a name, and outlive the loop."""
        self.leave()
        return type(self)(self._readers)

    def leave(self) -> None:
        """End the reading, and give back what was taken and not passed on."""
        self._readers.leave(self)

    def __del__(self) -> None:
        self.leave()


class BatchReader(_Reader[BatchMessage]):
    """Iterates over messages, output in whole batches."""

    __slots__ = ()

    async def __anext__(self) -> BatchMessage:
        return await self._readers.next(self)


class LineReader(_Reader[Message]):
    """Iterates over messages, output line by line."""

    __slots__ = ("_batch", "_lines")

    splits = True

    def __init__(self, readers: Readers) -> None:
        super().__init__(readers)
        self._batch: Batch | None = None
        self._lines: Iterator[Line] = iter(())

    async def __anext__(self) -> Message:
        while True:
            # The hot path: most calls end here, without a checkpoint, once for each line.
            for line in self._lines:
                return line
            message = await self._readers.next(self)
            if not isinstance(message, Batch):
                return message
            self._batch = message
            self._lines = message.lines()

    def leave(self) -> None:
        """End the reading, and give back the lines of a batch that were not passed on."""
        rest = b"".join(line.data + line.ending for line in self._lines)
        unread = None
        if rest and self._batch is not None:
            unread = Batch(self._batch.command, self._batch.stream, rest, self._batch.time)
        self._readers.leave(self, unread)
