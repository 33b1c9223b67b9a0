"""`ReaderTask`: which task reads, if tasks come and go."""

from __future__ import annotations

import anyio

from currant._synchronization import running_loop

__all__ = ["ReaderTask", "current_task"]


class ReaderTask:
    """The task of one reader.

    A step may run in a separate task (`asyncio.wait_for` on Python 3.11).  If that task has ended,
    the task that made the reader counts.

    Attributes:
        created_by: the task that made the reader.
        stepped_by: the task of the last step; None before the first.
    """

    __slots__ = ("created_by", "stepped_by")

    def __init__(self) -> None:
        self.created_by: anyio.TaskInfo | None = None
        self.stepped_by: anyio.TaskInfo | None = None

    @property
    def task(self) -> anyio.TaskInfo | None:
        """The task that reads; None if that task has ended."""
        for task in (self.stepped_by, self.created_by):
            if task is not None and not _has_ended(task):
                return task
        return None

    @property
    def step_has_ended(self) -> bool:
        """Whether the task of the last step has ended."""
        return self.stepped_by is not None and _has_ended(self.stepped_by)


def current_task() -> anyio.TaskInfo | None:
    """Return the current task; None in a callback of the event loop, which is in no task.

    Raises:
        RuntimeError: no event loop runs in this thread.
    """
    try:
        return anyio.get_current_task()
    except (TypeError, RuntimeError):  # Which one depends on what has started the event loop.
        running_loop()
        return None


def _has_ended(task: anyio.TaskInfo) -> bool:
    return getattr(task.coro, "cr_frame", task) is None
