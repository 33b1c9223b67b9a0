"""Waiting until a command of a stack is ready, or has ended; and why it is not ready."""

from __future__ import annotations

from typing import TYPE_CHECKING

from currant._supervisor.startup import until_up_or_ended
from currant._values.errors import DependencyError, LaunchError, NotReadyError, with_lines
from currant._values.results import end_of

if TYPE_CHECKING:
    from currant._supervisor.job import Job
    from currant._values.results import Result

__all__ = ["has_succeeded", "is_skipped", "until_ended", "until_ready", "why_ended"]


def has_succeeded(job: Job) -> bool:
    """Return whether a command has ended with success."""
    return job.result is not None and job.result.status == "succeeded"


def is_skipped(job: Job) -> bool:
    """Return whether a command was skipped, because of a command that it needs."""
    return job.result is not None and job.result.status == "skipped"


async def until_ready(job: Job) -> str | None:
    """Wait until a command is ready; if it ends before, return why, with its last lines.

    If it fails and its policy restarts it, this waits for the next process.  A command without a
    probe is ready when it runs.  A command that has succeeded is ready, too.
    Cancellation: harmless.
    """
    return why_ended(job, await until_up_or_ended(job))


def why_ended(job: Job, result: Result | None) -> str | None:
    """Return why a command that has ended is not ready; None if it goes on or has succeeded."""
    if result is None or result.status == "succeeded":
        return None
    end = end_of(result)
    if isinstance(end, LaunchError | DependencyError):
        return str(end)
    tail = result.tail if result.status == "failed" else ()
    if isinstance(end, NotReadyError):
        return str(NotReadyError(job.name, end.reason, tail))
    if job.command.ready is not None:
        return str(NotReadyError(job.name, f"it has ended: {end}", tail))
    return with_lines(str(end), tail)


async def until_ended(job: Job) -> str | None:
    """Wait until a command has ended; return how it failed or why it was skipped, otherwise None.

    Cancellation: harmless.
    """
    result = await job.wait()
    return None if result.status in ("succeeded", "stopped") else str(end_of(result))
