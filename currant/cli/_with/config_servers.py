"""Servers that ``currant with`` finds in the configuration of the project, by their names."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from currant.cli._prepare.from_config import config_files, read_config

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from currant._values.command import Command
    from currant._values.links import Condition
    from currant.config import Config

__all__ = ["NamedServers", "find_servers"]

_NAME = re.compile(r"[^\s/]+")

RUNNER_OPTIONS = ("restart", "grace", "cgroup", "kill_mode", "leftovers", "wrap")
"""The options of the Runner that concern each command by itself."""


class NamedServers(NamedTuple):
    """Commands of a configuration that are started for a test."""

    commands: Sequence[Command] = ()
    """The commands that are named, and their dependencies."""
    runner: Mapping[str, Any] = {}
    """The options of the Runner."""
    steps: frozenset[str] = frozenset()
    """The names of commands that have to end before another one starts, such as a migration."""

    @property
    def needs(self) -> dict[str, Condition | None]:
        """The commands that the test waits for, and the condition of each; None: ready."""
        return {
            each.name: "succeeded" if each.name in self.steps else None for each in self.commands
        }


def find_servers(words: Sequence[str], files: Sequence[str]) -> NamedServers:
    """Return the commands of the configuration that some of `words` name.

    Args:
        words: names and command lines; only a single word can be a name.
        files: the files of the configuration; empty: find the configuration.

    Raises:
        CurrantError: the configuration is wrong.
    """
    if not files and not any(map(_NAME.fullmatch, words)):
        return NamedServers()
    paths = config_files(files)
    if paths is None:
        return NamedServers()
    config = read_config(paths, None)
    known = {command.name for command in config.commands}
    names = [word for word in words if word in known]
    if not names:
        return NamedServers()
    return _of(config, names)


def _of(config: Config, names: Sequence[str]) -> NamedServers:
    steps = frozenset(
        name
        for command in config.commands
        for name, condition in command.after.items()
        if condition in ("succeeded", "ended")
    )
    commands = [
        replace(each, kill_others_on="failure" if each.name in steps else "exit")
        for each in config.select(names)
    ]
    runner = {name: value for name, value in config.runner.items() if name in RUNNER_OPTIONS}
    return NamedServers(commands, runner, steps)
