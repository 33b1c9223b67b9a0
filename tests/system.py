"""What the system under the tests can do, and the marks for tests that need it."""

from __future__ import annotations

import os
import subprocess

import pytest

from currant._process import local as _local
from currant._system import groups, listeners, proc
from currant._system.groups import ProcessGroup

__all__ = ["HAS_PIDFDS", "hide_proc", "needs_proc", "started_by_uvloop"]

needs_proc = pytest.mark.skipif(
    not os.path.exists("/proc/self/stat"), reason="looks into processes by way of /proc"
)


def hide_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have currant find no ``/proc`` that it can use, as on macOS."""
    for module in (groups, listeners, proc):
        monkeypatch.setattr(module, "has_proc", lambda: False)


def _pidfds_reach_groups() -> bool:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, process_group=0) as leader:
        group = ProcessGroup(leader.pid)
        reaches = group._pidfd is not None
        group.close()
    return reaches


HAS_PIDFDS = _pidfds_reach_groups()
"""Whether a pidfd reaches a whole group: Linux 6.9 and later."""


def started_by_uvloop(anyio_backend: object) -> bool:
    """Tell whether processes are started by uvloop itself, which is unlike the others in that.

    Its children have second copies of their three standard files and whatever is inheritable, a
    script without a first line is run by /bin/sh, and files leak when there are too few.
    """
    if _local.start_process is not _local.start_by_event_loop:
        return False
    return anyio_backend == ("asyncio", {"use_uvloop": True})
