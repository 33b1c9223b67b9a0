"""`Descriptions`: what ``list`` and other requests answer about each command of a stack."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import anyio
from anyio import to_thread

from currant._system.session_usage import usage_of_sessions
from currant._values.state import QUEUED
from currant._values.wire import encode_exit
from currant.sinks._templates import line_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from currant._supervisor.job import Job
    from currant._system.session_usage import SessionUsage
    from currant.stack._history import History

__all__ = ["Description", "Descriptions"]

Description: TypeAlias = dict[str, object]

USAGE_MAX_AGE = 0.2
"""Seconds for which the memory and the CPU time of all commands are not looked up again."""


class Descriptions:
    """Describes commands by their jobs, the history, and what their processes use.

    Args:
        history: a sink of the Runner of the jobs.
    """

    def __init__(self, history: History) -> None:
        self._history = history
        self._measuring = anyio.Lock()
        self._usage: dict[int, SessionUsage] = {}
        self._measured_at = -USAGE_MAX_AGE

    async def of(self, jobs: Iterable[Job], among: Iterable[Job]) -> Sequence[Description]:
        """Describe commands.  Cancellation: harmless.

        Args:
            jobs: the commands.
            among: all commands, which are measured together.
        """
        usage = await self._measure(among)
        return [self._describe(job, usage) for job in jobs]

    async def _measure(self, jobs: Iterable[Job]) -> dict[int, SessionUsage]:
        """Return the memory and the CPU time of each local command, by pid."""
        async with self._measuring:
            if anyio.current_time() - self._measured_at >= USAGE_MAX_AGE:
                local = [job.pid for job in jobs if job.host is None]
                pids = {pid for pid in local if pid is not None}
                self._usage = await to_thread.run_sync(usage_of_sessions, pids)
                self._measured_at = anyio.current_time()
            return self._usage

    def _describe(self, job: Job, usage: dict[int, SessionUsage]) -> Description:
        state, result = self._history.states.get(job.name, QUEUED), job.result
        end = state.exit if result is None else result.exit
        error = state.error if result is None else result.error
        used = None if job.pid is None else usage.get(job.pid)
        return {
            "name": job.name,
            "state": job.state if result is None else result.status,
            "ready": job.is_ready,
            "pid": job.pid,
            "host": job.host,
            "restarts": job.restarts,
            "started_at": state.started_at if job.pid is not None else None,
            "processes": None if used is None else used.processes,
            "memory": None if used is None else used.memory,
            "cpu": None if used is None else round(used.cpu, 3),
            "exit": None if end is None or job.pid is not None else encode_exit(end),
            "error": None if error is None else str(error),
            "failure": self._history.failures.get(job.name),
            "command": line_of(job.command),
        }
