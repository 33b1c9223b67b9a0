"""`Definitions`: the commands of the project's ``currant.toml``, by name."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from currant._values.errors import UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from currant._values.command import Command
    from currant.config import Config

__all__ = ["Definitions"]

POLICIES = ("restart", "grace", "capture", "kill_mode", "leftovers")
"""The options of a Runner that a `Command` may have as well."""


class Definitions:
    """Finds commands in the configuration of a project.

    Args:
        files: the files; empty: the ``currant.toml`` of `folder` or of a folder above.
        folder: where to look.
    """

    def __init__(self, files: Sequence[Path], folder: Path) -> None:
        self._files = files
        self._folder = str(folder)
        self._config: Config | None = None  # without variables

    def get(self, name: str) -> Sequence[Command]:
        """Return a command with its dependencies before it.

        Raises:
            UnknownNameError: there is no command of that name.
            ConfigError: the configuration has mistakes.
        """
        commands = self.find(name, {})
        if commands is None:
            config = self._config
            if config is None:
                problem = f"no command is given for {name!r}, and there is no currant.toml"
                raise UnknownNameError(name, [], f"{problem} in {self._folder} or above")
            known = [each.name for each in config.commands]
            raise UnknownNameError(name, known, f"there is no command {name!r} in currant.toml")
        return commands

    def find(self, name: str, variables: Mapping[str, str]) -> Sequence[Command] | None:
        """Return a command with its dependencies before it; None if there is none of that name.

        Raises:
            ConfigError: the configuration has mistakes.
        """
        from currant.config._find import find_config  # noqa: PLC0415 - most suites need none

        if not self._files and find_config(self._folder) is None:
            return None
        config = self._load(variables)
        if not any(command.name == name for command in config.commands):
            return None
        options = {key: config.runner[key] for key in POLICIES if key in config.runner}
        return [_with_policies(each, options) for each in config.in_order(config.select([name]))]

    def _load(self, variables: Mapping[str, str]) -> Config:
        from currant.config import load  # noqa: PLC0415 - needs the extra `config`

        if variables:
            return load(self._files, self._folder, variables=variables)
        if self._config is None:
            self._config = load(self._files, self._folder)
        return self._config


def _with_policies(command: Command, options: Mapping[str, Any]) -> Command:
    """Return a command with the policies of the configuration's Runner, unless it has its own."""
    missing = {key: value for key, value in options.items() if getattr(command, key) is None}
    return replace(command, **missing) if missing else command
