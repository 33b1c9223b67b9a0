"""`Watch`: one wait for the exit of a process and for its first output.

Most commands of a batch write nothing to one of their streams, and many write nothing at all.  A
task that only waits for the end of such a stream costs as much as a third of the rest.  So the task
that waits for the exit also waits for output, and a stream has a task of its own from its first
byte on.

An epoll (Linux) holds the pidfd and both pipes.  Every event loop can wait for an epoll as it waits
for a pipe, so this takes one registration in place of three.
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING

import anyio

from currant._process.launcher import Activity
from currant._synchronization import Notifier
from currant._system.forks import close_in_forks, no_fork

if TYPE_CHECKING:
    from collections.abc import Mapping

    from currant._process.pipes import OutputPipe
    from currant._values.lines import StreamName

__all__ = ["Watch"]


class Watch:
    """Watches a process until its exit, and each of its streams until the first output.

    Args:
        pidfd: of the process.
        streams: the pipes to read from, by the names of the streams.

    Attributes:
        is_waited_for: whether a task waits in `next`.
        resumed: is notified when that task goes on.
    """

    def __init__(self, pidfd: int, streams: Mapping[StreamName, OutputPipe]) -> None:
        self._streams: dict[int, tuple[StreamName, OutputPipe]] = {
            pipe.fileno(): (name, pipe) for name, pipe in streams.items()
        }
        self.is_waited_for = False
        self.resumed = Notifier()
        with no_fork:
            self._epoll = select.epoll(1 + len(streams))
            close_in_forks(self)
        for fd in (pidfd, *self._streams):
            self._epoll.register(fd, select.EPOLLIN)

    async def next(self) -> Activity:
        """Return what has happened; see `ProcessWatch.next`.

        Not a checkpoint if something has happened already.
        """
        while True:
            if self._epoll.closed:
                raise anyio.ClosedResourceError
            if events := self._epoll.poll(0):
                return self._as_activity(events)
            self.is_waited_for = True
            try:
                await anyio.wait_readable(self._epoll.fileno())
            finally:
                self.is_waited_for = False
                self.resumed.notify_all()

    def _as_activity(self, events: list[tuple[int, int]]) -> Activity:
        begun: list[StreamName] = []
        ended: list[StreamName] = []
        has_exited = False
        for fd, event in events:
            if fd not in self._streams:
                has_exited = True
                continue
            self._epoll.unregister(fd)
            name, pipe = self._streams.pop(fd)
            if event & select.EPOLLIN:
                begun.append(name)
            else:  # No process has the other end, and the pipe is empty.
                pipe.note_end()
                ended.append(name)
        return Activity(has_exited, tuple(begun), tuple(ended))

    def close(self) -> None:
        """Watch no longer; a task that waits gets `ClosedResourceError`."""
        with no_fork:
            if not self._epoll.closed:
                if self.is_waited_for:
                    anyio.notify_closing(self._epoll.fileno())
                self._epoll.close()

    def close_in_fork(self) -> None:
        """Close the epoll in a fork."""
        self._epoll.close()
