"""The links among commands, as a graph of names: `Command.after` and `Command.restart_with`.

The graph is pure: `currant._supervisor.conditions` asks the running commands whether a condition is
met.  Commands are stopped in reverse order, so a command outlives the commands that depend on it.
"""

from __future__ import annotations

from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Literal, TypeAlias

from currant._values.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from currant._values.command import Command
    from currant._values.links import Condition

__all__ = ["Dependencies", "Needs", "in_order", "loops_in", "needs_among"]

Needs: TypeAlias = "dict[str, Condition | None]"
"""A condition for each dependency, by name; None: ready, or started for one without a probe."""


class Dependencies:
    """The dependencies among the commands of one Runner.

    Args:
        option: the option of `Command` that names them.
    """

    def __init__(self, option: Literal["after", "restart_with"] = "after") -> None:
        self._option = option
        self._needs: dict[str, Needs] = {}
        self._needed_by: defaultdict[str, list[str]] = defaultdict(list)

    def __contains__(self, name: str) -> bool:
        """Return whether the command waits for any other command."""
        return name in self._needs

    def __getitem__(self, name: str) -> Needs:
        """Return the dependencies of the command; empty if there are none."""
        return self._needs.get(name, {})

    def add(self, name: str, needs: Needs) -> None:
        """Add the dependencies of a command."""
        if needs:
            self._needs[name] = needs
        for other in needs:
            self._needed_by[other].append(name)

    def is_needed(self, name: str) -> bool:
        """Return whether another command depends on the command."""
        return bool(self._needed_by.get(name))

    def forget(self, name: str) -> None:
        """Forget a command that no other one depends on."""
        for other in self._needs.pop(name, {}):
            self._needed_by[other].remove(name)
        self._needed_by.pop(name, None)

    def replace(self, name: str, needs: Needs) -> None:
        """Replace the dependencies of a command that is run again.

        Raises:
            CommandError: the command would wait for itself; nothing has changed.
        """
        before = self._needs.pop(name, {})
        for other in before:
            self._needed_by[other].remove(name)
        self.add(name, needs)
        try:
            self.check()
        except CommandError:
            self.replace(name, before)
            raise

    def check(self) -> None:
        """Check that no command waits for itself.

        Raises:
            CommandError: a command does; the text names all of the cycle.
        """
        for loop in loops_in(self._needs):
            is_after = self._option == "after"
            what, link = ("wait for", " after ") if is_after else ("restart with", " with ")
            cycle = link.join(map(repr, loop))
            raise CommandError(f"{self._option}: commands {what} one another: {cycle}")

    def dependents(self, name: str) -> Iterator[str]:
        """Yield the commands that need the command, directly or through others; each once."""
        seen = {name}
        unvisited = [name]
        while unvisited:
            for other in self._needed_by.get(unvisited.pop(), ()):
                if other not in seen:
                    seen.add(other)
                    unvisited.append(other)
                    yield other

    def longest_chain(self, seconds: Mapping[str, float]) -> float:
        """Return how long the slowest chain of dependent commands takes, one after another.

        Args:
            seconds: how long each command takes, by name; commands that are missing take no time.
        """
        chains = dict(seconds)
        for name in TopologicalSorter(self._needs).static_order():
            before = [chains.get(other, 0.0) for other in self[name]]
            chains[name] = seconds.get(name, 0.0) + max(before, default=0.0)
        return max(chains.values(), default=0.0)


def in_order(needs: Mapping[str, Collection[str]]) -> list[str]:
    """Return names, each behind the names that it needs, and otherwise in the order given.

    Args:
        needs: for each name, the names that it needs; others than the given ones do not count.
            Names that need one another keep their order.
    """
    ordered: list[str] = []
    left = dict.fromkeys(needs)
    while left:
        free = [name for name in left if left.keys().isdisjoint(needs[name])] or list(left)
        ordered += free
        for name in free:
            del left[name]
    return ordered


def loops_in(needs: Mapping[str, Collection[str]]) -> Iterator[list[str]]:
    """Yield loops of names that need one another, the first name also at the end.

    Args:
        needs: for each name, the names that it needs.  Names that are in a loop, or in several, are
            in one of the loops that are yielded.
    """
    left = dict(needs)
    while True:
        try:
            TopologicalSorter(left).prepare()
        except CycleError as error:
            loop: list[str] = error.args[1][::-1]
            yield loop
            for name in loop[1:]:
                del left[name]
        else:
            return


def needs_among(
    option: Literal["after", "restart_with"],
    command: Command,
    known: Mapping[str, Command],
    replicas: Mapping[str, Sequence[str]],
) -> Needs:
    """Return the dependencies of `command`, with replicas in place of their common name.

    Args:
        option: the option that names them.
        command: the command.
        known: all commands that may be named, by name.
        replicas: the names of the replicas, by their common name.

    Raises:
        CommandError: `command` names a command that does not exist.
    """
    needs: Needs = {}
    named = command.after if option == "after" else dict.fromkeys(command.restart_with)
    for name, condition in named.items():
        for each in replicas.get(name, [name]):
            if each not in known:
                names = ", ".join(repr(other) for other in known) or "none"
                raise CommandError(
                    f"command {command.name!r}: {option}: there is no command {name!r}; "
                    f"there are: {names}"
                )
            needs[each] = condition
    return needs
