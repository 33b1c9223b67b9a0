"""`Deaths`: the processes that have ended and were not asked to."""

from __future__ import annotations

import os
from contextlib import suppress
from threading import Condition
from typing import TYPE_CHECKING

from currant._system.proc import is_being_killed
from currant._values.messages import Exited, Started

if TYPE_CHECKING:
    from anyio.abc import ObjectReceiveStream

    from currant._values.messages import BatchMessage

__all__ = ["Deaths"]

TIME_TO_NOTICE = 1.0
"""Seconds to wait for the news of a process that has just exited."""


class Deaths:
    """Notes the ends of processes that nobody has asked to stop."""

    def __init__(self) -> None:
        self._change = Condition()
        self._running: dict[str, int] = {}  # pids, by the names of the commands
        self._noted: list[Exited] = []

    async def sink(self, messages: ObjectReceiveStream[BatchMessage]) -> None:
        """Take the messages of a Runner."""
        async for message in messages:
            with self._change:
                match message:
                    case Started(command=name, pid=pid):
                        self._running[name] = pid
                    case Exited(command=name):
                        self._running.pop(name, None)
                        if not message.exit.stopped:
                            self._noted.append(message)
                    case _:
                        continue
                self._change.notify_all()

    def take(self) -> list[Exited]:
        """Return the ends since the last call, also those of which the news is on its way."""
        with self._change:
            self._change.wait_for(lambda: not self._is_news_due(), TIME_TO_NOTICE)
            taken, self._noted = self._noted, []
        return taken

    def _is_news_due(self) -> bool:
        """Return whether a process has exited, or is being killed, that counts as running."""
        return any(_has_exited(pid) or is_being_killed(pid) for pid in self._running.values())


def _has_exited(pid: int) -> bool:
    """Return whether a child has exited and was not reaped."""
    with suppress(ChildProcessError):  # It was reaped, or runs on another host.
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    return False
