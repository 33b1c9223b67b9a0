"""`call`: a call into the event loop that Ctrl-C in the thread of the tests interrupts."""

from __future__ import annotations

from concurrent.futures import wait
from typing import TYPE_CHECKING, TypeVar

from currant.blocking._waiting import LOOK_AGAIN

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from anyio.from_thread import BlockingPortal

__all__ = ["call"]

__tracebackhide__ = True  # pytest leaves these frames out

T = TypeVar("T")


def call(portal: BlockingPortal, function: Callable[[], Awaitable[T]]) -> T:
    """Await a function in the event loop, and return what it returns; Ctrl-C cancels it there."""
    running = portal.start_task_soon(function)
    try:
        while not running.done():
            wait([running], LOOK_AGAIN)
        return running.result()
    finally:
        running.cancel()  # This changes nothing if it has ended.
