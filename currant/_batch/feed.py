"""`Feed`: the items of the caller, one at a time, from a plain or an async iterable."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from typing import Generic, NamedTuple, TypeVar, cast

import anyio
from anyio.lowlevel import checkpoint

from currant._values.errors import CommandError

__all__ = ["Fed", "Feed", "Items"]

T = TypeVar("T")

Items = Iterable[T] | AsyncIterable[T]

_NOTHING = object()
"""What an iterator returns when it has ended."""


class Fed(NamedTuple, Generic[T]):
    """An item, with its number from 1 on."""

    number: int
    item: T


class Feed(Generic[T]):
    """Hands out items in order, each to one task.

    Args:
        items: the items; nothing is taken from them before `next`.

    Attributes:
        taken: how many items were handed out.
        has_ended: whether no more items come: all were handed out, or the feed was closed.

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
        self._async_iterator = aiter(items) if isinstance(items, AsyncIterable) else None
        self._lock = anyio.Lock(fast_acquire=True)
        self._waiting = anyio.CancelScope()

    async def next(self) -> Fed[T] | None:
        """Return the next item; None if there is none, or if the feed was closed.

        Cancellation: cancels the step of the caller's async iterator.

        Raises:
            Exception: whatever the iterable of the caller raises.
        """
        if self._iterator is not None:
            await checkpoint()  # Other tasks get a turn, even if no command can start.
            return None if self.has_ended else self._count(next(self._iterator, _NOTHING))
        async with self._lock:  # An async iterator takes one call at a time.
            if self.has_ended:
                return None
            assert self._async_iterator is not None
            item: object = _NOTHING
            with anyio.CancelScope() as self._waiting:
                item = await anext(self._async_iterator, _NOTHING)
            return self._count(item)

    def close(self) -> None:
        """Hand out no more items, also to a task that waits for the next one; return at once."""
        self.has_ended = True
        self._waiting.cancel()

    def _count(self, item: object) -> Fed[T] | None:
        if item is _NOTHING:
            self.has_ended = True
            return None
        self.taken += 1
        return Fed(self.taken, cast("T", item))
