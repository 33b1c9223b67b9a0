"""The event loop of a test run, in a thread, and calls into it."""

from __future__ import annotations

import os
from concurrent.futures import wait
from functools import partial
from time import CLOCK_MONOTONIC, clock_gettime
from typing import TYPE_CHECKING, Any, TypeVar

from anyio.from_thread import BlockingPortal
from anyio.lowlevel import current_token

from currant.blocking._background import Background
from currant.blocking._waiting import LOOK_AGAIN

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["EventLoop", "call"]

__tracebackhide__ = True  # pytest leaves these frames out

T = TypeVar("T")


class EventLoop:
    """An event loop in a thread, until `close`.

    Its clock goes on if a test replaces `time.monotonic`, as freezegun does.  Otherwise no wait of
    limited length would end, such as the grace of a stop.

    Attributes:
        portal: takes calls of other threads.
    """

    portal: BlockingPortal

    def __init__(self) -> None:
        self._process = os.getpid()
        self._background = Background(self._run, {"backend": "asyncio"}, None)
        self._background.start()

    async def _run(self) -> None:
        loop: Any = current_token().native_token
        loop.time = partial(clock_gettime, CLOCK_MONOTONIC)
        async with BlockingPortal() as self.portal:
            self._background.enter()
            await self.portal.sleep_until_stopped()

    @property
    def is_in_fork(self) -> bool:
        """Whether this process is a fork, which has no thread for the event loop."""
        return os.getpid() != self._process

    def close(self) -> None:
        """End the event loop, and wait for its end; in a fork, do nothing."""
        if not self.is_in_fork:
            self.portal.start_task_soon(self.portal.stop)
            self._background.wait_for_end()


def call(portal: BlockingPortal, function: Callable[[], Awaitable[T]]) -> T:
    """Await a function in the event loop, and return what it returns; Ctrl-C cancels it there."""
    running = portal.start_task_soon(function)
    try:
        while not running.done():
            wait([running], LOOK_AGAIN)
        return running.result()
    finally:
        running.cancel()  # This changes nothing if it has ended.
