"""`Outbox`: the results on the way from the commands to the caller."""

from __future__ import annotations

from collections import deque
from typing import Generic, NamedTuple, TypeVar

from anyio.lowlevel import checkpoint_if_cancelled

from currant._synchronization import Notifier

__all__ = ["Outbox"]

T = TypeVar("T")


class Outbox(Generic[T]):
    """Holds the items that have ended until the caller takes them.

    Args:
        size: how many items may be ready to take before `put` waits.  So commands wait for the
            caller.
        budget: how many bytes the items may have that nobody has taken, before `put` waits.
        window: with `keep_order`: how many items later than the first unfinished one may start.
        keep_order: whether items leave in the order of their numbers, which begin with 1, and not
            in the order of their ends.
    """

    def __init__(self, size: int, budget: int, window: int, *, keep_order: bool) -> None:
        self._size, self._budget = size, budget
        self._window, self._keep_order = window, keep_order
        self._ready: deque[_Weighed[T]] = deque()
        self._early: dict[int, _Weighed[T] | None] = {}  # by number; a smaller number is missing
        self._held = 0  # bytes of both
        self._due = 1
        self._is_closed = False
        self._takes_all = False
        self._put, self._taken = Notifier(), Notifier()

    async def admit(self, number: int) -> None:
        """Wait until the command of that number may start.

        Cancellation: harmless.
        """
        if self._keep_order:
            await self._taken.wait_for(lambda: number < self._due + self._window or self._takes_all)

    async def put(self, number: int, ended: T | None, weight: int = 0) -> None:
        """Add an item that has ended, and wait while too many are ready, or too many bytes held.

        With `keep_order` the bytes may be those of items that wait for an earlier one.  Its command
        has started, so the wait ends.

        Args:
            number: the number of the item.
            ended: the item; None: its command never ran, so there is nothing to take.
            weight: the bytes of the item.

        Cancellation: the item has been added.
        """
        weighed = None if ended is None else _Weighed(ended, weight)
        self._held += weight
        if self._keep_order:
            self._early[number] = weighed
            while self._due in self._early:
                self._add(self._early.pop(self._due))
                self._due += 1
            self._taken.notify_all()
        else:
            self._add(weighed)
        if self._is_full():
            await self._taken.wait_for(lambda: not self._is_full() or self._takes_all)

    async def take(self) -> T | None:
        """Wait for the next item and return it; None if there will be no more.

        Cancellation: nothing is lost.
        """
        await checkpoint_if_cancelled()
        await self._put.wait_for(lambda: bool(self._ready) or self._is_closed)
        if not self._ready:
            return None
        item, weight = self._ready.popleft()
        self._held -= weight
        self._taken.notify_all()
        return item

    def take_all(self) -> None:
        """Let `put` and `admit` wait no more: a kill has come."""
        self._takes_all = True
        self._taken.notify_all()

    def close(self) -> None:
        """Let `take` return None when nothing is left: all has ended."""
        for number in sorted(self._early):  # later than a command that never ran
            self._add(self._early.pop(number))
        self._is_closed = True
        self._put.notify_all()

    def _is_full(self) -> bool:
        return len(self._ready) > self._size or self._held > self._budget

    def _add(self, weighed: _Weighed[T] | None) -> None:
        if weighed is not None:
            self._ready.append(weighed)
            self._put.notify_all()


class _Weighed(NamedTuple, Generic[T]):
    """An item, and how many bytes it has."""

    item: T
    weight: int
