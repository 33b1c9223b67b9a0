"""The memory and the CPU time of the processes of a session, with the help of ``/proc`` (Linux).

Descendants in other sessions count, too: each worker process of PostgreSQL leads its own session.
A process whose parent has ended is no descendant any more.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from currant._system.proc import (
    cpu_and_memory_of,
    group_and_session,
    parent_of,
    process_numbers,
)

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["SessionUsage", "usage_of_sessions"]


class SessionUsage(NamedTuple):
    """The resources that the processes of a session and their descendants use.

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
    owners: dict[int, int] = {0: 0}
    for pid in process_numbers():
        session = _owner(pid, sessions, owners)
        if not session or (used := cpu_and_memory_of(pid)) is None:
            continue
        cpu, pages = used
        so_far = found.get(session, SessionUsage())
        found[session] = SessionUsage(
            so_far.processes + 1, so_far.memory + pages * page, so_far.cpu + cpu / ticks
        )
    return found


def _owner(pid: int, sessions: Collection[int], known: dict[int, int]) -> int:
    """Return the session to which a process or its nearest such ancestor belongs; 0 if to none.

    Args:
        pid: the process.
        sessions: the sessions in question.
        known: what this has returned for other processes; gets this process and its ancestors.
    """
    line: list[int] = []
    while pid not in known:
        line.append(pid)
        session = group_and_session(pid)[1]
        known[pid] = session if session in sessions else 0
        pid = pid if known[pid] else parent_of(pid) or 0
    known |= dict.fromkeys(line, known[pid])
    return known[pid]
