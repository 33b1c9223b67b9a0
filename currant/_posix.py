"""Process groups as the operating system has them: signals to them, and who is alive in them.

The only home of `os.killpg`, ``/proc`` and `sys.platform`.

Whether a group is alive is read from the states of its members, not from ``killpg(pgid, 0)`` alone:
that goes on succeeding while zombies are left, and below a PID 1 that reaps late they are left for
good.  The other way round it is exact and cheap: once it fails, the group is empty.

A group's number belongs to it until its leader has been reaped and its last member is gone; from
then on the system may give it to strangers, so a `ProcessGroup` that was found empty is never
signalled again.
"""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path

__all__ = ["ProcessGroup", "bytes_in_pipe", "require_posix"]

_HAS_PROC = sys.platform == "linux"
_ALIVE = frozenset("RSDTtIKWP")  # all but Z, a zombie, and X, dead: see proc(5)


def require_posix() -> None:
    """Raise `NotImplementedError` where there are no sessions and process groups."""
    if os.name != "posix":
        raise NotImplementedError(
            f"currant runs processes on Linux and macOS; {sys.platform} has no process groups"
        )


def bytes_in_pipe(fd: int) -> int:
    """Return how many bytes a pipe holds that nobody has read."""
    # Imported here, so that elsewhere `require_posix` can say what is wrong.
    import fcntl  # noqa: PLC0415
    import termios  # noqa: PLC0415

    (count,) = struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, bytes(4)))
    return int(count)


class ProcessGroup:
    """The process group of a leader that was started in a session of its own.

    Attributes:
        id: the group's number, which is its leader's.
    """

    __slots__ = ("_members", "_vacant", "id")

    def __init__(self, leader: int) -> None:
        self.id = leader
        self._vacant = False
        self._members: list[int] = [leader]

    def __repr__(self) -> str:
        return f"<ProcessGroup {self.id}{' vacant' if self._vacant else ''}>"

    def send(self, signal: int) -> bool:
        """Send `signal` to every member; return whether there was one."""
        if self._vacant:
            return False
        try:
            os.killpg(self.id, signal)
        except ProcessLookupError:
            return False
        except PermissionError:
            # On macOS a group of zombies; on Linux one whose members all changed their user.
            return False
        return True

    def leader_is_alive(self) -> bool:
        """Tell whether the leader runs; only to be asked until it has been reaped."""
        return _state(self.id, self.id) in _ALIVE if _HAS_PROC else True

    def check_vacant(self) -> bool:
        """Tell whether nobody is left; only to be asked after the leader has been reaped."""
        self._vacant = self._vacant or not self._find_members()
        return self._vacant

    def _find_members(self) -> bool:
        try:
            os.killpg(self.id, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            if not _HAS_PROC:
                return False
        if not _HAS_PROC:
            return True
        # Those seen last time are looked at first: walking all of /proc costs 10 µs a process.
        if any(_state(pid, self.id) in _ALIVE for pid in self._members):
            return True
        before, now = self._walk_proc(), self._walk_proc()
        self._members = [pid for pid, state in now.items() if state in _ALIVE]
        # Zombies that stay the same are why the system takes the group for one that exists.  Any
        # change is a member that forked and ended between the listing and the look at it.
        return bool(self._members) or not now or before != now

    def _walk_proc(self) -> dict[int, str]:
        """Return the states of all members by their number."""
        pids = [int(name) for name in os.listdir("/proc") if name.isdecimal()]
        return {pid: state for pid in pids if (state := _state(pid, self.id))}


def _state(pid: int, group: int) -> str | None:
    """Return the letter of the process's state; None where it is not there, or not of `group`."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # "pid (name) state ppid pgrp …"; the name may hold blanks and parentheses.
    state, _, pgrp = stat[stat.rindex(b")") + 2 :].split(None, 3)[:3]
    return state.decode() if int(pgrp) == group else None
