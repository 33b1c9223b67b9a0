"""The resource limits and the niceness of this program, which a new process inherits."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

if os.name == "posix":  # On other systems `require_posix` raises a clear error later.
    import resource

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FileLimit", "hard_limit", "may_have_niceness", "niceness_after"]

_RESOURCES = {
    "memory": "RLIMIT_AS",
    "cpu_time": "RLIMIT_CPU",
    "file_size": "RLIMIT_FSIZE",
    "open_files": "RLIMIT_NOFILE",
    "processes": "RLIMIT_NPROC",
    "core": "RLIMIT_CORE",
}

_CAP_SYS_NICE = 1 << 23  # <linux/capability.h>

ENOUGH_FILES = 65_536
"""A soft limit of open files that is enough for any program here.

The hard limit may be a billion, and a program may close each number below its limit one by one.
"""


class FileLimit:
    """The soft limit of open files, which an instance raises for this program and not for commands.

    A session of sshd has 1024, which is enough for about 300 commands.  A command must not inherit
    a higher limit, because `select` fails above 1024.  Lowering the limit of this program during a
    start would fail if more files are open, and a `preexec_fn` makes each start slower.  So the
    command gets its limit right after the start.  Only Linux can change the limit of another
    process; elsewhere the limit of this program stays, too.
    """

    def __init__(self) -> None:
        self._inherited: tuple[int, int] | None = None
        if not hasattr(resource, "prlimit"):
            return
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < (wanted := min(hard, ENOUGH_FILES)):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            self._inherited = soft, hard

    def lower_of(self, pid: int) -> None:
        """Give a new process the limit that this program had at first.

        The limit stays as it is if the process has exited, or has become another user and this
        program may not change that user's limits.
        """
        if self._inherited is not None:
            with suppress(OSError):
                resource.prlimit(pid, resource.RLIMIT_NOFILE, self._inherited)


def hard_limit(name: str) -> int | None:
    """Return the hard limit of this program, by the name in `Limits`; None if there is none."""
    limit = resource.getrlimit(getattr(resource, _RESOURCES[name]))[1]
    return None if limit == resource.RLIM_INFINITY else limit


def niceness_after(increment: int) -> int:
    """Return the niceness of a process that is nicer than this program by `increment`."""
    return min(19, max(-20, os.getpriority(os.PRIO_PROCESS, 0) + increment))


def may_have_niceness(niceness: int, *, is_other_user: bool) -> bool:
    """Return whether a child of this program may give itself that niceness.

    A process that has become another user has lost the capabilities of root.
    """
    if niceness >= os.getpriority(os.PRIO_PROCESS, 0):
        return True
    if not is_other_user and _has_capability(_CAP_SYS_NICE):
        return True
    if not hasattr(resource, "RLIMIT_NICE"):
        return False
    return 20 - niceness <= resource.getrlimit(resource.RLIMIT_NICE)[0]


def _has_capability(capability: int) -> bool:
    try:
        with open("/proc/self/status") as lines:
            return any(mask & capability for mask in _effective(lines))
    except OSError:
        return os.geteuid() == 0


def _effective(lines: Iterator[str]) -> Iterator[int]:
    for line in lines:
        if line.startswith("CapEff:"):
            yield int(line.split()[1], 16)
