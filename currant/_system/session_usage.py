"""The memory and the CPU time of all processes of a session, with the help of ``/proc`` (Linux)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from currant._system.proc import cpu_and_memory_of, group_and_session, process_numbers

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["SessionUsage", "usage_of_sessions"]


class SessionUsage(NamedTuple):
    """The resources that the processes of a session use.

    Attributes:
        processes: how many there are.
        memory: bytes of memory; pages that processes share count for each of them.
        cpu: seconds of CPU time, including that of reaped children.
    """

    processes: int = 0
    memory: int = 0
    cpu: float = 0.0


def usage_of_sessions(sessions: Collection[int]) -> dict[int, SessionUsage]:
    """Return the usage of each session; empty on a system without ``/proc``.

    A session is named by the pid of its leader.  This takes some µs for each process of the system.
    """
    if not sessions:
        return {}
    found: dict[int, SessionUsage] = {}
    ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    for pid in process_numbers():
        session = group_and_session(pid)[1]
        if session not in sessions or (used := cpu_and_memory_of(pid)) is None:
            continue
        cpu, pages = used
        so_far = found.get(session, SessionUsage())
        found[session] = SessionUsage(
            so_far.processes + 1, so_far.memory + pages * page, so_far.cpu + cpu / ticks
        )
    return found
