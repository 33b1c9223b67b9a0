"""The iterators over a Runner, and the subscription that they share.

A reader is *present* from the first step of its loop until the loop ends or is left by `break`.  A
reader is not present if its task waits for the commands or has ended, because such a task cannot
make room.

If no reader is present at all, the commands wait for a reader for a limited time, `unread_timeout`.
Then the oldest output is discarded until a reader comes.

Rejected: async generators.  `break` does not close an async generator; the event loop does so
later, and trio warns about it.  A plain iterator object is dropped by `break` at once, and its
`__del__` returns the lines that the loop has not seen.  (If the object is part of a reference
cycle, the garbage collector drops it, in any thread and outside of any task.)
"""

from __future__ import annotations

from dataclasses import replace
from itertools import chain, islice
from math import inf
from typing import TYPE_CHECKING, Generic, TypeVar

import anyio
from anyio.lowlevel import checkpoint

from currant._channel.buffer import Buffer
from currant._channel.fast_lane import SMALL_BATCH
from currant._channel.reader_task import ReaderTask, current_task
from currant._channel.subscription import RECHECK_INTERVAL, Subscription
from currant._values.lines import Batch, parts_of
from currant._values.messages import BatchMessage, Message, size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

    from currant._channel.buffer import Position
    from currant._channel.waiters import Waiters
    from currant._synchronization import HomeLoop
    from currant._values.lines import Line

__all__ = ["BatchReader", "LineReader", "Readers"]

MAX_BUFFERED_BYTES = 256 * 1024
"""Bytes of output that are held for the readers before a further large batch has to wait.

Small batches overtake large ones, but a line of a large batch comes after everything buffered
before it.  With sixteen batches of a command that writes without pause, that took 20 ms; with this
bound, 4 to 8 ms.  Sinks have no such bound, because they take the whole backlog at once.
"""

LINES_PER_TURN = 800
"""How many lines of the only command a reader gets before other tasks have their turn."""

LINES_PER_SHARED_TURN = 200
"""The same if there are several commands.

So a line of a quiet command comes two or three turns after it was written.  It comes later if
sixteen others come first, or if the output was not read for a while.  A turn ends with a
checkpoint, which takes as long as 40 lines.
"""

LINES_PER_MESSAGE = 12
"""As how many lines a message counts, beside the lines in it.

If a turn ended with each message, hundreds of commands that start and end would send messages
faster than a reader takes them.  Then each message has to wait for room, which costs a command a
third of its time.
"""

T_Message = TypeVar("T_Message")


class Iteration(ReaderTask):
    """The state of one loop over a Runner; belongs to a reader.

    Attributes:
        open_batches: the batches that the reader has taken and not read to the end: at most two.
            The second has overtaken the first, and is being read.
        lines: how many lines of this turn the reader has had; infinity: the turn is over.
    """

    __slots__ = ("lines", "open_batches")

    def __init__(self) -> None:
        super().__init__()
        self.open_batches: list[OpenBatch] = []
        self.lines = inf

    def count(self, message: BatchMessage) -> None:
        """Count a message that the reader gets; with a large batch, the turn is over."""
        if size_of(message) > SMALL_BATCH:
            self.lines = inf
        else:
            self.lines += LINES_PER_MESSAGE
            if isinstance(message, Batch):
                self.lines += message.data.count(b"\n")


class OpenBatch:
    """A batch that is read line by line.

    Attributes:
        position: the position of the batch.
        batch: the batch.
        lines: the lines that are left.
    """

    __slots__ = ("_parts", "batch", "lines", "position")

    def __init__(self, position: Position, batch: Batch) -> None:
        self.position: Position = position
        self.batch: Batch = batch
        self._parts = parts_of(batch)
        self.lines: Iterator[Line] = chain.from_iterable(part.lines() for part in self._parts)

    def rest(self) -> Batch | None:
        """Return the lines that are left as a batch, if there are any; `lines` has none then."""
        parts = b"".join(part.data for part in self._parts)  # First, so that `lines` is short.
        data = b"".join(line.data + line.ending for line in self.lines) + parts
        return replace(self.batch, data=data) if data else None


class Readers(Subscription):
    """The subscription that all iterators over a Runner share.

    Args:
        waiters: the tasks that wait for the commands.
        buffer_size: how many messages to hold.
        producers: returns how many commands may still send a message.
        has_sinks: returns whether the output also goes to sinks.
        unread_timeout: seconds for which a full buffer waits for a reader if there is none at all.
        on_unread: is called with the name of the command for each batch that is discarded after
            that time.
        home: the event loop of the readers.
    """

    def __init__(
        self,
        waiters: Waiters,
        buffer_size: int,
        producers: Callable[[], int],
        has_sinks: Callable[[], bool],
        unread_timeout: float,
        on_unread: Callable[[str], None],
        home: HomeLoop,
    ) -> None:
        super().__init__(Buffer(buffer_size, MAX_BUFFERED_BYTES))
        self._waiters = waiters
        self._producers = producers
        self._has_sinks = has_sinks
        self._iterations: set[Iteration] = set()
        self._unread_timeout = unread_timeout
        self._on_unread = on_unread
        self._home = home
        self._unread_since: float | None = None  # while the buffer is full and has no reader

    @property
    def is_abandoned(self) -> bool:
        """Whether no reader is present, and the commands need not wait for one (any longer)."""
        if self._has_reader:
            return False
        return self._is_dispensable or self._is_unread

    @property
    def is_settled(self) -> bool:
        """Whether every reader that is present has had all messages."""
        return not any(
            (self.has_messages or iteration.open_batches) and self._is_present(iteration)
            for iteration in self._iterations
        )

    def check_thread(self) -> None:
        """Raise `WrongLoopError` in another event loop than that of the Runner."""
        self._home.check_thread("the iteration over a Runner")

    async def begin_step(self, iteration: Iteration) -> None:
        """Begin a step of a loop.

        If the last turn is over, this is a checkpoint, unless the step will wait for a message.

        Raises:
            WrongLoopError: the reader belongs to another event loop.
        """
        self.check_thread()
        iteration.stepped_by = anyio.get_current_task()
        self._iterations.add(iteration)
        self._unread_since = None
        # Not in the loop of `next`, where two readers that wait would wake one another without end.
        self.wake()
        is_over = iteration.lines >= self.lines_per_turn
        if is_over and (iteration.open_batches or self.has_messages):
            await checkpoint()
            iteration.lines = 0

    async def next(self, iteration: Iteration) -> tuple[Position, BatchMessage]:
        """Return the oldest message, and its position.  Not a checkpoint if there is a message.

        Raises:
            StopAsyncIteration: no command is left that may send a message.
        """
        while not self.has_messages:
            if not self._producers():
                self.leave(iteration)
                raise StopAsyncIteration
            await self.changed()
            iteration.lines = 0
        return self.take()

    def open_batch(self, iteration: Iteration, position: Position, batch: Batch) -> None:
        """Begin to read a batch that was taken, line by line."""
        iteration.open_batches.append(OpenBatch(position, batch))
        if len(iteration.open_batches) == 1:
            self._buffer.begin_reading(batch)

    def open_overtaking(self, iteration: Iteration) -> None:
        """Begin to read a small batch, if one has overtaken the large batch being read."""
        open_batches = iteration.open_batches
        if len(open_batches) == 1 and size_of(open_batches[0].batch) > SMALL_BATCH:
            taken = self.take_overtaking()
            if taken is not None:
                self.open_batch(iteration, *taken)

    def close_batch(self, iteration: Iteration) -> OpenBatch:
        """Close and return the batch being read."""
        last = iteration.open_batches.pop()
        if not iteration.open_batches:
            self._buffer.end_reading(last.batch)
        return last

    def leave(self, iteration: Iteration) -> None:
        """End `iteration`; what the loop has not seen of its batches is returned.

        Any thread may call this: the garbage collector may drop a reader in any.
        """
        self._home.call_in_task(lambda: self._leave(iteration))

    def return_batches(self, iteration: Iteration) -> None:
        """Return what a loop has not seen of its batches; the next loop goes on there."""
        while iteration.open_batches:
            last = self.close_batch(iteration)
            if (rest := last.rest()) is not None:
                self._buffer.put_back(last.position, rest)

    def _leave(self, iteration: Iteration) -> None:
        self.return_batches(iteration)
        if iteration in self._iterations:
            self._iterations.remove(iteration)
            self.recheck()

    @property
    def lines_per_turn(self) -> int:
        """How many lines a reader gets before other tasks have their turn."""
        return LINES_PER_SHARED_TURN if self._producers() > 1 else LINES_PER_TURN

    @property
    def _has_reader(self) -> bool:
        return any(map(self._is_present, self._iterations))

    @property
    def _is_dispensable(self) -> bool:
        """Whether the commands go on without a reader: a task waits, or sinks take the output."""
        return self._waiters.ignore_readers or bool(self._waiters) or self._has_sinks()

    @property
    def _is_unread(self) -> bool:
        """Whether the buffer has been full without a reader for too long."""
        since = self._unread_since
        return since is not None and anyio.current_time() >= since + self._unread_timeout

    def _next_check(self) -> float:
        since = inf if self._unread_since is None else self._unread_since
        recheck = anyio.current_time() + min(RECHECK_INTERVAL, self._unread_timeout)
        return min(recheck, since + self._unread_timeout)

    def _discard_if_abandoned(self) -> None:
        # `anyio.current_time` needs the event loop, which a reader may outlive; a sender does not.
        if self._waiting_senders:
            if self._has_reader or self._is_dispensable:
                self._unread_since = None
            elif self._unread_since is None:
                self._unread_since = anyio.current_time()
        super()._discard_if_abandoned()

    def _discard_oldest(self) -> None:
        is_unread = not self._is_dispensable
        discarded = self._buffer.discard_oldest()
        if is_unread and isinstance(discarded, Batch):
            self._on_unread(discarded.command)

    def _is_present(self, iteration: Iteration) -> bool:
        if self._waiters.ignore_readers:
            return False
        task = iteration.task
        return task is not None and task.id not in self._waiters


class _Reader(Generic[T_Message]):
    """The object that ``async for`` holds; a loop that is left drops it, which ends the reading."""

    __slots__ = ("_iteration", "_readers")

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
        self._iteration = Iteration()
        self._iteration.created_by = current_task()

    def __aiter__(self) -> Self:
        """Return a new reader for each loop: a variable may hold this reader after its loop."""
        self._leave()
        return type(self)(self._readers)

    def _leave(self) -> None:
        self._readers.leave(self._iteration)

    def __del__(self) -> None:
        self._leave()


class BatchReader(_Reader[BatchMessage]):
    """Iterates over messages, with output in whole batches."""

    __slots__ = ()

    async def __anext__(self) -> BatchMessage:
        await self._readers.begin_step(self._iteration)
        _, message = await self._readers.next(self._iteration)
        self._iteration.count(message)
        return message


class LineReader(_Reader[Message]):
    """Iterates over messages, with output line by line.

    After some hundreds of lines, other tasks have their turn.  Then a small batch of another
    command may come before the rest of the batch.

    Several tasks may step the same iterator, as `asyncio.wait` with a time limit tempts to.  The
    lines of one turn go out before the next turn.
    """

    __slots__ = ("_lines", "_step")

    def __init__(self, readers: Readers) -> None:
        self._lines: Iterator[Line] = iter(())  # of this turn
        self._step = anyio.Lock(fast_acquire=True)  # to begin a turn
        super().__init__(readers)  # last: this raises outside an event loop, then `__del__` runs

    async def __anext__(self) -> Message:
        # The hot path: most calls end here, without a checkpoint, once for each line.
        for line in self._lines:
            return line
        self._readers.check_thread()
        try:
            async with self._step:
                for line in self._lines:  # Another task may have begun a turn meanwhile.
                    return line
                readers, iteration = self._readers, self._iteration
                await readers.begin_step(iteration)
                while True:
                    while iteration.open_batches:
                        readers.open_overtaking(iteration)
                        read = iteration.open_batches[-1]
                        self._lines = islice(read.lines, readers.lines_per_turn)
                        for line in self._lines:
                            iteration.count(read.batch)
                            return line
                        readers.close_batch(iteration)
                    position, message = await readers.next(iteration)
                    if not isinstance(message, Batch):
                        iteration.count(message)
                        return message
                    readers.open_batch(iteration, position, message)
        except BaseException:
            # A cancelled loop is left, but the traceback keeps the reader for a moment.
            if not self._step.locked():
                self._readers.return_batches(self._iteration)
            raise
