"""Leave out the jobs that the log of an earlier run has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyio.lowlevel import checkpoint

from currant.cli._map.job import Job

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Callable

    from currant.cli._map.logged_jobs import LoggedJobs

__all__ = ["jobs_not_logged"]

_AT_ONCE = 100
"""Jobs that are left out before others get a turn: what runs, and a signal."""


async def jobs_not_logged(
    jobs: AsyncIterable[Job],
    line: Callable[[Job], str],
    logged: LoggedJobs,
    *,
    redo_failed: bool,
    on_skip: Callable[[Job], None],
) -> AsyncIterable[Job]:
    """Check that a log is of this command, and return the jobs that still have to run.

    Args:
        jobs: all jobs.
        line: returns the command of a job as it is typed in a shell.
        logged: the jobs of the log.
        redo_failed: whether jobs that have failed run again.
        on_skip: called for each job that is left out.

    Raises:
        JobLogError: the log is of another command.
    """
    is_done = logged.has_success if redo_failed else logged.has
    checked = await _checked(jobs, line, logged)

    async def left() -> AsyncGenerator[Job]:
        skipped = 0
        async for job in checked:
            if is_done(job.number, line(job)):
                on_skip(job)
                skipped += 1
                if skipped % _AT_ONCE == 0:
                    await checkpoint()
            else:
                yield job

    return left()


async def _checked(
    given: AsyncIterable[Job], line: Callable[[Job], str], logged: LoggedJobs
) -> AsyncIterable[Job]:
    """Compare the first job of the log with the given job of that number, and return all jobs.

    So a log of another command is an error before any job starts.

    Raises:
        JobLogError: the log is of another command.
    """
    jobs, early = aiter(given), list[Job]()
    first = logged.first
    while first is not None and (job := await anext(jobs, None)) is not None:
        early.append(job)
        if job.number == first:
            logged.has(first, line(job))  # Raises if the command differs.
            break

    async def all_jobs() -> AsyncGenerator[Job]:
        for job in early:
            yield job
        async for job in jobs:
            yield job

    return all_jobs()
