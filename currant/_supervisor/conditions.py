"""Which commands wait for which: checked when a Runner is built, awaited, and kept for the stop.

Each need is another command and a condition.  Whether a condition is true is asked of a job; that
it can no longer come true is told at once, so that nobody waits in vain.  All are stopped in the
reverse order: a command has to outlive those that need it.
"""

from __future__ import annotations

from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, TypeAlias

import anyio

from currant._values.errors import CommandError, NotReadyError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from currant._supervisor.job import Job
    from currant._values.command import Command, Condition

__all__ = ["Dependencies", "Needs", "needs_among"]


Needs: TypeAlias = "dict[str, Condition | None]"


class Dependencies:
    """What the commands of one Runner need of one another, by their names."""

    def __init__(self) -> None:
        self._needs: dict[str, Needs] = {}
        self._needed_by: defaultdict[str, list[str]] = defaultdict(list)

    def __contains__(self, name: str) -> bool:
        """Tell whether the command of that name waits for any other one."""
        return name in self._needs

    def add(self, name: str, needs: Needs) -> None:
        """Remember what the command of that name needs."""
        if needs:
            self._needs[name] = needs
        for other in needs:
            self._needed_by[other].append(name)

    def check(self) -> None:
        """Check that no command waits for itself.

        Raises:
            CommandError: one does; it names all of the circle.
        """
        try:
            TopologicalSorter(self._needs).prepare()
        except CycleError as error:
            circle = " after ".join(repr(name) for name in reversed(error.args[1]))
            raise CommandError(f"after: commands wait for one another: {circle}") from None

    async def come_true(self, job: Job, jobs: Mapping[str, Job]) -> str | None:
        """Wait until all is true that `job` needs, and return None; or why it cannot be.

        Once `job` is to end, it returns as soon as one of the others is to do so as well.
        Cancellation: harmless.
        """
        needs: list[tuple[Job, Condition | None]] = [
            (jobs[other], condition) for other, condition in self._needs[job.name].items()
        ]
        if len(needs) == 1:  # no task is needed beside this one, which halves the memory
            return await _comes_true(job, *needs[0])
        reasons: list[str] = []

        async def wait_for(other: Job, condition: Condition | None) -> None:
            reason = await _comes_true(job, other, condition)
            if reason is not None:
                reasons.append(reason)
                tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            for need in needs:
                tasks.start_soon(wait_for, *need)
        return reasons[0] if reasons else None

    async def until_unneeded(self, name: str, jobs: Mapping[str, Job]) -> None:
        """Wait until no process runs of those that need the command, if only through others.

        Not for their output: a kill waits for no reader.

        Cancellation: harmless.
        """
        seen = {name}
        above = [name]
        while above:
            for other in self._needed_by.get(above.pop(), ()):
                if other not in seen:
                    seen.add(other)
                    above.append(other)
                    while not jobs[other].is_gone:
                        await jobs[other].changed()

    def longest_chain(self, seconds: Mapping[str, float]) -> float:
        """Return what the commands of the longest chain take, one after the other.

        Args:
            seconds: by a command's name what it takes; the others take nothing.
        """
        chains = dict(seconds)
        for name in TopologicalSorter(self._needs).static_order():
            before = [chains.get(other, 0.0) for other in self._needs.get(name, ())]
            chains[name] = seconds.get(name, 0.0) + max(before, default=0.0)
        return max(chains.values(), default=0.0)


def needs_among(
    command: Command, known: Mapping[str, Command], replicas: Mapping[str, Sequence[str]]
) -> Needs:
    """Return what `command` needs, each by its own name.

    Args:
        command: the command.
        known: all commands that it may wait for.
        replicas: the names of the replicas, by the name that they have in common.

    Raises:
        CommandError: there is no command of such a name.
    """
    needs: Needs = {}
    for name, condition in command.after.items():
        for each in replicas.get(name, [name]):
            if each not in known:
                names = ", ".join(repr(other) for other in known) or "none"
                raise CommandError(
                    f"command {command.name!r}: after: there is no command {name!r}; "
                    f"there are: {names}"
                )
            needs[each] = condition
    return needs


async def _comes_true(waiting: Job, job: Job, condition: Condition | None) -> str | None:
    """Wait until `condition` is true of `job`, and return None; or why it no longer can be."""
    if condition is None:
        condition = "started" if job.command.ready is None else "ready"
    times = job.times_ready
    while not _is_true(job, condition, times):
        what = f"{job.name!r} was to be {_WORDS[condition]}"
        if job.result is not None:
            error = job.result.error
            if isinstance(error, NotReadyError):
                return f"{what}: {error.reason}"
            return f"{what}, and has ended: {error or job.result.exit or job.result.status}"
        if job.is_ending and (condition != "ended" or waiting.is_ending):
            return f"{what}, and is being stopped"
        await job.changed()
    return None


def _is_true(job: Job, condition: Condition, times_ready: int) -> bool:
    match condition:
        case "started":
            return job.starts > 0
        case "ready":  # or was, since somebody waits for that
            return job.is_ready or job.times_ready > times_ready
        case "succeeded":
            return job.result is not None and job.result.status == "succeeded"
        case "ended":
            return job.result is not None and job.starts > 0


_WORDS: dict[Condition, str] = {
    "started": "started",
    "ready": "ready",
    "succeeded": "successful",
    "ended": "run to its end",
}
