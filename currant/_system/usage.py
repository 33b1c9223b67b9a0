"""The usage of resources of a process that has been reaped."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from currant._values.usage import Usage

if TYPE_CHECKING:
    from resource import struct_rusage

__all__ = ["as_usage"]

_UNIT = 1 if sys.platform == "darwin" else 1024
"""The bytes in a unit of `ru_maxrss`: macOS counts bytes, every other system counts KiB."""


def as_usage(reported: struct_rusage) -> Usage:
    """Return what `os.wait4` has reported, in seconds and bytes."""
    return Usage(reported.ru_utime, reported.ru_stime, reported.ru_maxrss * _UNIT)
