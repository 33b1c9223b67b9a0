"""What ``/proc`` shows of processes: their states, groups, parents and environments (Linux)."""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from functools import cache
from math import inf
from signal import SIGKILL
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "ALIVE",
    "ProcessSnapshot",
    "cpu_and_memory_of",
    "environment_of",
    "group_and_session",
    "has_proc",
    "is_ending",
    "is_starting",
    "latest_snapshot",
    "name_of",
    "parent_of",
    "process_numbers",
    "process_numbers_after",
    "seconds_to_next_snapshot",
    "start_time_of",
    "state_in",
]


KILL_BIT = 1 << (SIGKILL - 1)
"""SIGKILL in a set of signals of ``/proc/PID/status``."""

EXITING = 0x4 | 0x400
"""PF_EXITING and PF_SIGNALED, flags in ``/proc/PID/stat``."""


@cache
def has_proc() -> bool:
    """Return whether there is a ``/proc`` that shows the pids that system calls take."""
    try:
        # This may be the /proc of a container's host, which shows other pids.
        return sys.platform == "linux" and os.readlink("/proc/self") == str(os.getpid())
    except OSError:
        return False


ALIVE = frozenset("RSDTtIKWP")
"""All states but Z, a zombie, and X, dead: see proc(5)."""


class ProcessSnapshot:
    """The members of every process group at one moment; it takes about a µs per process.

    Attributes:
        taken_at: the monotonic time of the start.
        expires_at: the monotonic time until which the snapshot is shared.
    """

    def __init__(self) -> None:
        self.taken_at = monotonic()
        self._members: defaultdict[int, list[int]] = defaultdict(list)
        for pid in process_numbers():
            self._members[_group_of(pid)].append(pid)
        now = monotonic()
        shared = (now - self.taken_at) * SHARED_FOR
        self.expires_at = now + min(max(shared, MIN_SHARED), MAX_SHARED)

    def members(self, group: int) -> Sequence[int]:
        """Return the pids of the members of `group`."""
        return self._members.get(group, ())


SHARED_FOR = 4
"""How many times as long as it took a snapshot is shared: snapshots take a fifth of the time."""

MIN_SHARED, MAX_SHARED = 0.001, 0.1
"""Seconds for which a snapshot is shared; this program may be suspended while it takes one."""

_snapshot: ProcessSnapshot | None = None


def latest_snapshot(after: float = -inf) -> ProcessSnapshot:
    """Return a snapshot that has not expired; all groups of this process share it.

    Args:
        after: a monotonic time; a snapshot that began earlier does not count.
    """
    global _snapshot  # noqa: PLW0603 - /proc is the same for all Runners of this process
    snapshot = _snapshot
    if snapshot is None or snapshot.taken_at <= after or monotonic() >= snapshot.expires_at:
        _snapshot = snapshot = ProcessSnapshot()
    return snapshot


def seconds_to_next_snapshot() -> float:
    """Return for how long the latest snapshot is still shared."""
    return 0.0 if _snapshot is None else max(0.0, _snapshot.expires_at - monotonic())


def process_numbers() -> list[int]:
    """Return the pids of all processes; none if the system does not show them.

    Raises:
        OSError: this process has no file descriptor left to read ``/proc``.
    """
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()] if has_proc() else []


MAX_LOOKUPS = 100
"""How many numbers are looked up one by one; listing ``/proc`` costs about as much."""


def process_numbers_after(first: int) -> Sequence[int]:
    """Return the pids of all processes that are younger than the process `first`.

    Among them may be numbers of threads, and numbers without a process.  Linux numbers processes in
    the order of their starts, and begins again after the highest number (``pid_max``, at least
    32768).  So the result is only right for as long as that many starts take.

    Raises:
        OSError: this process has no file descriptor left to read ``/proc``.
    """
    last = _last_number()
    if last < first:  # The numbers have begun again, or the system does not tell the last one.
        return process_numbers()
    if last - first < MAX_LOOKUPS:
        return range(first + 1, last + 1)
    return [pid for pid in process_numbers() if first < pid <= last]


def _last_number() -> int:
    """Return the number that was given last to a process or thread: see proc_loadavg(5)."""
    loads = _read("/proc/loadavg") if has_proc() else None
    return 0 if loads is None else int(loads.split()[-1])


def _group_of(pid: int) -> int:
    """Return the number of a process's group; 0 as in `group_and_session`."""
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


def group_and_session(pid: int) -> tuple[int, int]:
    """Return the numbers of the process group and the session of a process.

    Both are 0 for a kernel thread, and for a process that does not exist any more.
    """
    try:
        return os.getpgid(pid), os.getsid(pid)
    except ProcessLookupError:
        return 0, 0


def environment_of(pid: int) -> bytes | None:
    """Return the environment with which a process's program started; NUL ends each variable.

    The result is empty for a process without variables, for a zombie, and at the moment of an exec.
    The result is None if the process does not exist any more or belongs to another user.

    Raises:
        OSError: this process has no file descriptor left to read ``/proc``.
    """
    environment = _read(f"/proc/{pid}/environ")
    if not environment:
        # If the first thread of a process has ended, only the other threads show the environment.
        for thread in _other_threads(pid):
            environment = environment or _read(f"/proc/{pid}/task/{thread}/environ")
    return environment


def is_starting(pid: int, group: int) -> bool:
    """Return whether a process of `group` that shows no environment is in the middle of an exec.

    If so, the process shows no arguments either, yet is alive.

    Raises:
        OSError: this process has no file descriptor left to read ``/proc``.
    """
    return not _read(f"/proc/{pid}/cmdline") and state_in(pid, group) in ALIVE


def _other_threads(pid: int) -> list[str]:
    """Return the numbers of all threads of a process but the first."""
    try:
        return [thread for thread in os.listdir(f"/proc/{pid}/task") if thread != str(pid)]
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return []


def parent_of(pid: int) -> int | None:
    """Return the pid of a process's parent; None if the process does not exist any more."""
    fields = _stat_fields(pid, 2)
    return None if fields is None else int(fields[1])


def name_of(pid: int) -> str:
    """Return the name of a process, of at most 15 bytes; empty if the process does not exist."""
    return (_read(f"/proc/{pid}/comm") or b"").decode(errors="replace").rstrip("\n")


def state_in(pid: int, group: int) -> str | None:
    """Return the state of a process as a letter; None if the process is not in `group`."""
    fields = _stat_fields(pid, 18)
    if fields is None or int(fields[2]) != group:
        return None
    state, thread_count = fields[0], int(fields[17])
    if state == b"Z" and thread_count > 1:
        return "R"  # Only the first thread has ended.
    return state.decode()


def is_ending(pid: int) -> bool:
    """Return whether a process is about to end: a signal ends it, or it exits right now.

    Its files may be closed already, so that its clients have seen the end.
    """
    # The kernel first marks a process with SIGKILL, whatever the signal, and then sets the flags.
    for line in (_read(f"/proc/{pid}/status") or b"").splitlines():
        if line.startswith((b"SigPnd:", b"ShdPnd:")) and int(line.split()[1], 16) & KILL_BIT:
            return True
    fields = _stat_fields(pid, 7)
    return fields is not None and bool(int(fields[6]) & EXITING)


def start_time_of(pid: int) -> int | None:
    """Return when a process began, in ticks since the system did; None if it does not exist."""
    fields = _stat_fields(pid, 20)
    return None if fields is None else int(fields[19])


def cpu_and_memory_of(pid: int) -> tuple[int, int] | None:
    """Return the CPU time of a process in ticks, and its resident memory in pages.

    The time includes that of the children that it has reaped.  Return None if the process does not
    exist any more.
    """
    fields = _stat_fields(pid, 23)
    return None if fields is None else (sum(map(int, fields[11:15])), int(fields[21]))


def _stat_fields(pid: int, count: int) -> list[bytes] | None:
    """Return at least `count` fields of ``/proc/PID/stat``, from the state on."""
    stat = _read(f"/proc/{pid}/stat")
    # "pid (name) state ppid pgrp …"; the name may contain blanks and parentheses.
    return None if stat is None else stat[stat.rindex(b")") + 2 :].split(None, count)


def _read(path: str) -> bytes | None:
    """Return the content of a process's file, in a third of the time that `open` takes.

    Return None if the process does not exist any more or belongs to another user.
    """
    try:
        file = os.open(path, os.O_RDONLY)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    try:
        content = chunk = os.read(file, 65536)
        while len(chunk) == 65536:
            chunk = os.read(file, 65536)
            content += chunk
    except (ProcessLookupError, PermissionError):
        return None
    else:
        return content
    finally:
        os.close(file)
