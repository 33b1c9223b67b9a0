"""The names that the commands of one Runner go by, those of replicas among them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TypeAlias, cast

from currant._values.command import (
    Command,
    CommandLike,
    DefaultName,
    as_command,
    with_name,
)
from currant._values.errors import CommandError, CommandParseError, DuplicateNameError

__all__ = ["Commands", "Names", "name_all"]


REPLICA = "CURRANT_REPLICA"
"""The variable in which each replica finds its number, from 1."""

Commands: TypeAlias = "Iterable[CommandLike] | Mapping[str, CommandLike]"
"""What a Runner runs: commands, or a mapping from their names to them."""


class Names:
    """The names that the commands of one Runner go by.

    A name that was not given gets ``#2``, ``#3``… where it is taken.
    """

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._numbers: dict[str, int] = {}

    def give(self, command: Command) -> Command:
        """Return `command` with the name that it goes by from now on.

        Raises:
            DuplicateNameError: a name that was given is taken.
        """
        name = command.name
        if isinstance(name, DefaultName):
            return with_name(command, self.unique(name))
        if name in self._taken:
            raise DuplicateNameError(name)
        self._taken.add(name)
        return command

    def unique(self, base: str) -> str:
        """Take `base`, or where that is taken the next of ``base#2``, ``base#3``…; return it."""
        name, number = str(base), self._numbers.get(base, 1)
        while name in self._taken:
            number += 1
            name = f"{base}#{number}"
        self._numbers[base] = number  # so that the ten-thousandth is found as fast as the second
        self._taken.add(name)
        return name


def name_all(commands: Commands, names: Names) -> dict[str, list[Command]]:
    """Return the commands under the names that they go by, with their replicas.

    What was given a name gets it first; so a default name gives way, wherever it stands.

    Returns:
        In the order given, by each name the command, or the replicas that have it in common.

    Raises:
        CommandError: what was given are no commands.
        DuplicateNameError: a name that was given is taken.
    """
    built = _built(commands)
    by_default = [isinstance(command.name, DefaultName) for command in built]
    places: dict[int, Command] = {}
    replicas: dict[int, list[Command]] = {}
    for turn in (False, True):
        for place, command in enumerate(built):
            if by_default[place] is turn:
                places[place] = named = names.give(command)
                replicas[place] = [names.give(each) for each in _replicas(named)] or [named]
    return {places[place].name: replicas[place] for place in range(len(built))}


def _built(commands: Commands) -> list[Command]:
    if isinstance(commands, Mapping):
        given = cast("Mapping[str, CommandLike]", commands)
        # A key is a name that was given, also where it was another command's default.
        keys = [str(key) if isinstance(key, DefaultName) else key for key in given]
        return [_named(key, value) for key, value in zip(keys, given.values(), strict=True)]
    if isinstance(commands, (str, Command)) or not isinstance(cast("object", commands), Iterable):
        raise CommandError(f"commands must be a list or a mapping of commands, not {commands!r}")
    return [as_command(value) for value in commands]


def _named(name: str, value: CommandLike) -> Command:
    try:
        return replace(as_command(value), name=name)
    except CommandParseError:  # which shows the text
        raise
    except CommandError as error:
        raise type(error)(f"command {name!r}: {error}") from None


def _replicas(command: Command) -> list[Command]:
    """Return the command as often as it is to be run, each with its own name and number."""
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
