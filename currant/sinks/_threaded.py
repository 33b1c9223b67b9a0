"""The base of sinks that write to slow files: they take all messages at hand, and use a thread.

So the event loop is never blocked, however slow the file is, and a slower file gets larger writes.
A sink receives more messages only after the last write.  So when a sink is waiting for messages,
everything has been written, and that is what `join` waits for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import suppress
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING

import anyio

from currant._channel.feed import SinkAttribute
from currant._channel.threads import in_thread
from currant._values.messages import size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from anyio.abc import ObjectReceiveStream

    from currant._values.command import Command
    from currant._values.messages import BatchMessage

__all__ = ["ThreadedSink", "add_available", "commands_of", "receive_available"]

MAX_BACKLOG = 4 << 20
"""Bytes of output after which a backlog is handled, even if more messages are waiting.

Each backlog costs a switch to a thread: 4 × 100 MB in the console took 0.88 s with this size, and
0.99 s with 1 MiB.
"""


class ThreadedSink(ABC):
    """A sink that handles messages in a worker thread, backlog after backlog.

    One sink may serve several Runners, even at the same time.
    """

    def __init__(self) -> None:
        self._lock = Lock()

    async def __call__(self, messages: ObjectReceiveStream[BatchMessage]) -> None:
        """Handle all messages until the stream ends.

        Cancellation: a thread that is stuck in a write is left alone, with its part of the output.
        """
        commands = commands_of(messages)
        # An empty backlog reports an error, such as an invalid color, before the first message.
        await self._run(partial(self._handle, (), commands))
        while backlog := await self._receive(messages):
            await self._run(partial(self._handle, backlog, commands))
        await self._run(self._finish)

    @abstractmethod
    def _handle(self, backlog: Sequence[BatchMessage], commands: Mapping[str, Command]) -> None:
        """Handle messages in a worker thread; this may block.

        Args:
            backlog: the messages; empty in the first call.
            commands: the commands of the Runner by name.
        """

    def _finish(self) -> None:  # noqa: B027 - optional for subclasses
        """Write what was held back until the end of the stream."""

    async def _receive(self, messages: ObjectReceiveStream[BatchMessage]) -> list[BatchMessage]:
        """Wait for a message; return all that are at hand, or nothing at the end."""
        return await receive_available(messages)

    async def _run(self, work: Callable[[], None]) -> None:
        def run_alone() -> None:
            with self._lock:
                work()

        await in_thread(run_alone)


def commands_of(messages: ObjectReceiveStream[BatchMessage]) -> Mapping[str, Command]:
    """Return the commands of the Runner that sends `messages`; empty for any other stream."""
    none: Mapping[str, Command] = {}
    return messages.extra(SinkAttribute.commands, none)  # noqa: S610 - anyio's, not Django's


async def receive_available(messages: ObjectReceiveStream[BatchMessage]) -> list[BatchMessage]:
    """Wait for a message; return it with the messages behind it, or nothing at the end."""
    try:
        backlog = [await messages.receive()]
    except anyio.EndOfStream:
        return []
    add_available(messages, backlog)
    return backlog


def add_available(messages: ObjectReceiveStream[BatchMessage], backlog: list[BatchMessage]) -> bool:
    """Add the messages that are there now to `backlog`, unless it is full; return whether any."""
    # The stream of a Runner has this method, as memory object streams do.  From any other stream,
    # messages are received singly.
    receive_nowait = getattr(messages, "receive_nowait", None)
    size = sum(map(size_of, backlog))
    before = len(backlog)
    with suppress(anyio.WouldBlock, anyio.EndOfStream):
        while receive_nowait is not None and size < MAX_BACKLOG:
            message = receive_nowait()
            backlog.append(message)
            size += size_of(message)
    return len(backlog) > before
