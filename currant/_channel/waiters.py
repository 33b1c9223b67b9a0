"""Which tasks wait for the commands."""

from __future__ import annotations

from collections import Counter

import anyio

__all__ = ["Waiters"]


class Waiters:
    """Knows which tasks wait for the commands, and so do not read."""

    def __init__(self) -> None:
        self._tasks: Counter[int] = Counter()

    def __bool__(self) -> bool:
        """Tell whether a task waits for the commands."""
        return bool(self._tasks)

    def __contains__(self, task: int) -> bool:
        """Tell whether the task of that id waits for the commands."""
        return task in self._tasks

    def add_current_task(self) -> None:
        """Mark the current task as one that waits for good: it is leaving the block."""
        self._tasks[anyio.get_current_task().id] += 1

    def remove_current_task(self) -> None:
        """Take one mark of the current task back."""
        task = anyio.get_current_task().id
        self._tasks[task] -= 1
        if not self._tasks[task]:
            del self._tasks[task]
