"""The names of the commands and replicas of one Runner."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NoReturn, TypeAlias, TypeVar, cast

from currant._values.command import (
    Command,
    CommandLike,
    DefaultName,
    as_command,
    check_name,
    with_name,
)
from currant._values.errors import (
    CommandError,
    CommandParseError,
    DuplicateNameError,
    UnknownNameError,
)

__all__ = ["ByName", "Commands", "Names", "name_all"]


T = TypeVar("T")

REPLICA = "CURRANT_REPLICA"
"""The variable that holds the number of a replica, from 1."""

Commands: TypeAlias = "Iterable[CommandLike] | Mapping[str, CommandLike]"
"""The forms in which a Runner accepts its commands; a mapping is from names to commands."""


class ByName(dict[str, T]):
    """A dict by the names of commands.  The error for an unknown name lists the names."""

    def __missing__(self, name: str) -> NoReturn:
        raise UnknownNameError(name, tuple(self))


class Names:
    """The names that are taken in one Runner.

    A default name that is taken gets a number: ``#2``, ``#3`` and so on.
    """

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._numbers: dict[str, int] = {}

    def give(self, command: Command) -> Command:
        """Take a name for `command` and return the command with that name.

        Raises:
            DuplicateNameError: the name is explicit, and taken.
        """
        name = command.name
        if isinstance(name, DefaultName):
            return with_name(command, self.unique(name))
        if name in self._taken:
            raise DuplicateNameError(name)
        self._taken.add(name)
        return command

    def forget(self, name: str) -> None:
        """Free a name; a default name is not given again."""
        self._taken.discard(name)

    def unique(self, base: str) -> str:
        """Take and return the first free name of `base`, ``base#2``, ``base#3`` and so on."""
        number = self._numbers.get(base, 0) + 1
        while (name := str(base) if number == 1 else f"{base}#{number}") in self._taken:
            number += 1
        self._numbers[base] = number  # makes the ten-thousandth name as fast as the second
        self._taken.add(name)
        return name


def name_all(commands: Commands, names: Names) -> dict[str, list[Command]]:
    """Build the commands of a Runner, with their names and replicas.

    Explicit names are taken first, so a default name gets a number even if its command is earlier.

    Returns:
        For each name, in the order given, a list with the command or with its replicas.

    Raises:
        CommandError: an argument is not a command, or is invalid.
        DuplicateNameError: two commands have the same explicit name.
    """
    built = _built(commands)
    named = dict[int, tuple[str, list[Command]]]()
    explicit_first = sorted(range(len(built)), key=lambda n: isinstance(built[n].name, DefaultName))
    for index in explicit_first:
        command = names.give(built[index])
        replicas = [names.give(replica) for replica in _replicas(command)]
        named[index] = command.name, replicas or [command]
    return dict(named[index] for index in range(len(built)))


def _built(commands: Commands) -> list[Command]:
    if isinstance(commands, Mapping):
        given = cast("Mapping[str, CommandLike]", commands)
        # A key is an explicit name, even if it was the default name of another command.
        keys = [str(key) if isinstance(key, DefaultName) else key for key in given]
        return [_named(key, value) for key, value in zip(keys, given.values(), strict=True)]
    if isinstance(commands, (str, Command)) or not isinstance(cast("object", commands), Iterable):
        raise CommandError(f"commands must be a list or a mapping of commands, not {commands!r}")
    return [as_command(value) for value in commands]


def _named(name: str, value: CommandLike) -> Command:
    try:
        check_name(name)
        return with_name(as_command(value), name)
    except CommandParseError:  # its message shows the text already
        raise
    except CommandError as error:
        raise type(error)(f"command {name!r}: {error}") from None


def _replicas(command: Command) -> list[Command]:
    """Return the replicas of `command` with their names and numbers; [] if there are none."""
    if command.replicas == 1:
        return []
    return [
        replace(
            command,
            name=f"{command.name}.{number}",
            env={**command.env, REPLICA: str(number)},
            replicas=1,
        )
        for number in range(1, command.replicas + 1)
    ]
