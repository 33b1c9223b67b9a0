"""Tell a process apart from all others that ever have its pid, and kill none of these."""

from __future__ import annotations

import os
from contextlib import suppress
from signal import SIGKILL

from currant._system.proc import has_proc, start_time_of

__all__ = ["identity_of", "kill"]


def identity_of(pid: int) -> str | None:
    """Return a text that only this process ever has; None without ``/proc``, or if it has ended.

    The text begins with the pid.
    """
    if not has_proc() or (started := start_time_of(pid)) is None:
        return None
    with open("/proc/sys/kernel/random/boot_id") as file:
        return f"{pid} {started} {file.read().strip()}"


def kill(identity: str) -> None:
    """Kill a process, unless it has ended or belongs to another user."""
    pid = int(identity.split(maxsplit=1)[0])
    with suppress(ProcessLookupError, PermissionError):
        # A process that ends between these two calls does not leave its pid to another so soon.
        if identity_of(pid) == identity:
            os.kill(pid, SIGKILL)
