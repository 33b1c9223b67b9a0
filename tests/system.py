"""The abilities of this system, ways to hide them, and marks for tests that need them."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from currant._process.spawn import default_start, start_without_pidfd
from currant._system import groups, listeners, proc
from currant._system.groups import ProcessGroup

if TYPE_CHECKING:
    from currant._process.spawn import StartProcess

__all__ = ["HAS_PIDFDS", "hide_group_pidfds", "hide_proc", "needs_proc", "started_by_uvloop"]

needs_proc = pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc")


def hide_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide ``/proc`` from currant, as on macOS."""
    for module in (groups, listeners, proc):
        monkeypatch.setattr(module, "has_proc", lambda: False)


def hide_group_pidfds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse signals to a group through a pidfd, as Linux before 6.9 does."""

    def refuse(pidfd: int, number: int, info: None = None, flags: int = 0) -> None:
        raise OSError(errno.EINVAL, "unknown flag")

    monkeypatch.setattr(signal, "pidfd_send_signal", refuse, raising=False)


def _pidfds_reach_groups() -> bool:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, process_group=0) as leader:
        group = ProcessGroup(leader.pid)
        reaches = group._pidfd is not None
        group.close()
    return reaches


HAS_PIDFDS = _pidfds_reach_groups()
"""Whether a pidfd reaches a whole group: Linux 6.9 and later."""


def started_by_uvloop(anyio_backend: object, start: StartProcess | None = None) -> bool:
    """Return whether uvloop itself starts the processes, which differs from the other ways.

    Its children inherit second copies of their three standard files and all inheritable files, a
    script without a '#!' line runs with /bin/sh, and a lack of file descriptors leaks files.
    """
    if (start or default_start()) is not start_without_pidfd:
        return False
    return anyio_backend == ("asyncio", {"use_uvloop": True})
