"""The limit of open files, raised for many commands and hosts."""

from __future__ import annotations

import resource
import sys
from contextlib import suppress

__all__ = ["FILES_PER_COMMAND", "FILES_PER_HOST", "OTHER_FILES", "raise_file_limit"]

FILES_PER_COMMAND = 7
"""File descriptors that a starting command needs, for both ends of three pipes among others.

A running command needs half as many, but all commands may start at the same time.
"""

FILES_PER_HOST = 8
"""File descriptors for the connection to a host, among them both ends of three pipes at first."""

OTHER_FILES = 100
"""File descriptors for everything else; currant needs fewer."""


def raise_file_limit(wanted: int) -> int:
    """Raise the soft limit of open files to `wanted`, or as far as the system allows; return it.

    The commands inherit the limit, so a limit that is high enough stays unchanged.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # macOS has another limit below the hard limit.
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return wanted
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft
