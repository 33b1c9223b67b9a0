"""The commands of a blocking Runner: the functions that their probes call may block."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from currant._values.command import Command

if TYPE_CHECKING:
    from currant._values.command import CommandLike
    from currant._values.names import Commands

__all__ = ["all_for_threads", "for_threads"]


def for_threads(command: CommandLike) -> CommandLike:
    """Return a command whose probes call functions in worker threads."""
    if not isinstance(command, Command):
        return command  # It has no probe.
    ready, alive = command.ready, command.alive
    if ready is None and alive is None:
        return command
    return replace(
        command,
        ready=None if ready is None else ready.in_threads(),
        alive=None if alive is None else alive.in_threads(),
    )


def all_for_threads(commands: Commands) -> Commands:
    """Return all commands of a Runner as `for_threads` does."""
    if isinstance(commands, Mapping):
        named = cast("Mapping[str, CommandLike]", commands)
        return {name: for_threads(command) for name, command in named.items()}
    if isinstance(commands, (str, Command)) or not isinstance(cast("object", commands), Iterable):
        return commands  # The Runner refuses this.
    return [for_threads(command) for command in commands]
