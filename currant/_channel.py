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

import time
from abc import ABC, abstractmethod
from bisect import insort
from collections import Counter, deque
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import filterfalse
from math import inf
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, cast

import anyio
from anyio import TypedAttributeSet, typed_attribute
from anyio.abc import ObjectReceiveStream
from anyio.lowlevel import checkpoint

from currant._lines import end_of_lines
from currant._messages import Batch, BatchMessage, Dropped, Line, Message
from currant._notice import Notice

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping
    from typing import Self

    from currant._command import Command

__all__ = ["BatchReader", "Channel", "LineReader", "SinkAttribute", "SinkFeed", "Subscription"]

KEPT = 10_000
"""Most messages other than output that an abandoned subscription keeps: a few megabytes."""

LOOK_AGAIN = 1.0
"""Seconds after which those who wait for a reader look whether its task has ended meanwhile."""

MOST_BYTES = 256 * 1024
"""Bytes of output that are held for those who iterate, before a further large batch has to wait.

Who reads line by line comes to a line when those before it are read: behind sixteen batches of a
command that writes without end that took 20 ms, behind this much 4 to 8 ms.  Sinks have no such
bound: they deal with all that has piled up at once.
"""

SMALL = 4 * 1024
"""Most bytes of a batch that need not wait behind the large ones of other commands."""

OVERTAKERS = 16
"""How many small batches do not wait behind the same large one."""

AT_ONCE = 64 * 1024
"""Bytes whose lines are read in one go: between them, other tasks have their turn."""

Place: TypeAlias = tuple[int, int]
"""Where a message belongs among others: how many were taken before it, and bytes of its batch."""

T_Message = TypeVar("T_Message")


class SinkAttribute(TypedAttributeSet):
    """What a sink can ask its stream for with ``messages.extra(...)``, beside the messages.

    Attributes:
        commands: the Runner's commands by name, in the order given; it grows as more are started.
    """

    commands: Mapping[str, Command] = typed_attribute()


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
        self._last_producer_left = Notice()
        self._waiting: Counter[int] = Counter()
        self._feeds: list[SinkFeed] = []
        self.readers: Readers = Readers(self, buffer_size)

    @property
    def producing(self) -> bool:
        """Whether a command may still send something."""
        return self._producers > 0

    @property
    def has_sinks(self) -> bool:
        """Whether anything but iteration takes the messages."""
        return bool(self._feeds)

    @property
    def somebody_waits(self) -> bool:
        """Whether a task waits for the commands."""
        return bool(self._waiting)

    def is_waiting(self, task: int) -> bool:
        """Tell whether the task of that id waits for the commands."""
        return task in self._waiting

    def subscribe(self) -> SinkFeed:
        """Make a subscription for a sink."""
        feed = SinkFeed(self, self._buffer_size)
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
            self._last_producer_left.give()

    async def ended(self) -> None:
        """Wait until no command may send anything any more."""
        await self._last_producer_left.until(lambda: not self.producing)

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
            task = anyio.get_current_task().id
            self._waiting[task] -= 1
            if not self._waiting[task]:
                del self._waiting[task]

    def begin_to_wait(self) -> None:
        """Mark the current task as one that waits for good: it is leaving the block."""
        self._waiting[anyio.get_current_task().id] += 1
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
        self._change = Notice()

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
        self._change.give()

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


class SinkFeed(Subscription, ObjectReceiveStream[BatchMessage]):
    """The subscription of one sink, which is the stream that the sink is called with."""

    def __init__(self, channel: Channel, buffer_size: int) -> None:
        super().__init__(buffer_size)
        self._channel = channel
        self._task: int | None = None
        self._idle = False
        self._left = False

    @property
    def abandoned(self) -> bool:
        """Whether the sink itself waits for the commands; else it reads until it leaves."""
        return self._task is not None and self._channel.is_waiting(self._task)

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
        return {cast("Any", SinkAttribute.commands): lambda: self._channel.commands}

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


class Readers(Subscription):
    """The subscription that all who iterate over the Runner share."""

    most_bytes = MOST_BYTES

    def __init__(self, channel: Channel, buffer_size: int) -> None:
        super().__init__(buffer_size)
        self._channel = channel
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
        channel = self._channel
        return not self.being_read and (
            self._given_up or channel.somebody_waits or channel.has_sinks
        )

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
            if not self._channel.producing:
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
        return not (self._given_up or task is None or self._channel.is_waiting(task.id))

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


def _size(message: BatchMessage) -> int:
    return len(message.data) if isinstance(message, Batch) else 0


def _cut(batch: Batch) -> tuple[Batch, Batch | None]:
    """Return the first of a batch's lines, as many as one takes in one go, and the other ones."""
    end = end_of_lines(batch.data[:AT_ONCE])
    if not end:
        return batch, None
    return replace(batch, data=batch.data[:end]), replace(batch, data=batch.data[end:])


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
