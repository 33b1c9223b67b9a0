"""`Reloading`: starts and stops the commands of a stack as the configuration says now."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread

from currant._values.dependencies import in_order
from currant._values.errors import CurrantError
from currant.stack._commands import unknown_name
from currant.stack._configuration import by_name, difference
from currant.stack._errors import RequestError
from currant.stack._needs import replicas_of, skipped_dependents, with_needs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

    from currant._supervisor.job import Job
    from currant._values.command import Command
    from currant.stack._commands import Commands
    from currant.stack._configuration import Configuration, Difference

__all__ = ["Reloading"]


class Reloading:
    """The configuration of one stack, as it was read last.

    Args:
        commands: the commands of the stack.
        configuration: the source of the commands; None: there is none, and `reload` is refused.
    """

    def __init__(self, commands: Commands, configuration: Configuration | None) -> None:
        self._commands = commands
        self._configuration = configuration
        self._source = by_name(() if configuration is None else configuration.commands)
        self._added: set[str] = set()  # by a client, and not by the start of the stack
        self._lock = anyio.Lock()

    async def reload(
        self, tell: Callable[[Difference], Awaitable[None]], *, apply: bool
    ) -> tuple[Sequence[str], dict[str, str]]:
        """Read the configuration again, pass the difference to `tell`, and `apply` it if asked.

        Cancellation: some commands may not have been started again.

        Returns:
            The names of the commands that start, and why some could not be started.

        Raises:
            RequestError: the configuration is wrong, or there is none; nothing has changed.
        """
        async with self._lock:
            change, after = await self._read_difference()
            await tell(change)
            return await self._apply(change, after) if apply else ((), {})

    async def add(self, names: Sequence[str]) -> dict[str, Job]:
        """Start those of the named commands that the stack lacks, with what they need.

        Cancellation: some commands may not have been started.

        Returns:
            The commands that were started, by name; none if there is no configuration.

        Raises:
            RequestError: the configuration is wrong, or a command cannot be started.
        """
        missing = [name for name in names if not replicas_of(name, self._commands.jobs)]
        if not missing or self._configuration is None:
            return {}
        async with self._lock:
            after = await self._read(missing)
            for name in missing:
                if not replicas_of(name, after):
                    every = await to_thread.run_sync(self._configuration.names)
                    raise unknown_name(name, [*self._commands.jobs, *after, *every])
            new = self._with_new_needs(missing, after)
            self._added |= set(missing)
            needed = with_needs((), self._commands.jobs, new.values())
            begun, problems = await self._commands.begin(needed)
            problems |= self._start_all(new)
        if problems:
            raise RequestError("failed", "; ".join(problems.values()))
        return begun | {name: self._commands.jobs[name] for name in new}

    def _with_new_needs(
        self, names: Sequence[str], after: Mapping[str, Command]
    ) -> dict[str, Command]:
        """Return commands of the configuration, and what they need that the stack lacks."""
        left = [name for each in names for name in replicas_of(each, after)]
        new: set[str] = set()
        while left:
            name = left.pop()
            if name not in self._commands.jobs and name not in new:
                new.add(name)
                left += after[name].after
        return {name: command for name, command in after.items() if name in new}

    async def _read_difference(self) -> tuple[Difference, dict[str, Command]]:
        """Read the configuration again, and compare.  Cancellation: harmless.

        Raises:
            RequestError: the configuration is wrong, or there is none.
        """
        after = await self._read()
        change = difference(self._source, after)
        begun = {*change.start, *change.restart}
        unchanged = {name: after[name] for name in change.unchanged}
        again = skipped_dependents(begun, unchanged, self._commands.jobs)
        kept = tuple(name for name in change.unchanged if name not in again)
        return replace(change, unchanged=kept, again=again), after

    async def _read(self, also: Collection[str] = ()) -> dict[str, Command]:
        """Read the configuration again, with the commands that clients have added, and `also`.

        Cancellation: harmless.

        Raises:
            RequestError: the configuration is wrong, or there is none.
        """
        if self._configuration is None:
            raise RequestError("request", "this stack has no configuration that can be read again")
        names = {*self._added, *also}
        try:
            return by_name(await to_thread.run_sync(self._configuration.read, names))
        except CurrantError as error:
            raise RequestError("request", str(error)) from error

    async def _apply(
        self, change: Difference, after: dict[str, Command]
    ) -> tuple[Sequence[str], dict[str, str]]:
        """Stop and start commands; return as `reload` does."""
        commands = self._commands
        with commands.changing():
            jobs = commands.jobs
            ending = {*change.stop, *change.restart}
            with commands.holding(ending):
                async with anyio.create_task_group() as tasks:
                    for name in ending:
                        tasks.start_soon(partial(commands.stop, jobs[name], ending, now=False))
            for name in change.stop:
                commands.remove(name)
                del self._source[name]
            changed = (*change.start, *change.restart)
            problems = self._start_all({name: after[name] for name in changed})
            # The stops may have caused further commands to be skipped, which a client had started.
            others = {name: after[name] for name in (*change.unchanged, *change.again)}
            again = skipped_dependents(changed, others, jobs)
            problems |= (await commands.begin([jobs[name] for name in again]))[1]
            return (*changed, *again), problems

    def _start_all(self, sources: Mapping[str, Command]) -> dict[str, str]:
        """Start commands that are new or have changed; return why some could not be started."""
        problems: dict[str, str] = {}
        for name in in_order({name: source.after for name, source in sources.items()}):
            try:
                self._start(sources[name])
            except (CurrantError, RuntimeError) as error:  # RuntimeError: the Runner has ended.
                problems[name] = str(error)
        return problems

    def _start(self, source: Command) -> None:
        assert self._configuration is not None
        job = self._commands.add(self._configuration.prepare(source))
        self._source[job.name] = source
