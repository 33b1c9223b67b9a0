"""Waiting until a process is ready (`Job.ready`), or a command meets a condition (`Job.until`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, get_args

import anyio
from anyio.lowlevel import checkpoint, checkpoint_if_cancelled

from currant._supervisor.failure import unwrapped
from currant._supervisor.readiness import is_met, why_attempt_not_ready
from currant._values.checks import check_seconds
from currant._values.errors import CommandError, NotReadyError

if TYPE_CHECKING:
    from collections.abc import Collection

    from currant._supervisor.attempt import Attempt
    from currant._supervisor.lifecycle import Lifecycle

__all__ = [
    "JobCondition",
    "Unready",
    "check_conditions",
    "first_of",
    "not_ready_error",
    "until_ready",
]

JobCondition: TypeAlias = Literal["exit", "ready", "idle"]


class Unready(NamedTuple):
    """An attempt that will not become ready, and why."""

    attempt: Attempt
    reason: str


async def until_ready(life: Lifecycle) -> Unready | None:
    """Wait until a process is ready, and return None; or return why it will not be.

    If no process runs, this waits for the next process.
    Cancellation: harmless.
    """
    times_ready, start = life.times_ready, life.starts + (not life.attempt.is_running)
    attempt: Attempt | None = None
    while not is_met(life, "ready", times_ready):
        if attempt is None and life.starts == start:
            attempt = life.attempt
        reason = why_attempt_not_ready(life, attempt)
        if reason is not None:
            return Unready(attempt or life.attempt, reason)
        await life.context.change.wait()
    return None


async def not_ready_error(life: Lifecycle, unready: Unready) -> NotReadyError:
    """Wait for the last lines of an attempt, and return the error that shows them.

    Cancellation: harmless.
    """
    attempt, reason = unready
    with anyio.move_on_after(life.context.limits.end_of_output):
        await attempt.output.ended()
    await checkpoint_if_cancelled()  # A cancellation of the block ends the command, too.
    error = NotReadyError(life.name, reason, attempt.output.tail)
    cause = attempt.outcome.error
    error.__cause__ = None if cause is None else cause.__cause__
    return error


def check_conditions(conditions: Collection[object], idle: object) -> None:
    """Raise `CommandError` unless the arguments of `Job.until` are valid."""
    if not conditions:
        raise CommandError("until needs a condition: 'exit', 'ready' or 'idle'")
    for condition in conditions:
        if condition not in get_args(JobCondition):
            raise CommandError(
                f"until: no such condition: {condition!r}; use 'exit', 'ready' or 'idle'"
            )
    check_seconds("until: idle", idle)
    if ("idle" in conditions) != (idle is not None):
        raise CommandError("until: 'idle' needs idle=seconds, and idle=seconds needs 'idle'")


async def first_of(
    life: Lifecycle, conditions: Collection[JobCondition], idle: float | None
) -> JobCondition:
    """Wait until one of `conditions` holds, or the command has ended, and return the condition.

    Cancellation: harmless.
    """
    met: list[JobCondition] = []

    async def wait_for(condition: JobCondition) -> None:
        if condition == "idle" and idle is not None:
            await _wait_for_silence(life, idle)
        elif condition == "ready":
            await _wait_for_readiness(life)
        else:
            await _wait_for_end(life)
        met.append(condition)
        tasks.cancel_scope.cancel()

    try:
        async with anyio.create_task_group() as tasks:
            every: set[JobCondition] = {"exit", *conditions}
            for condition in every:
                tasks.start_soon(wait_for, condition)
    except BaseExceptionGroup as group:  # On trio, Ctrl-C leaves a task group in one.
        raise unwrapped(group) from None
    return "exit" if life.has_ended else met[0]


async def _wait_for_end(life: Lifecycle) -> None:
    await life.context.change.wait_for(lambda: life.has_ended)


async def _wait_for_readiness(life: Lifecycle) -> None:
    before = life.times_ready
    await life.context.change.wait_for(lambda: is_met(life, "ready", before))


async def _wait_for_silence(life: Lifecycle, seconds: float) -> None:
    """Wait until a process of the command runs and has written nothing for `seconds`.

    While a slow reader holds the command up, the command may be waiting for room to write.
    """
    transcript, seen = life.context.transcript, -1
    attempt: Attempt | None = None
    while (
        attempt is not life.attempt  # A restart has begun another silence.
        or life.attempt.process is None
        or seen != transcript.total
        or life.attempt.output.is_held_up
    ):
        await life.started()
        attempt, seen = life.attempt, transcript.total
        with anyio.move_on_after(seconds):
            await transcript.arrival.wait_for(lambda: transcript.total != seen)  # noqa: B023 - at once
        await checkpoint()  # If the event loop was busy, output may be in the pipe.
