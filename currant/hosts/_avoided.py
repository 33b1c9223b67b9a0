"""`Avoided`: the hosts that each command avoids.

A command never runs on a host that lacks its files.  With ``Hosts(retry_elsewhere=True)``, a
command that runs again also avoids the hosts on which it has run, until it has run on all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from currant.hosts._check import likeness
from currant.hosts._placement import Needs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from currant._values.launch_spec import LaunchSpec

__all__ = ["Avoided"]

MAX_TRIED = 10_000
"""How many commands are remembered for `retry_elsewhere`."""


class Avoided:
    """The hosts that each command avoids.

    Args:
        retry_elsewhere: whether a command avoids the hosts on which it has run.
    """

    def __init__(self, *, retry_elsewhere: bool) -> None:
        self._lacking: dict[str, set[str]] = {}  # by the name of the command
        self._lacking_alike: dict[str, set[str]] = {}  # by the likeness of commands
        self._tried: dict[str, set[str]] | None = {} if retry_elsewhere else None

    def needs_of(self, command: LaunchSpec, able: Callable[[Needs], Sequence[object]]) -> Needs:
        """Return what a command needs of its host.

        Args:
            command: the command.
            able: returns the hosts that could hold a command with such needs.
        """
        lacking = self._lacking.get(command.name)
        if lacking is None:
            # The batch of a `map` looks up one of its commands, under another name.
            alike = self._lacking_alike
            lacking = alike.get(likeness(command), set()) if alike else set[str]()
        if self._tried and (tried := self._tried.get(command.name)):
            elsewhere = Needs.of(command.resources, command.host, lacking | tried)
            if able(elsewhere):
                return elsewhere
            tried.clear()
        return Needs.of(command.resources, command.host, lacking)

    def note_lacking(self, commands: Sequence[LaunchSpec], hosts: set[str]) -> None:
        """Note that hosts cannot start commands, which are alike and have other files there."""
        if hosts:
            self._lacking.update((command.name, hosts) for command in commands)
            self._lacking_alike[likeness(commands[0])] = hosts

    def forget_lacking(self) -> None:
        """Forget which hosts cannot start which commands: the next Runner looks again."""
        self._lacking, self._lacking_alike = {}, {}

    def note_tried(self, name: str, host: str) -> None:
        """Note that a command runs on a host."""
        if self._tried is not None:
            self._tried.setdefault(name, set()).add(host)
            if len(self._tried) > MAX_TRIED:
                del self._tried[next(iter(self._tried))]

    def forget_tried_of(self, name: str) -> bool:
        """Forget where a command has run; return whether there was such a host."""
        return bool(self._tried and self._tried.pop(name, None))

    def forget_tried(self) -> None:
        """Forget where commands have run: the next Runner may run them on any host."""
        if self._tried is not None:
            self._tried.clear()
