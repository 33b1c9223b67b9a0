"""What the tests of several probes need: where the commands run, and how often they are checked."""

from __future__ import annotations

from typing import Any

import pytest

from currant import LocalLauncher
from tests.agents import over_pipe
from tests.hosts import piped_hosts
from tests.system import needs_proc

__all__ = ["OFTEN", "WHERES"]

OFTEN = 0.01
"""Seconds between two checks."""

WHERES: list[Any] = [
    pytest.param(LocalLauncher, id="here"),
    pytest.param(over_pipe, id="on a host", marks=needs_proc),
    pytest.param(lambda: piped_hosts("a"), id="on one of many", marks=needs_proc),
]
"""Launchers for tests of probes that must work for other hosts, too."""
