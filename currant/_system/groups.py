"""Process groups: send signals to them, and find out whether a member is still alive.

A group is signalled through a pidfd of the leader if the system can do that (Linux 6.9 and later).
A pidfd that was opened while the leader existed never reaches another process's group, even after
the leader has been reaped.  On other systems the group is signalled by number.

Whether a group is alive is read from the states of its members.  ``killpg(pgid, 0)`` is not
enough: the call succeeds while zombies are left, and a PID 1 that never reaps leaves them for good.
A failure, however, is exact and cheap: once the call fails, the group is empty.

A group owns its number until the leader has been reaped and the last member is gone.  From then on
the system may give the number to another process, so a `ProcessGroup` that was found empty is never
signalled again.
"""

from __future__ import annotations

import os
import signal as signals
import sys
from contextlib import suppress
from functools import cache
from math import inf
from time import monotonic
from typing import TYPE_CHECKING

from currant._system.forks import close_in_forks, no_fork
from currant._system.proc import ALIVE, has_proc, latest_snapshot, state_in

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["LOOK_INTERVAL", "ProcessGroup", "has_pidfds", "kill_unreaped", "require_posix"]


LOOK_INTERVAL = 0.001
"""Seconds between two looks at a group; PID 1 reaps most members in less than that."""


_PIDFD_SIGNAL_PROCESS_GROUP = 1 << 2  # <linux/pidfd.h>


def require_posix() -> None:
    """Raise `NotImplementedError` on a system without sessions and process groups."""
    if os.name != "posix":
        raise NotImplementedError(
            f"currant runs processes on Linux and macOS; {sys.platform} has no process groups"
        )


@cache
def has_pidfds() -> bool:
    """Return whether the system has pidfds (Linux 5.3 and later) and allows them."""
    try:
        with no_fork:
            os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):  # OSError: a container may forbid them.
        return False
    return True


def kill_unreaped(leader: int) -> None:
    """Kill the group of a child of ours that has not been reaped, and so still has its number.

    Only for a leader that was started just now.
    """
    with suppress(ProcessLookupError):
        os.killpg(leader, signals.SIGKILL)


class ProcessGroup:
    """The process group of a leader, which was started as such.

    Args:
        leader: the leader's pid.
        pidfd: the leader's pidfd, lent until the group is closed; None: the group opens a pidfd.

    Attributes:
        id: the group's number, which is the leader's pid.
    """

    __slots__ = (
        "__weakref__",
        "_alive",
        "_is_empty",
        "_looked_at",
        "_own_pidfd",
        "_pidfd",
        "_zombies",
        "id",
    )

    def __init__(self, leader: int, pidfd: int | None = None) -> None:
        self.id = leader
        self._is_empty = False
        with no_fork:
            self._own_pidfd = _open_pidfd(leader) if pidfd is None else None
            close_in_forks(self)
        self._pidfd = self._own_pidfd if pidfd is None else pidfd
        try:
            if self._pidfd is not None and not _reaches_group(self._pidfd):
                self._release_pidfd()
        except ProcessLookupError:
            self.close()
        self._alive: Sequence[int] = [leader]  # the members that were alive at the last look
        self._zombies: set[int] = set()  # the members that were not
        self._looked_at: float | None = None  # the monotonic time of the last look

    def __repr__(self) -> str:
        return f"<ProcessGroup {self.id}{' empty' if self._is_empty else ''}>"

    def send(self, *numbers: int) -> bool:
        """Send signals in this order to all members; return whether the first was delivered.

        A member that changed its user, so that we may not signal it, does not count.
        """
        reached = [self._try_to_send(number) for number in numbers]
        return reached[0]

    def send_to_leader(self, number: int) -> bool:
        """Send a signal to the leader alone; return whether it was delivered.

        Only valid until the leader has been reaped.
        """
        if self._is_empty:
            return False
        try:
            if self._pidfd is not None:
                signals.pidfd_send_signal(self._pidfd, number)
            else:
                os.kill(self.id, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def close(self) -> None:
        """Release the group's pidfd; the group is not signalled again."""
        self._is_empty = True
        self._release_pidfd()

    def close_in_fork(self) -> None:
        """Release the pidfd in a fork, and signal the group never again."""
        self.close()

    def leader_is_alive(self) -> bool:
        """Return whether the leader runs.  Only valid until the leader has been reaped."""
        try:
            return state_in(self.id, self.id) in ALIVE if has_proc() else True
        except OSError:  # No file descriptor is left to look with.
            return True

    def is_empty(self) -> bool:
        """Return whether it is known that no member is alive: repeat the call after a pause.

        For a group of zombies, that takes two snapshots of all processes after the first call, and
        all groups share the snapshots.  A leader that is our child must have been reaped before
        the first call.  Without ``/proc``, a zombie counts as alive.
        """
        self._is_empty = self._is_empty or not self._exists() or self._has_only_zombies()
        return self._is_empty

    def has_live_member(self) -> bool:
        """Return whether a member is alive; a snapshot counts if it is newer than the last look."""
        if self._is_empty or not self._exists():
            return False
        try:
            if not has_proc() or self._is_alive(self._alive):
                return True
            # An old snapshot may show a live member, but does not prove that there is none.
            since = monotonic() if self._looked_at is None else self._looked_at
            snapshots = (latest_snapshot(after) for after in (-inf, since))
            return any(self._is_alive(snapshot.members(self.id)) for snapshot in snapshots)
        except OSError:  # No file descriptor is left to look with.
            return True

    def is_forbidden(self) -> bool:
        """Return whether a member is alive, and this program may signal no member.

        Without ``/proc`` that looks like a group of zombies, so the result is False.
        """
        if self._is_empty or not has_proc():
            return False
        try:
            self._signal(0)
        except PermissionError:
            return self.has_live_member()
        except ProcessLookupError:
            pass
        return False

    def _release_pidfd(self) -> None:
        with no_fork:
            if self._own_pidfd is not None:
                os.close(self._own_pidfd)
            self._pidfd = self._own_pidfd = None

    def _try_to_send(self, signal: int) -> bool:
        if self._is_empty:
            return False
        try:
            self._signal(signal)
        except ProcessLookupError:
            self._is_empty = True
            return False
        except PermissionError:
            # On macOS a group of zombies; on Linux a group of members that all changed their user.
            return False
        return True

    def _signal(self, signal: int) -> None:
        if self._pidfd is not None:
            signals.pidfd_send_signal(self._pidfd, signal, None, _PIDFD_SIGNAL_PROCESS_GROUP)
        else:
            os.killpg(self.id, signal)

    def _exists(self) -> bool:
        """Return whether the system still has the group; it may consist of zombies."""
        try:
            self._signal(0)
        except ProcessLookupError:
            self._is_empty = True  # An unreaped leader would still be found.
            return False
        except PermissionError:
            return has_proc()  # On macOS a group of zombies.
        return True

    # To the system a group of zombies exists.  If a look finds zombies alone, and a snapshot that
    # begins later shows no other member, the group is gone.  Another member means that a member
    # forked and ended between the first snapshot and the look at that member.

    def _has_only_zombies(self) -> bool:
        """Look once, and return whether this look and the last one show that the group is gone.

        The first call only notes the time: most groups are gone a moment later.
        """
        try:
            if not has_proc() or self._is_alive(self._alive):
                return False
            now = monotonic()
            if self._looked_at is None:
                self._alive, self._looked_at = (), now
                return False
            if now < self._looked_at + LOOK_INTERVAL:
                return False
            snapshot = latest_snapshot()
            if snapshot.taken_at <= self._looked_at:
                return False  # The next snapshot decides.
            members = snapshot.members(self.id)
            if members and not self._alive and self._zombies.issuperset(members):
                return True
            self._look_at(members)
        except OSError:  # No file descriptor is left to look with; the caller looks again later.
            pass
        return False

    def _look_at(self, members: Sequence[int]) -> None:
        states = {pid: state for pid in members if (state := state_in(pid, self.id))}
        self._alive = [pid for pid, state in states.items() if state in ALIVE]
        self._zombies = states.keys() - set(self._alive)
        self._looked_at = monotonic()

    def _is_alive(self, pids: Sequence[int]) -> bool:
        """Return whether one of those `pids` is a member that is alive."""
        return any(state_in(pid, self.id) in ALIVE for pid in pids)


def _open_pidfd(leader: int) -> int | None:
    try:
        return os.pidfd_open(leader)
    except (AttributeError, OSError):  # No such call, no descriptor left, or a reaped leader.
        return None


def _reaches_group(pidfd: int) -> bool:
    """Return whether the pidfd of a leader can signal the leader's whole group.

    Raises:
        ProcessLookupError: the group is empty.
    """
    try:
        signals.pidfd_send_signal(pidfd, 0, None, _PIDFD_SIGNAL_PROCESS_GROUP)
    except ProcessLookupError:
        raise
    except (AttributeError, OSError):  # Linux before 6.9
        return False
    return True
