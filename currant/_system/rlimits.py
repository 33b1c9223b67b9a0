"""The resource limits and the niceness of this program, which a new process inherits."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if os.name == "posix":  # On other systems `require_posix` raises a clear error later.
    import resource

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["hard_limit", "may_have_niceness", "niceness_after"]

_RESOURCES = {
    "memory": "RLIMIT_AS",
    "cpu_time": "RLIMIT_CPU",
    "file_size": "RLIMIT_FSIZE",
    "open_files": "RLIMIT_NOFILE",
    "processes": "RLIMIT_NPROC",
    "core": "RLIMIT_CORE",
}

_CAP_SYS_NICE = 1 << 23  # <linux/capability.h>


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
