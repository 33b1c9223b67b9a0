"""What all sinks share: they take what has piled up in one go, and deal with it in a thread.

The event loop is never blocked, however slow the file, and the slower it is the more is written at
once.  A pile is taken only when the last one has been dealt with, so that a sink that comes back
for more has written all it had: that is what `join` waits for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import suppress
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

import anyio
from anyio import to_thread

from currant._channel.feed import SinkAttribute
from currant._values.lines import Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from anyio.abc import ObjectReceiveStream

    from currant._values.command import Command
    from currant._values.messages import BatchMessage

__all__ = ["ThreadedSink", "commands_of", "in_thread", "next_pile"]

PILE = 4 << 20
"""Bytes of output that make a pile large enough to be dealt with.

Each takes a thread's turn: 4 × 100 MB in the console took 0.88 s this way, 0.99 s with 1 MiB.
"""

T = TypeVar("T")


class ThreadedSink(ABC):
    """A sink whose work is done in a worker thread, one pile of messages after another.

    It may be given to several Runners, also to such that run at the same time.
    """

    def __init__(self) -> None:
        self._at_work = Lock()

    async def __call__(self, messages: ObjectReceiveStream[BatchMessage]) -> None:
        """Deal with all messages until there are no more.

        Cancellation: what is being written is left to its thread, which may be stuck in it.
        """
        commands = commands_of(messages)
        await self._work(partial(self.take, (), commands))  # what is wrong is told at once
        while pile := await next_pile(messages):
            await self._work(partial(self.take, pile, commands))
        await self._work(self.finish)

    @abstractmethod
    def take(self, pile: Sequence[BatchMessage], commands: Mapping[str, Command]) -> None:
        """Deal with `pile`, however long it takes; `commands` are those of the Runner."""

    def finish(self) -> None:  # noqa: B027 - a sink that holds nothing back needs none
        """Deal with what was held back until the end of all messages."""

    async def _work(self, work: Callable[[], None]) -> None:
        def work_alone() -> None:
            with self._at_work:
                work()

        await in_thread(work_alone)


def commands_of(messages: ObjectReceiveStream[BatchMessage]) -> Mapping[str, Command]:
    """Return the commands whose messages these are, as far as the stream tells."""
    none: Mapping[str, Command] = {}
    return messages.extra(SinkAttribute.commands, none)  # noqa: S610 - anyio's, not Django's


async def next_pile(messages: ObjectReceiveStream[BatchMessage]) -> list[BatchMessage]:
    """Wait for the next message and return it with those behind it; nothing at the end."""
    try:
        pile = [await messages.receive()]
    except anyio.EndOfStream:
        return []
    # Streams of a Runner have it, and memory object streams; of others, messages come one by one.
    receive_nowait = getattr(messages, "receive_nowait", None)
    size = _size(pile[0])
    with suppress(anyio.WouldBlock, anyio.EndOfStream):
        while receive_nowait is not None and size < PILE:
            message = receive_nowait()
            pile.append(message)
            size += _size(message)
    return pile


async def in_thread(work: Callable[[], T]) -> T:
    """Do `work` in a worker thread that nobody else waits for, and return what it returns.

    Cancellation: a thread cannot be interrupted; it is left to what it does.
    """
    # A limiter of its own: neither do slow files take the threads of the host's other work, nor
    # does that work hold the output up.
    return await to_thread.run_sync(work, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1))


def _size(message: BatchMessage) -> int:
    return len(message.data) if isinstance(message, Batch) else 0
