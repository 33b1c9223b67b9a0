"""The source of the commands of a stack, and the difference between two readings of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from currant._values.names import Names, name_all

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from currant._values.command import Command

__all__ = ["Configuration", "Difference", "by_name", "difference"]


@dataclass(frozen=True, slots=True)
class Configuration:
    """The source of the commands of a stack.

    Attributes:
        commands: the commands as they were read at the start.
        read: reads the commands again, with further commands of these names if they exist; may
            block, and raises `CurrantError` if a file is wrong.
        prepare: adds the settings that depend on the place of the output, just before a start.
        names: reads the names of all commands that clients may start, for errors; like `read`.
    """

    commands: tuple[Command, ...]
    read: Callable[[Collection[str]], Iterable[Command]]
    prepare: Callable[[Command], Command]
    names: Callable[[], Iterable[str]] = tuple


@dataclass(frozen=True, slots=True)
class Difference:
    """The changes between two readings.

    Attributes:
        start: the names of new commands.
        stop: the names of commands that are gone.
        restart: the names of commands that have changed.
        unchanged: the names of all others.
        again: the names of unchanged commands that were skipped, and that need a command that
            starts now; they start, too.
    """

    start: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    again: tuple[str, ...] = ()


def by_name(commands: Iterable[Command]) -> dict[str, Command]:
    """Return the commands by name, each replica by itself, so that each can be started alone.

    Raises:
        CommandError: two commands have the same name.
    """
    named = name_all(list(commands), Names())
    names = {name: [each.name for each in several] for name, several in named.items()}
    return {str(each.name): _alone(each, names) for several in named.values() for each in several}


def _alone(command: Command, names: Mapping[str, Sequence[str]]) -> Command:
    """Return a command with an explicit name, and with each replica as a dependency of its own."""
    after = {
        replica: condition
        for name, condition in command.after.items()
        for replica in names.get(name, [name])
    }
    return replace(command, name=str(command.name), after=after)


def difference(before: Mapping[str, Command], after: Mapping[str, Command]) -> Difference:
    """Return the changes from one set of commands to another."""
    both = [name for name in after if name in before]
    return Difference(
        start=tuple(name for name in after if name not in before),
        stop=tuple(name for name in before if name not in after),
        restart=tuple(name for name in both if before[name] != after[name]),
        unchanged=tuple(name for name in both if before[name] == after[name]),
    )
