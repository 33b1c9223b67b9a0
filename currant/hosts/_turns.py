"""`Turns`: limits how many hosts are connected to at a time.

A login by ssh takes a tenth of a second of processor time.  If a thousand logins began at once, all
of them would exceed the time limit of a connection, and none would succeed.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from anyio.abc import TaskGroup

__all__ = ["AT_A_TIME", "Turns"]


AT_A_TIME = 32
"""How many hosts are connected to at a time."""

LONGEST = 3.0
"""Seconds after which a turn ends early: a host that does not answer takes no processor time."""


class Turns:
    """Lets `AT_A_TIME` tasks have a turn at the same time; the others wait.

    Args:
        tasks: runs a task for each turn, until the turn ends.
    """

    def __init__(self, tasks: TaskGroup) -> None:
        self._tasks = tasks
        self._free = anyio.Semaphore(AT_A_TIME)

    @asynccontextmanager
    async def take(self) -> AsyncGenerator[None]:
        """Wait for a turn, which ends with the block, or after `LONGEST` seconds.

        Cancellation: the turn goes to another task.
        """
        await self._free.acquire()
        over = anyio.Event()
        self._tasks.start_soon(self._pass_on, over)
        try:
            yield
        finally:
            over.set()

    async def _pass_on(self, over: anyio.Event) -> None:
        try:
            with anyio.move_on_after(LONGEST):
                await over.wait()
        finally:
            self._free.release()
