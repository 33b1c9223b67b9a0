"""What the system under the tests can do, and the marks for tests that need it."""

from __future__ import annotations

import os
import subprocess

import pytest

from currant._posix import ProcessGroup

__all__ = ["HAS_PIDFDS", "needs_proc"]

needs_proc = pytest.mark.skipif(
    not os.path.exists("/proc/self/stat"), reason="looks into processes by way of /proc"
)


def _pidfds_reach_groups() -> bool:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, process_group=0) as leader:
        group = ProcessGroup(leader.pid)
        reaches = group._pidfd is not None
        group.close()
    return reaches


HAS_PIDFDS = _pidfds_reach_groups()
"""Whether a pidfd reaches a whole group: Linux 6.9 and later."""
