"""Waiting in a thread so that a signal handler of the thread can interrupt the wait.

A signal that arrives right before a thread begins to wait does not end the wait: Python runs the
handler when the wait is over.  This happens while the thread waits for its turn to run Python code,
which takes milliseconds if other threads are busy.  So a wait looks for signals again.
"""

from __future__ import annotations

from queue import Empty, SimpleQueue
from typing import TypeVar

__all__ = ["LOOK_AGAIN", "wait_for_item"]

__tracebackhide__ = True  # pytest leaves these frames out

LOOK_AGAIN = 0.5
"""Seconds after which a thread that waits looks for signals again."""

T = TypeVar("T")


def wait_for_item(queue: SimpleQueue[T]) -> T:
    """Wait until there is an item, and return it."""
    while True:
        try:
            return queue.get(timeout=LOOK_AGAIN)
        except Empty:
            pass
