"""Tell a process apart from all others that ever have its pid, and kill none of these."""

from __future__ import annotations

import os
from contextlib import suppress
from signal import SIGKILL

from currant._system.proc import has_proc, start_time_of

__all__ = ["identity_of", "kill"]


BOOT_ID = "/proc/sys/kernel/random/boot_id"


def identity_of(pid: int) -> str | None:
    """Return a text that only this process ever has; None if it has ended, or none is known.

    Some systems have no ``/proc``, and some sandboxes do not show the boot.  The text begins with
    the pid.
    """
    if not has_proc() or (started := start_time_of(pid)) is None:
        return None
    try:
        with open(BOOT_ID) as file:
            return f"{pid} {started} {file.read().strip()}"
    except OSError:
        return None


def kill(identity: str) -> None:
    """Kill a process, unless it has ended or belongs to another user."""
    pid = int(identity.split(maxsplit=1)[0])
    with suppress(ProcessLookupError, PermissionError):
        # A process that ends between these two calls does not leave its pid to another so soon.
        if identity_of(pid) == identity:
            os.kill(pid, SIGKILL)
