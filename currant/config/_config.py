"""`Config`: the commands and options of a configuration, for a `Runner`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from currant._values.dependencies import in_order
from currant._values.errors import CommandError, suggestion

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from currant._values.command import Command

__all__ = ["Config"]


@dataclass(frozen=True, slots=True)
class Config:
    """The commands and options that the files of a configuration describe.

    Two configurations are equal if their fields are, so a program can find out what has changed.

    Attributes:
        values: the values of all files together, as TOML has them, such as
            ``{"grace": 10, "commands": {"web": {"command": "serve"}}}``.
        commands: all commands, in the order of the files.
        runner: the options of the `Runner` that the files set, by name.
        display: the options of the command line about output that the files set, by name, such as
            ``prefix`` and ``log_dir``.
        env: the variables for all commands; each of `commands` has them already.
        hidden: the names of the commands with hidden output.
        profiles: the name of each profile -> the names of its commands.
        sources: the paths of the files, in the order in which they were read.
        folder: the folder of the first file, which is the folder of the project.
    """

    values: Mapping[str, Any]
    commands: tuple[Command, ...]
    runner: Mapping[str, Any]
    display: Mapping[str, Any]
    env: Mapping[str, str]
    hidden: frozenset[str]
    profiles: Mapping[str, tuple[str, ...]]
    sources: tuple[str, ...]
    folder: str

    def select(
        self,
        names: Sequence[str] = (),
        profiles: Iterable[str] = (),
        also: Iterable[str] = (),
    ) -> tuple[Command, ...]:
        """Return the commands to start, in the order of the files.

        Args:
            names: the commands to start, with their dependencies; empty: all commands without a
                profile.
            profiles: the commands of these profiles start, too, with their dependencies.
            also: so do these commands, if they exist.

        Raises:
            CommandError: there is no such command or profile, or no command is left to start.
        """
        by_name = {command.name: command for command in self.commands}
        enabled = set(profiles)
        for name in names:
            if name not in by_name:
                raise CommandError(
                    f"there is no command {name!r} in {self._files}"
                    f"{suggestion(name, tuple(by_name))}"
                )
        for profile in enabled:
            if profile not in self.profiles:
                raise CommandError(
                    f"there is no profile {profile!r} in {self._files}"
                    f"{suggestion(profile, tuple(self.profiles))}"
                )
        in_profile = {name for group in self.profiles.values() for name in group}
        chosen = {name for profile in enabled for name in self.profiles[profile]}
        chosen |= set(names) if names else by_name.keys() - in_profile
        chosen |= by_name.keys() & set(also)
        chosen = self._with_needed(chosen)
        if not chosen:
            raise CommandError(
                f"each command of {self._files} has a profile; choose one of "
                f"{', '.join(self.profiles)} with --profile, or name the commands"
            )
        return tuple(_among(each, chosen) for each in self.commands if each.name in chosen)

    def in_order(self, commands: Iterable[Command]) -> tuple[Command, ...]:
        """Return commands with each behind its dependencies, and otherwise in the same order."""
        by_name = {command.name: command for command in commands}
        needs = {name: self._needs(command) for name, command in by_name.items()}
        return tuple(by_name[name] for name in in_order(needs))

    def _with_needed(self, names: Iterable[str]) -> set[str]:
        """Return the names, and the names of all direct and indirect dependencies."""
        by_name = {command.name: command for command in self.commands}
        chosen = set[str]()
        unvisited = list(names)
        while unvisited:
            name = unvisited.pop()
            if name not in chosen:
                chosen.add(name)
                unvisited += self._needs(by_name[name])
        return chosen

    def _needs(self, command: Command) -> set[str]:
        """Return the names of the dependencies of a command, without the numbers of replicas."""
        tables = self.values["commands"]
        return {name if name in tables else name.rpartition(".")[0] for name in command.after}

    @property
    def _files(self) -> str:
        return " and ".join(self.sources) or "the configuration"


def _among(command: Command, names: Collection[str]) -> Command:
    """Return `command` without the commands in `restart_with` that are not started."""
    kept = tuple(
        other
        for other in command.restart_with
        if other in names or other.rpartition(".")[0] in names  # a replica
    )
    return command if kept == command.restart_with else replace(command, restart_with=kept)
