"""`ItemSource`: the items of the caller, one at a time, from a plain or an async iterable."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterable, Iterable
from typing import Generic, NamedTuple, TypeVar, cast

import anyio
from anyio.lowlevel import checkpoint

from currant._synchronization import Notifier
from currant._values.errors import CommandError

__all__ = ["ItemSource", "Items", "NumberedItem"]

T = TypeVar("T")

Items = Iterable[T] | AsyncIterable[T]

_NOTHING = object()
"""What an iterator returns when it has ended."""


class NumberedItem(NamedTuple, Generic[T]):
    """An item, with its number from 1 on."""

    number: int
    item: T


class ItemSource(Generic[T]):
    """Hands out items in order, each to one task.

    A plain iterable is asked by the task that wants an item.  All steps of an async iterable are
    made by one task, in `run`: an async generator may have a cancel scope around its ``yield``,
    which must be left by the task that has entered it.

    Args:
        items: the items; nothing is taken from them before `next`.

    Attributes:
        taken: how many items were handed out.
        has_ended: whether no more items come: all were handed out, or the source was closed.

    Raises:
        CommandError: `items` cannot be iterated over.
    """

    def __init__(self, items: Items[T]) -> None:
        if isinstance(items, (str, bytes)) or not isinstance(
            cast("object", items), (Iterable, AsyncIterable)
        ):
            raise CommandError(f"items must be an iterable of items, not {items!r}")
        self.taken: int = 0
        self.has_ended: bool = False
        self._items = items
        self._iterator = None if isinstance(items, AsyncIterable) else iter(items)
        self._requests: deque[_Request[T]] = deque()
        self._some_wait = Notifier()
        self._taking = anyio.CancelScope()

    async def run(self) -> None:
        """Take an item from an async iterable for each task in `next`, until the source is closed.

        For a plain iterable this returns at once.
        Cancellation: cancels the step of the caller's iterator.

        Raises:
            Exception: whatever the iterable of the caller raises.
        """
        if not isinstance(self._items, AsyncIterable):
            return
        iterator = aiter(self._items)
        with self._taking:
            try:
                while not self.has_ended:
                    await self._some_wait.wait_for(lambda: bool(self._requests))
                    item: object = await anext(iterator, _NOTHING)
                    self._hand_over(item)
            finally:
                await _close(iterator)  # Its scopes end before ours.
                self.close()

    async def next(self) -> NumberedItem[T] | None:
        """Return the next item; None if there is none, or if the source was closed.

        Cancellation: an item that is on its way goes to the next task.

        Raises:
            Exception: whatever a plain iterable of the caller raises.
        """
        if self._iterator is not None:
            await checkpoint()  # Other tasks get a turn, even if no command can start.
            return None if self.has_ended else self._count(next(self._iterator, _NOTHING))
        if self.has_ended:
            return None
        request: _Request[T] = _Request()
        self._requests.append(request)
        self._some_wait.notify_all()
        try:
            await request.done.wait()
        finally:
            if request in self._requests:  # The task was cancelled.
                self._requests.remove(request)
        return request.numbered

    def close(self) -> None:
        """Hand out no more items, also to a task that waits for the next one; return at once."""
        self.has_ended = True
        self._taking.cancel()
        for request in self._requests:
            request.done.set()
        self._requests.clear()

    def _hand_over(self, item: object) -> None:
        if self._requests:
            request = self._requests.popleft()
            request.numbered = self._count(item)
            request.done.set()

    def _count(self, item: object) -> NumberedItem[T] | None:
        if item is _NOTHING:
            self.has_ended = True
            return None
        self.taken += 1
        return NumberedItem(self.taken, cast("T", item))


async def _close(iterator: object) -> None:
    """Close an async generator that has not ended."""
    aclose = getattr(iterator, "aclose", None)
    if aclose is None:
        return
    try:
        await aclose()
    except BaseExceptionGroup as group:
        # A task group around the `yield` wraps the GeneratorExit that closes the generator.
        if group.split((GeneratorExit, anyio.get_cancelled_exc_class()))[1] is not None:
            raise


class _Request(Generic[T]):
    """A task that waits for an item."""

    __slots__ = ("done", "numbered")

    def __init__(self) -> None:
        self.done = anyio.Event()
        self.numbered: NumberedItem[T] | None = None
