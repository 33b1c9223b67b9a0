"""Which commands may begin: the queue behind `max_processes`.

It decides and does nothing: `decide` returns what is to begin and what is to end without having
begun, and the dispatcher acts on that.  So it is tested by tables, without an event loop.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import inf
from typing import Generic, TypeVar

__all__ = ["Scheduler", "Step"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Step(Generic[T]):
    """What the dispatcher is to do now.

    Attributes:
        begin: items to begin, in order; each takes a slot until it is released.
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
        """Take `item` out of the queue; return whether it was there."""
        try:
            self._queue.remove(item)
        except ValueError:
            return False
        return True

    def release(self) -> None:
        """Free the slot of an item that has ended."""
        self._active -= 1

    def decide(self, *, is_stopped: bool) -> Step[T]:
        """Take out of the queue what is to begin or, after a kill, to end; take the slots.

        Args:
            is_stopped: whether a kill has come, after which nothing begins.
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
