"""Agents of this machine, over a pipe: what tests of the link start."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from currant._remote.launcher import RemoteLauncher
from currant._remote.shipment import agent_argv
from currant._remote.transport import ArgvTransport

if TYPE_CHECKING:
    from currant._remote.connection import Heartbeat

__all__ = ["children_of", "over_pipe", "parent_of"]

RELAY = Path(__file__).with_name("relay.py")


def over_pipe(
    python: str = sys.executable,
    *,
    heartbeat: Heartbeat | None = None,
    orphan_guard: bool = True,
    before: str = "",
    relay: tuple[int, int] | None = None,
) -> RemoteLauncher:
    """Return a launcher whose agent is a child of this process.

    Args:
        python: the Python of the agent.
        heartbeat: as for `RemoteLauncher`.
        orphan_guard: as for `RemoteLauncher`.
        before: shell code that runs first, as a login shell would.
        relay: the limits of a relay between the driver and the agent; None: there is no relay.
    """
    argv = agent_argv(python)
    if before:
        argv = ("/bin/sh", "-c", f'{before}\nexec "$@"', "sh", *argv)
    if relay is not None:
        argv = (sys.executable, "-IS", str(RELAY), *map(str, relay), *argv)
    transport = ArgvTransport(argv)
    return RemoteLauncher("h1", transport, heartbeat=heartbeat, orphan_guard=orphan_guard)


def children_of(pid: int) -> list[int]:
    """Return the pids of all children of a process, zombies included."""
    return [
        child
        for child in map(int, filter(str.isdecimal, os.listdir("/proc")))
        if parent_of(child) == pid
    ]


def parent_of(pid: int) -> int:
    """Return the pid of the parent of a process; 0 if there is none, or the process has ended."""
    try:
        stat = Path("/proc", str(pid), "stat").read_bytes()
    except OSError:
        return 0
    return int(stat[stat.rindex(b")") :].split()[2])
