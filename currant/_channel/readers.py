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
from math import inf
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

import anyio
from anyio.lowlevel import checkpoint

from currant._channel.buffer import Buffer
from currant._channel.reader_task import ReaderTask
from currant._channel.subscription import RECHECK_INTERVAL, Subscription
from currant._values.lines import Batch
from currant._values.messages import BatchMessage, Message

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

A line reaches its reader only after everything buffered before it.  With sixteen batches of a
command that writes without pause, that took 20 ms; with this bound, 4 to 8 ms.  Sinks have no such
bound, because they take the whole backlog at once.
"""

LINES_PER_TURN = 800
"""About how many lines a reader gets before other tasks have their turn."""

T_Message = TypeVar("T_Message")


class Iteration(ReaderTask):
    """The state of one loop over a Runner; belongs to a reader.

    Attributes:
        max_lines: about how many lines of a batch to take at a time; None for all of it.
        position: the position of the message that was taken last.
        is_mid_batch: whether the reader may still hold lines of that message.
    """

    __slots__ = ("is_mid_batch", "max_lines", "position")

    def __init__(self, max_lines: int | None) -> None:
        super().__init__()
        self.max_lines: int | None = max_lines
        self.position: Position = (0, 0)
        self.is_mid_batch: bool = False


class Readers(Subscription):
    """The subscription that all iterators over a Runner share.

    Args:
        waiters: the tasks that wait for the commands.
        buffer_size: how many messages to hold.
        is_producing: returns whether a command may still send a message.
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
        is_producing: Callable[[], bool],
        has_sinks: Callable[[], bool],
        unread_timeout: float,
        on_unread: Callable[[str], None],
        home: HomeLoop,
    ) -> None:
        super().__init__(Buffer(buffer_size, MAX_BUFFERED_BYTES))
        self._waiters = waiters
        self._is_producing = is_producing
        self._has_sinks = has_sinks
        self._iterations: set[Iteration] = set()
        self._unread_timeout = unread_timeout
        self._on_unread = on_unread
        self._home = home
        self._unread_since: float | None = None  # while the buffer is full and has no reader

    @property
    def abandoned(self) -> bool:
        """Whether no reader is present, and the commands need not wait for one (any longer)."""
        if self._has_reader:
            return False
        return self._is_dispensable or self._is_unread

    @property
    def settled(self) -> bool:
        """Whether every reader that is present has had all messages."""
        return not any(
            (self.has_messages or iteration.is_mid_batch) and self._is_present(iteration)
            for iteration in self._iterations
        )

    def check_thread(self) -> None:
        """Raise `WrongLoopError` in another event loop than that of the Runner."""
        self._home.check_thread("the iteration over a Runner")

    async def next(self, iteration: Iteration) -> BatchMessage:
        """Return the oldest message.

        Raises:
            StopAsyncIteration: no command is left that may send a message.
            WrongLoopError: the reader belongs to another event loop.
        """
        self.check_thread()
        iteration.stepped_by = anyio.get_current_task()
        iteration.is_mid_batch = False
        self._iterations.add(iteration)
        self._unread_since = None
        # Once for each step, not for each turn of the loop: two readers would wake one another
        # without end.
        self.wake()
        if self.has_messages:
            await checkpoint()
        while not self.has_messages:
            if not self._is_producing():
                self.leave(iteration)
                raise StopAsyncIteration
            await self.changed()
        iteration.position, message = self.take(iteration.max_lines)
        iteration.is_mid_batch = iteration.max_lines is not None and isinstance(message, Batch)
        return message

    def leave(self, iteration: Iteration, unread: Batch | None = None) -> None:
        """End `iteration`; `unread` is the part of the last batch that the loop has not seen.

        Any thread may call this: the garbage collector may drop a reader in any.
        """
        self._home.call_in_task(lambda: self._leave(iteration, unread))

    def _leave(self, iteration: Iteration, unread: Batch | None) -> None:
        if unread is not None:
            self._buffer.unread(iteration.position, unread)
        iteration.is_mid_batch = False
        if iteration in self._iterations:
            self._iterations.remove(iteration)
            self.recheck()

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

    _max_lines: ClassVar[int | None] = None

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
        self._iteration = Iteration(self._max_lines)
        self._iteration.created_by = anyio.get_current_task()

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
        return await self._readers.next(self._iteration)


class LineReader(_Reader[Message]):
    """Iterates over messages, with output line by line.

    Several tasks may step the same iterator, as `asyncio.wait` with a time limit tempts to.  The
    lines of one batch go out before the next batch is taken.
    """

    __slots__ = ("_batch", "_lines", "_turn")

    _max_lines = LINES_PER_TURN

    def __init__(self, readers: Readers) -> None:
        self._batch: Batch | None = None
        self._lines: Iterator[Line] = iter(())
        self._turn = anyio.Lock(fast_acquire=True)  # to take a batch
        super().__init__(readers)  # last: this raises outside an event loop, then `__del__` runs

    async def __anext__(self) -> Message:
        # The hot path: most calls end here, without a checkpoint, once for each line.
        for line in self._lines:
            return line
        self._readers.check_thread()
        async with self._turn:
            while True:
                for line in self._lines:  # Another task may have taken a batch meanwhile.
                    return line
                message = await self._readers.next(self._iteration)
                if not isinstance(message, Batch):
                    return message
                self._batch = message
                self._lines = message.lines()

    def _leave(self) -> None:
        """End the reading, and return the lines of the batch that the loop has not seen."""
        rest = b"".join(line.data + line.ending for line in self._lines)
        unread = None
        if rest and self._batch is not None:
            unread = replace(self._batch, data=rest)
        self._readers.leave(self._iteration, unread)
