"""Which commands may begin: the queue behind `max_processes`.

`decide` returns the commands to begin, and the commands to end without a start; the dispatcher does
both.  So the scheduler is pure, and tested by tables without an event loop.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import Generic, NamedTuple, TypeVar

__all__ = ["Scheduler", "Step"]

T = TypeVar("T")


class Step(NamedTuple, Generic[T]):
    """The next actions of the dispatcher.

    Attributes:
        begin: items to begin, in order; each item holds a slot until `release`.
        end: items that a kill has reached before they began.
    """

    begin: tuple[T, ...] = ()
    end: tuple[T, ...] = ()


class Scheduler(Generic[T]):
    """A queue in order of arrival, in front of a number of slots.

    Args:
        slots: how many items may be active at the same time; None: all.
    """

    def __init__(self, slots: int | None) -> None:
        self._slots = inf if slots is None else slots
        self._active = 0
        self._queue: deque[T] = deque()

    def add(self, item: T) -> None:
        """Put `item` at the end of the queue."""
        self._queue.append(item)

    def remove(self, item: T) -> bool:
        """Remove `item` from the queue; return False if the queue did not hold `item`."""
        try:
            self._queue.remove(item)
        except ValueError:
            return False
        return True

    def release(self) -> None:
        """Free the slot of an item that has ended."""
        self._active -= 1

    def decide(self, *, is_stopped: bool) -> Step[T]:
        """Remove the items to begin, or after a kill the items to end, from the queue.

        Args:
            is_stopped: whether a kill has come, so that no item begins.
        """
        if is_stopped:
            ending = tuple(self._queue)
            self._queue.clear()
            return Step(end=ending)
        beginning: list[T] = []
        while self._queue and self._active < self._slots:
            self._active += 1
            beginning.append(self._queue.popleft())
        return Step(begin=tuple(beginning))
