"""Waiting until a command is *up*: it runs and, with a `ready` probe, it is ready."""

from __future__ import annotations

from typing import TYPE_CHECKING

from currant._supervisor.job import life_of
from currant._supervisor.job_conditions import not_ready_error, until_ready
from currant._supervisor.readiness import is_met
from currant._values.errors import DependencyError, LaunchError, NotReadyError

if TYPE_CHECKING:
    from currant._supervisor.job import Job
    from currant._values.results import Result

__all__ = ["until_up", "until_up_or_ended", "why_unready"]


async def until_up(job: Job) -> None:
    """Wait until the command is up; raise an error if its next process will not be.

    Cancellation: harmless.

    Raises:
        LaunchError, NotReadyError, DependencyError: as for `Runner.start`.
    """
    problem: NotReadyError | None = None
    if job.command.ready is None:
        await job.until_started()
    else:
        problem = await _until_ready_or_gone(job)
    if job.result is not None and isinstance(job.result.error, LaunchError | DependencyError):
        raise job.result.error
    if problem is not None:
        raise problem


async def _until_ready_or_gone(job: Job) -> NotReadyError | None:
    """Wait as `Job.ready` does, but return the error when all processes of the attempt are gone.

    If the command does not restart, it has ended by then, and its name can be started again.
    """
    life = life_of(job)
    with life.context.runner.channel.waiting():
        unready = await until_ready(life)
        if unready is None:
            return None
        attempt = unready.attempt
        await life.context.change.wait_for(lambda: attempt.has_left_nothing or life.has_ended)
        # Before another attempt, only the life itself ends escapees.  A second search would find
        # the processes of that attempt, too, because they have the same name.
        if not attempt.has_left_nothing and life is life_of(job):
            await attempt.end_escapees()
        return await not_ready_error(life, unready)


async def until_up_or_ended(job: Job) -> Result | None:
    """Wait as long as the command may still be up, through all restarts by its policy.

    If no process runs, this waits for the next process.
    Cancellation: harmless.

    Returns:
        How the command has ended; None if it is up.
    """
    life = life_of(job)
    times_ready = life.times_ready
    with life.context.runner.channel.waiting():
        if life.command.ready is None:
            await life.started()
        else:
            await life.context.change.wait_for(
                lambda: is_met(life, "ready", times_ready) or life.has_ended
            )
    return life.result


def why_unready(job: Job) -> str | None:
    """Return what the last check for readiness has found that failed; None if none has."""
    return life_of(job).attempt.why_unready
