"""Which commands start together with others, and in which order: the needs of `up` and `reload`.

The functions look at the commands of a stack and change nothing.  A command comes after all
commands that it needs, so when it starts, it looks at their new lives and not at how earlier ones
have ended.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from currant._values.dependencies import in_order
from currant.stack._waiting import has_succeeded, is_skipped

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from currant._supervisor.job import Job
    from currant._values.command import Command
    from currant._values.links import Condition

__all__ = ["replicas_of", "skipped_dependents", "waits_for", "with_needs"]


def replicas_of(name: str, known: Collection[str]) -> list[str]:
    """Return the names that a name stands for: itself, or its replicas ``name.1`` and so on."""
    if name in known:
        return [name]
    replica = re.compile(rf"{re.escape(name)}\.\d+")
    return [each for each in known if replica.fullmatch(each)]


def waits_for(command: Command, name: str) -> bool:
    """Return whether `command` depends on `name`, or on the replicas to which `name` belongs."""
    return any(replicas_of(each, [name]) for each in command.after)


def with_needs(
    jobs: Iterable[Job], known: Mapping[str, Job], new: Iterable[Command] = ()
) -> list[Job]:
    """Return commands, and the commands that they need and that have to run again for them.

    Args:
        jobs: the commands, which may run.
        known: the commands to choose from, by name.
        new: further commands, which are not in the list; the commands that they need are.

    Returns:
        Each command once, after the commands that it needs.
    """
    chosen = {job.name: job for job in jobs}
    seen = dict(chosen)
    left = [*new, *(job.command for job in chosen.values())]
    while left:
        for need, condition in left.pop().after.items():
            for name in replicas_of(need, known):
                if _has_to_run_again(known[name], condition):
                    chosen[name] = known[name]
                if name not in seen:  # A command that has succeeded may need one that was stopped.
                    seen[name] = known[name]
                    left.append(known[name].command)
    needs = {
        name: [each for need in job.command.after for each in replicas_of(need, seen)]
        for name, job in seen.items()
    }
    return [chosen[name] for name in in_order(needs) if name in chosen]


def _has_to_run_again(job: Job, condition: Condition | None) -> bool:
    """Return whether a command has ended, or is being stopped, so that another cannot use it.

    A command that was started and has failed since then is of no use to another, though it meets
    the condition ``"started"``.
    """
    result = job.result
    if condition == "ended":
        return result is not None and result.started_at is None
    if result is None:
        return job.state == "stopping"
    is_enough = condition in ("started", "succeeded") or job.command.ready is None
    return not (is_enough and has_succeeded(job))


def skipped_dependents(
    begun: Collection[str], commands: Mapping[str, Command], jobs: Mapping[str, Job]
) -> tuple[str, ...]:
    """Return the skipped commands that need commands which start now, directly or indirectly.

    Args:
        begun: the names of the commands that start now.
        commands: the others, by name, with each replica as a dependency of its own.
        jobs: the commands of the stack by name.

    Returns:
        Their names, each after those that it needs.
    """
    starting = set(begun)
    skipped: list[str] = []
    for name in in_order({name: command.after for name, command in commands.items()}):
        if is_skipped(jobs[name]) and not starting.isdisjoint(commands[name].after):
            starting.add(name)
            skipped.append(name)
    return tuple(skipped)
