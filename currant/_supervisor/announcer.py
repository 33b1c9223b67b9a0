"""`Announcer`: sends the messages of one attempt, and the start before all others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from currant._synchronization import start_task

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from currant._supervisor.context import JobContext
    from currant._values.messages import Aborted, Ready, Started

__all__ = ["Announcer"]


class Announcer:
    """Sends the messages of one attempt.

    Args:
        context: has the channel, and is notified of the start.
    """

    __slots__ = ("_context", "_has_started")

    def __init__(self, context: JobContext) -> None:
        self._context = context
        self._has_started = False

    def started_nowait(self, started: Started) -> bool:
        """Send `started` if there is room in the channel, and return whether there is."""
        self._has_started = self._context.send_nowait(started)
        return self._has_started

    async def started(self, started: Started) -> None:
        """Send `started`, and wait for room in the channel."""
        await self._context.send(started)
        self._has_started = True
        self._context.change.notify_all()

    def soon(self, message: Ready | Aborted, tasks: TaskGroup) -> None:
        """Send `message` from a task in `tasks`, after `Started`; return at once."""
        start_task(tasks, self._send_after_start, message)

    async def _send_after_start(self, message: Ready | Aborted) -> None:
        await self._context.change.wait_for(lambda: self._has_started)
        await self._context.send(message)
