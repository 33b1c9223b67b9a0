"""`Deaths`: the processes that have ended although nobody asked them to.

A test that causes or sees a death may end before the event loop has learnt of it.  The kernel knows
sooner.  So `Deaths` asks the kernel whether a process is ending, and then waits for the message.
"""

from __future__ import annotations

import os
from threading import Condition
from typing import TYPE_CHECKING

from currant._system.proc import ALIVE, has_proc, is_ending, state_in
from currant._values.messages import Exited, Started

if TYPE_CHECKING:
    from collections.abc import Iterable

    from currant._values.command import Command
    from currant._values.exit import Exit
    from currant._values.messages import BatchMessage

__all__ = ["TIME_TO_TELL", "Deaths", "has_gone", "is_death"]

TIME_TO_TELL = 1.0
"""Seconds to wait for the message about a process that has started or exited.

An exit takes longer if the process has left other processes behind, which are stopped first.
"""


class Deaths:
    """Notes the ends of processes that nobody has asked to stop."""

    def __init__(self) -> None:
        self._change = Condition()
        self._running: dict[str, int] = {}  # pids, by the names of the commands
        self._attempts: dict[str, int] = {}  # how often each was started
        self._noted: list[Exited] = []

    def note(self, messages: Iterable[BatchMessage]) -> None:
        """Note the starts and the ends among the messages of a Runner."""
        with self._change:
            for message in messages:
                match message:
                    case Started(command=name, pid=pid, attempt=attempt):
                        self._running[name] = pid
                        self._attempts[name] = attempt
                    case Exited(command=name):
                        self._running.pop(name, None)
                        if not message.exit.stopped:
                            self._noted.append(message)
                    case _:
                        pass
            self._change.notify_all()

    def wait_for_start(self, name: str, attempt: int) -> None:
        """Wait for the message that a process has started, so that no end is overlooked."""
        with self._change:
            self._change.wait_for(lambda: self._attempts.get(name, 0) >= attempt, TIME_TO_TELL)

    def forget(self, name: str) -> None:
        """Leave out the ends of a process so far: its start has failed, and the caller knows."""
        with self._change:
            self._change.wait_for(lambda: name not in self._running, TIME_TO_TELL)
            self._noted = [end for end in self._noted if end.command != name]

    def take(self) -> list[Exited]:
        """Return the ends since the last call; wait for the message if a process is ending."""
        with self._change:
            if not self._change.wait_for(lambda: not self._ending(), TIME_TO_TELL):
                for name in self._ending():
                    del self._running[name]  # Its message takes longer: no other call waits for it.
            taken, self._noted = self._noted, []
        return taken

    def is_ending(self, name: str) -> bool:
        """Return whether a process is ending or has exited, and the message is still to come."""
        with self._change:
            return name in self._ending()

    def _ending(self) -> list[str]:
        """Return the commands for which `is_ending` is true."""
        return [name for name, pid in self._running.items() if is_ending(pid) or _has_exited(pid)]


def _has_exited(pid: int) -> bool:
    """Return whether a child has exited, reaped or not."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:  # currant has reaped it.
        return True


def has_gone(pid: int) -> bool:
    """Return whether a process is ending or has exited.

    Args:
        pid: the process, which leads its group; it need not be a child of this process.
    """
    if has_proc():
        return state_in(pid, pid) not in ALIVE or is_ending(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # It runs as another user.
    return False


def is_death(command: Command, end: Exit) -> bool:
    """Return whether an exit counts as a death, if nobody has asked for it.

    Each exit of a command with a `ready` probe does, because a server goes on until it is stopped.
    Of other commands, only a failure does.
    """
    return command.ready is not None or end.code not in command.success_codes
