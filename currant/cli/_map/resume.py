"""Leave out the jobs that the log of an earlier run has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from currant.cli._map.job import Job

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Callable

    from currant.cli._map.logged_jobs import LoggedJobs

__all__ = ["jobs_not_logged"]


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
        async for job in checked:
            if is_done(job.number, line(job)):
                on_skip(job)
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
