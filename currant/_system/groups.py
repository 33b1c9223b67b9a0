"""Process groups as the operating system has them: signals to them, and who is alive in them.

The only home of `os.killpg`, ``/proc`` and `sys.platform`.

A group is signalled through a pidfd of its leader where the system can (Linux 6.9 and later):
opened while the leader is there, that never means a stranger, even after it has been reaped.
Elsewhere by its number.

Whether a group is alive is read from the states of its members, not from ``killpg(pgid, 0)`` alone:
that goes on succeeding while zombies are left, and below a PID 1 that reaps late they are left for
good.  The other way round it is exact and cheap: once it fails, the group is empty.

A group's number belongs to it until its leader has been reaped and its last member is gone; from
then on the system may give it to strangers, so a `ProcessGroup` that was found empty is never
signalled again.
"""

from __future__ import annotations

import os
import signal as signals
import sys
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

from currant._system.proc import (
    ALIVE,
    Census,
    has_proc,
    latest_census,
    state_in,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["ProcessGroup", "has_pidfds", "kill_unreaped", "require_posix"]


_PIDFD_SIGNAL_PROCESS_GROUP = 1 << 2  # <linux/pidfd.h>


def require_posix() -> None:
    """Raise `NotImplementedError` where there are no sessions and process groups."""
    if os.name != "posix":
        raise NotImplementedError(
            f"currant runs processes on Linux and macOS; {sys.platform} has no process groups"
        )


@cache
def has_pidfds() -> bool:
    """Tell whether the system has pidfds (Linux 5.3 and later); a container may forbid them."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


def kill_unreaped(leader: int) -> None:
    """Kill the group of a child of ours that has not been reaped, so that it still has its number.

    To be called right after its start only.
    """
    with suppress(ProcessLookupError):
        os.killpg(leader, signals.SIGKILL)


class ProcessGroup:
    """The process group of a leader that was started in a session of its own.

    Args:
        leader: the leader's number.
        pidfd: its pidfd, lent until the group is closed; None: the group opens one of its own.

    Attributes:
        id: the group's number, which is its leader's.
    """

    __slots__ = ("_alive", "_own_pidfd", "_pidfd", "_seen", "_vacant", "id")

    def __init__(self, leader: int, pidfd: int | None = None) -> None:
        self.id = leader
        self._vacant = False
        self._own_pidfd = _open_pidfd(leader) if pidfd is None else None
        self._pidfd = self._own_pidfd if pidfd is None else pidfd
        try:
            if self._pidfd is not None and not _reaches_group(self._pidfd):
                self._let_pidfd_go()
        except ProcessLookupError:
            self.close()
        self._alive: list[int] = [leader]  # those who were when they were looked at last
        self._seen: tuple[int, dict[int, str]] | None = None

    def __repr__(self) -> str:
        return f"<ProcessGroup {self.id}{' vacant' if self._vacant else ''}>"

    def send(self, signal: int) -> bool:
        """Send `signal` to every member; return whether there was one."""
        if self._vacant:
            return False
        try:
            self._signal(signal)
        except ProcessLookupError:
            self._vacant = True  # the system would say so of a leader that nobody has reaped
            return False
        except PermissionError:
            # On macOS a group of zombies; on Linux one whose members all changed their user.
            return False
        return True

    def close(self) -> None:
        """Free the group's handle; it is not signalled again."""
        self._vacant = True
        self._let_pidfd_go()

    def is_vacant_by_census(self) -> bool:
        """Tell whether nobody is left, from a list of processes that all groups share.

        To be asked again after a while until it is: the first time it only looks.
        """
        self._vacant = self._vacant or not self._has_members(self._has_live_member_by_census)
        return self._vacant

    def leader_is_alive(self) -> bool:
        """Tell whether the leader runs; only to be asked until it has been reaped."""
        try:
            return state_in(self.id, self.id) in ALIVE if has_proc() else True
        except OSError:  # no file left to look with
            return True

    def check_vacant(self) -> bool:
        """Tell whether nobody is left; without /proc, a leader that is a zombie counts as left."""
        self._vacant = self._vacant or not self._has_members(self._has_live_member)
        return self._vacant

    def _let_pidfd_go(self) -> None:
        if self._own_pidfd is not None:
            os.close(self._own_pidfd)
        self._pidfd = self._own_pidfd = None

    def _signal(self, signal: int) -> None:
        if self._pidfd is not None:
            signals.pidfd_send_signal(self._pidfd, signal, None, _PIDFD_SIGNAL_PROCESS_GROUP)
        else:
            os.killpg(self.id, signal)

    def _has_members(self, has_live_member: Callable[[], bool]) -> bool:
        try:
            self._signal(0)
        except ProcessLookupError:
            return False
        except PermissionError:
            if not has_proc():
                return False
        try:
            return not has_proc() or has_live_member()
        except OSError:  # no file left to look with: look again later
            return True

    # The system takes a group of zombies for one that exists.  Zombies that stay the same in two
    # looks are all there is; any change is a member that forked and ended between the listing of
    # all processes and the look at it.

    def _has_live_member(self) -> bool:
        """Look twice, now."""
        if self._is_still_alive():
            return True
        before, now = (self._look_at(Census().members(self.id)) for _ in range(2))
        return bool(self._alive) or not now or before != now

    def _has_live_member_by_census(self) -> bool:
        """Look once, and compare with the last look; groups that wait share a list of processes."""
        if self._is_still_alive():
            return True
        census = latest_census()
        before, now = self._seen, self._look_at(census.members(self.id))
        self._seen = (census.number, now)
        if before is None or before[0] == census.number:
            return True  # to be compared with the next one
        return bool(self._alive) or not now or before[1] != now

    def _is_still_alive(self) -> bool:
        return any(state_in(pid, self.id) in ALIVE for pid in self._alive)

    def _look_at(self, pids: Sequence[int]) -> dict[int, str]:
        """Return the states of those who are members."""
        states = {pid: state for pid in pids if (state := state_in(pid, self.id))}
        self._alive = [pid for pid, state in states.items() if state in ALIVE]
        return states


def _open_pidfd(leader: int) -> int | None:
    try:
        return os.pidfd_open(leader)
    except (AttributeError, OSError):  # no such call, no descriptor left, or it has been reaped
        return None


def _reaches_group(pidfd: int) -> bool:
    """Tell whether signals can be sent by the pidfd of a leader to its whole group.

    Raises:
        ProcessLookupError: nobody is left in the group.
    """
    try:
        signals.pidfd_send_signal(pidfd, 0, None, _PIDFD_SIGNAL_PROCESS_GROUP)
    except ProcessLookupError:
        raise
    except (AttributeError, OSError):  # a system before 6.9
        return False
    return True
