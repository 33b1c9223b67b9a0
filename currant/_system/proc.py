"""What ``/proc`` shows of processes: their states, groups, parents and environments (Linux)."""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from functools import cache
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "ALIVE",
    "CENSUS_AGE",
    "Census",
    "environment_of",
    "group_and_session",
    "has_proc",
    "is_starting",
    "latest_census",
    "parent_of",
    "process_numbers",
    "state_in",
]


@cache
def has_proc() -> bool:
    """Tell whether there is a ``/proc``, and its numbers are those that the system calls take."""
    try:
        # It may be that of a container's host, with other numbers.
        return sys.platform == "linux" and os.readlink("/proc/self") == str(os.getpid())
    except OSError:
        return False


ALIVE = frozenset("RSDTtIKWP")  # all but Z, a zombie, and X, dead: see proc(5)


class Census:
    """Which processes were in which group at one moment; it takes a few µs for each process.

    Attributes:
        number: tells censuses apart.
        taken_at: when it was begun.
    """

    _numbers = count()

    def __init__(self) -> None:
        self.number = next(self._numbers)
        self.taken_at = monotonic()
        self._members: defaultdict[int, list[int]] = defaultdict(list)
        for pid in process_numbers():
            self._members[group_and_session(pid)[0]].append(pid)

    def members(self, group: int) -> Sequence[int]:
        """Return the numbers of the members of `group`."""
        return self._members.get(group, ())


CENSUS_AGE = 0.01
"""Seconds after which a census is too old; taking one takes 1 ms where there are 500 processes."""

_census: Census | None = None


def latest_census() -> Census:
    global _census  # noqa: PLW0603 - /proc is the same for all Runners of this process
    if _census is None or monotonic() - _census.taken_at > CENSUS_AGE:
        _census = Census()
    return _census


def process_numbers() -> list[int]:
    """Return the numbers of all processes; none where the system does not show them.

    Raises:
        OSError: this process has no file descriptor left to look with.
    """
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()] if has_proc() else []


def group_and_session(pid: int) -> tuple[int, int]:
    """Return the numbers of the group and the session that a process is in.

    Both are 0 for a thread of the kernel's, and for a process that is gone.
    """
    try:
        return os.getpgid(pid), os.getsid(pid)
    except ProcessLookupError:
        return 0, 0


def environment_of(pid: int) -> bytes | None:
    """Return the variables that a process's program was started with, each ended by NUL.

    Empty where there are none, as those of a zombie, and in the moment in which a program starts;
    None where the process is gone or belongs to somebody else.

    Raises:
        OSError: this process has no file descriptor left to look with.
    """
    environment = _read(f"/proc/{pid}/environ")
    if not environment:
        # A process that has lost its first thread, but has others, shows it with those.
        for thread in _threads_of(pid):
            environment = environment or _read(f"/proc/{pid}/task/{thread}/environ")
    return environment


def is_starting(pid: int, group: int) -> bool:
    """Tell whether a process of `group` that shows no environment is in the middle of its exec.

    Then it shows no arguments either, and yet is alive.

    Raises:
        OSError: this process has no file descriptor left to look with.
    """
    return not _read(f"/proc/{pid}/cmdline") and state_in(pid, group) in ALIVE


def _threads_of(pid: int) -> list[str]:
    """Return the numbers of a process's threads, but for the first one."""
    try:
        return [thread for thread in os.listdir(f"/proc/{pid}/task") if thread != str(pid)]
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return []


def parent_of(pid: int) -> int | None:
    stat = _read(f"/proc/{pid}/stat")
    return None if stat is None else int(stat[stat.rindex(b")") + 2 :].split(None, 2)[1])


def _read(path: str) -> bytes | None:
    """Return what is in a file of a process, in a third of the time that `open` takes.

    None where that process is gone, or is somebody else's.
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


def state_in(pid: int, group: int) -> str | None:
    """Return the letter of the process's state; None where it is not there, or not of `group`."""
    stat = _read(f"/proc/{pid}/stat")
    if stat is None:
        return None
    # "pid (name) state ppid pgrp …"; the name may hold blanks and parentheses.
    words = stat[stat.rindex(b")") + 2 :].split(None, 18)
    if int(words[2]) != group:
        return None
    has_threads = int(words[17]) > 1
    return "R" if words[0] == b"Z" and has_threads else words[0].decode()  # it lost its first one
