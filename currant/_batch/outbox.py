"""`Outbox`: the results on the way from the commands to the caller."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from anyio.lowlevel import checkpoint_if_cancelled

from currant._synchronization import Notifier

__all__ = ["Outbox"]

T = TypeVar("T")


class Outbox(Generic[T]):
    """Holds the items that have ended until the caller takes them.

    Args:
        size: how many items may be ready to take before `put` waits.  So commands wait for the
            caller.
        window: with `keep_order`: how many items later than the first unfinished one may start.
        keep_order: whether items leave in the order of their numbers, which begin with 1, and not
            in the order of their ends.
    """

    def __init__(self, size: int, window: int, *, keep_order: bool) -> None:
        self._size, self._window, self._keep_order = size, window, keep_order
        self._ready: deque[T] = deque()
        self._early: dict[int, T | None] = {}  # by number; a smaller number is missing
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

    async def put(self, number: int, ended: T | None) -> None:
        """Add an item that has ended, and wait while too many are ready.

        Args:
            number: the number of the item.
            ended: the item; None: its command never ran, so there is nothing to take.

        Cancellation: the item has been added.
        """
        if self._keep_order:
            self._early[number] = ended
            while self._due in self._early:
                self._add(self._early.pop(self._due))
                self._due += 1
            self._taken.notify_all()
        else:
            self._add(ended)
        if len(self._ready) > self._size:
            await self._taken.wait_for(lambda: len(self._ready) <= self._size or self._takes_all)

    async def take(self) -> T | None:
        """Wait for the next item and return it; None if there will be no more.

        Cancellation: nothing is lost.
        """
        await checkpoint_if_cancelled()
        await self._put.wait_for(lambda: bool(self._ready) or self._is_closed)
        if not self._ready:
            return None
        self._taken.notify_all()
        return self._ready.popleft()

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

    def _add(self, ended: T | None) -> None:
        if ended is not None:
            self._ready.append(ended)
            self._put.notify_all()
