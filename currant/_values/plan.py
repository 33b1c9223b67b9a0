"""`Plan`: the commands of a Runner, with names, replicas, policies and dependencies resolved.

A plan is pure, and is built together with the Runner, so that mistakes are reported before any
command runs.
"""

from __future__ import annotations

from dataclasses import fields, replace
from operator import attrgetter
from typing import TYPE_CHECKING

from currant._values.checks import naming
from currant._values.command import DefaultName, as_command, with_policies
from currant._values.dependencies import Dependencies, Needs, needs_among
from currant._values.emptied_files import check_emptied_files, empties_files
from currant._values.errors import CommandError
from currant._values.names import Names, name_all
from currant._values.policies import Policies
from currant._values.restart import as_restart_policy
from currant._values.terminal import check_terminal_is_kept

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from currant._values.command import Command, CommandLike
    from currant._values.names import Commands

__all__ = ["Plan", "policies_of"]


class Plan:
    """The commands of a Runner by name, their dependencies and their policies.

    Args:
        commands: the commands, in any form that `Runner` accepts.
        policies: the defaults for commands without policies of their own.

    Attributes:
        dependencies: the dependencies among the commands.
        restart_links: which commands restart with which.

    Raises:
        CommandError: a command is wrong, or commands wait for one another.
        DuplicateNameError: two commands were given the same name.
    """

    def __init__(self, commands: Commands, policies: Policies) -> None:
        self._policies = policies
        self._names = Names()
        named = name_all(commands, self._names)
        self._replicas = {
            name: [each.name for each in several]
            for name, several in named.items()
            if several[0].name != name
        }
        self._commands = {each.name: each for several in named.values() for each in several}
        self.dependencies = Dependencies()
        self.restart_links = Dependencies("restart_with")
        for command in self._commands.values():
            self.dependencies.add(command.name, self._needs_of(command))
            self.restart_links.add(command.name, self._restarts_of(command))
        self.dependencies.check()
        self.restart_links.check()
        self._check_files(self._commands.values())

    @property
    def commands(self) -> Mapping[str, Command]:
        """The commands by name, in the order given; the mapping grows as commands are added."""
        return self._commands

    def add(self, command: CommandLike, may_run_again: Callable[[str], bool]) -> Command:
        """Add one more command, and return the command with its name in the Runner.

        Args:
            command: the command.
            may_run_again: whether the command of a name has ended, so that `command` may replace it
                if `command` was given that name.  A default name gets a number in any case.

        Raises:
            CommandError: the command is wrong.
            DuplicateNameError: the command was given a name that is taken.
        """
        built = as_command(command)
        if built.replicas != 1:
            raise CommandError(
                f"command {built.name!r}: replicas are for the commands that a Runner is built "
                "with; start each replica by itself"
            )
        needs, restarts, name = self._needs_of(built), self._restarts_of(built), built.name
        is_known = not isinstance(name, DefaultName) and name in self._commands
        if is_known and may_run_again(name):
            named = built
            self._check_files_of(named, may_run_again)
            self._replace_links(name, needs, restarts)
        else:
            named = self._names.give(built)
            self._check_files_of(named, may_run_again)
            self.dependencies.add(named.name, needs)
            self.restart_links.add(named.name, restarts)
        self._commands[named.name] = named
        return named

    def is_needed(self, name: str) -> bool:
        """Return whether another command waits for the command, or restarts with it."""
        return self.dependencies.is_needed(name) or self.restart_links.is_needed(name)

    def forget(self, name: str) -> None:
        """Forget a command that has ended and is not needed; its name is free again."""
        del self._commands[name]
        self.dependencies.forget(name)
        self.restart_links.forget(name)
        self._names.forget(name)

    def policies_of(self, command: Command) -> Policies:
        """Return the policies of `command`, with the Runner's defaults filled in."""
        return policies_of(command, self._policies)

    def to_launch(self, command: Command) -> Command:
        """Return `command` with the policies that a launcher has to know."""
        return with_policies(command, self.policies_of(command))

    def _replace_links(self, name: str, needs: Needs, restarts: Needs) -> None:
        before = self.dependencies[name]
        self.dependencies.replace(name, needs)
        try:
            self.restart_links.replace(name, restarts)
        except CommandError:
            self.dependencies.replace(name, before)
            raise

    def _check_files_of(self, command: Command, has_ended: Callable[[str], bool]) -> None:
        """Check the files of one more command, beside those of the commands that have not ended."""
        if empties_files(command, self.policies_of(command).capture):
            others = [each for each in self._commands.values() if each.name != command.name]
            self._check_files([command, *(each for each in others if not has_ended(each.name))])

    def _check_files(self, commands: Iterable[Command]) -> None:
        check_emptied_files((each, self.policies_of(each).capture) for each in commands)

    def _needs_of(self, command: Command) -> Needs:
        """Return the dependencies of `command`, after a check that they can be met."""
        needs = needs_among("after", command, self._commands, self._replicas)
        for other, condition in needs.items():
            restart = self.policies_of(self._commands[other]).restart
            if condition == "succeeded" and restart.is_endless:
                raise CommandError(
                    f"command {command.name!r}: after: {other!r} can never succeed: "
                    "its restart policy restarts it forever; wait until it is 'ready' or 'started'"
                )
        return needs

    def _restarts_of(self, command: Command) -> Needs:
        return needs_among("restart_with", command, self._commands, self._replicas)


def policies_of(command: Command, defaults: Policies) -> Policies:
    """Return the policies of `command`, with defaults filled in."""
    own = zip(_POLICIES, _policies_in(command), strict=True)
    changes = {name: value for name, value in own if value is not None}
    if "restart" in changes:
        changes["restart"] = as_restart_policy(changes["restart"])
    policies = replace(defaults, **changes) if changes else defaults
    if command.pty:
        with naming(command.name):
            check_terminal_is_kept(command.pty, policies.leftovers)
    return policies


_POLICIES = tuple(policy.name for policy in fields(Policies))

_policies_in: Callable[[Command], tuple[Any, ...]] = attrgetter(*_POLICIES)
