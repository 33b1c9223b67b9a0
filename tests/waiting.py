"""Time limits of tests, commands that never exit by themselves, and a check for live processes."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["EXEC_FOREVER", "FOREVER", "HOURS", "LIMIT", "TRAPS_SIGNALS", "is_alive"]

LIMIT = 30.0
"""Seconds after which a test fails instead of waiting longer; no wait needs a tenth of that."""

HOURS = 9999.0
"""A grace or delay, in seconds, so long that no test waits for its end."""

FOREVER = "sleep 9999"
"""A command that runs until it is stopped."""

EXEC_FOREVER = f"exec {FOREVER}"
"""`FOREVER` as the last part of a shell command: the shell becomes the process."""

TRAPS_SIGNALS = "while :; do sleep 0.1; done 2>/dev/null"
"""The last part of a shell command that has set traps, which run soon after each signal.

Not `FOREVER`: a child of dash loses a signal that comes before it has reset the traps.  Not
`Gate.wait`: dash runs no trap for a signal that comes right before the system call of a `read`.
"""


def is_alive(pid: int) -> bool:
    """Return whether a process exists and is not a zombie."""
    try:
        os.kill(pid, 0)
        stat = Path("/proc", str(pid), "stat").read_bytes()
    except ProcessLookupError:
        return False
    except FileNotFoundError:
        return not os.path.exists("/proc/self/stat")
    return stat[stat.rindex(b")") + 2 :][:1] not in (b"Z", b"X")
