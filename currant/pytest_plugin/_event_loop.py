"""`EventLoop`: the event loop of a test run, in a thread."""

from __future__ import annotations

import os

from anyio.from_thread import BlockingPortal

from currant.blocking._background import Background

__all__ = ["EventLoop"]


class EventLoop:
    """An event loop in a thread, until `close`.

    Attributes:
        portal: takes calls of other threads.
    """

    portal: BlockingPortal

    def __init__(self) -> None:
        self._process = os.getpid()
        self._background = Background(self._run, {"backend": "asyncio"}, None)
        self._background.start()

    async def _run(self) -> None:
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
