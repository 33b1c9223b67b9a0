"""The tasks that wait for the commands.

A task in `join`, in `Job.wait` or at the end of the block cannot read at the same time.  A
subscription asks here whether to wait for its reader or to discard output, and so does a
transcript.  A counter, not a set, because the waits of a task may nest.
"""

from __future__ import annotations

from collections import Counter
from math import inf
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from currant._synchronization import Notifier

__all__ = ["Waiters"]


class Waiters:
    """The set of tasks that wait for the commands and therefore do not read.

    Attributes:
        ignore_readers: whether no reader counts as present any more: the block is left early.
        reader_timeout: seconds that a reader of a transcript may take for each step; infinity,
            until the block stops its commands.
        observers: are notified when a task begins to wait, and when the readers are ignored.
    """

    def __init__(self) -> None:
        self._tasks: Counter[int] = Counter()
        self.ignore_readers: bool = False
        self.reader_timeout: float = inf
        self.observers: Counter[Notifier] = Counter()

    def __bool__(self) -> bool:
        """Return whether any task waits for the commands."""
        return bool(self._tasks)

    def __contains__(self, task: int) -> bool:
        """Return whether the task with this id waits for the commands."""
        return task in self._tasks

    def add_current_task(self) -> None:
        """Mark the current task as waiting; call `remove_current_task` to undo that."""
        self._tasks[anyio.get_current_task().id] += 1
        self._notify()

    def remove_current_task(self) -> None:
        """Undo one call of `add_current_task` by the current task."""
        task = anyio.get_current_task().id
        self._tasks[task] -= 1
        if not self._tasks[task]:
            del self._tasks[task]

    def ignore_all_readers(self) -> None:
        """Count no reader as present any more."""
        self.ignore_readers = True
        self._notify()

    def limit_readers(self, seconds: float) -> None:
        """Limit the time that a reader of a transcript may take for each step."""
        self.reader_timeout = seconds
        self._notify()

    def _notify(self) -> None:
        for observer in self.observers:
            observer.notify_all()
