"""Look up what commands need, on each host that could run them, before any command starts."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

import anyio

from currant._remote.launcher import RemoteLauncher
from currant._values.errors import CommandError, CurrantError, HostLostError
from currant._values.launch_spec import LaunchSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from currant._process.local import LocalLauncher
    from currant.hosts._member import Member

__all__ = ["Findings", "group_alike", "likeness", "look_up"]


class Findings:
    """Which hosts can start which commands.

    Attributes:
        not_on: the hosts that cannot start a command, by the name of the command.
        errors: for a command that no host can start, the first error, by the name of the command.
    """

    def __init__(self) -> None:
        self.not_on: dict[str, set[str]] = {}
        self.errors: dict[str, CurrantError] = {}
        self._able: set[str] = set()

    def note(self, name: str, host: str, error: CurrantError | None) -> None:
        """Note the answer of a host: None if the host can start the command.

        A host that was lost has not answered; it counts as able to start the command.
        """
        if error is None or isinstance(error, HostLostError):
            self._able.add(name)
            self.errors.pop(name, None)
            return
        self.not_on.setdefault(name, set()).add(host)
        if name not in self._able:
            self.errors.setdefault(name, error)


def likeness(command: LaunchSpec) -> str:
    """Return a text that is the same for commands for which a look-up has the same answer."""
    values = {name: getattr(command, name) for name in _DECISIVE}
    if isinstance(command.stdin, bytes):
        values["stdin"] = b""
    return f"{command.argv[0]!r} {values!r}"


def group_alike(commands: Iterable[LaunchSpec]) -> list[list[LaunchSpec]]:
    """Group commands for which a look-up has the same answer, so that one of a group is enough."""
    groups: dict[str, list[LaunchSpec]] = {}
    for command in commands:
        groups.setdefault(likeness(command), []).append(command)
    return list(groups.values())


_DECISIVE = tuple(
    spec.name for spec in fields(LaunchSpec) if spec.name not in ("argv", "name", "grace")
)
"""The fields that decide, with the program, whether a host can start a command."""


async def look_up(specs: Mapping[Member, Sequence[LaunchSpec]]) -> Findings:
    """Ask each host about the commands that it could run; all hosts at the same time.

    Cancellation: harmless.
    """
    findings = Findings()
    async with anyio.create_task_group() as tasks:
        for member, commands in specs.items():
            tasks.start_soon(_ask, member, commands, findings)
    return findings


async def _ask(member: Member, commands: Sequence[LaunchSpec], findings: Findings) -> None:
    errors = await _errors_of(member, commands)
    for command, error in zip(commands, errors, strict=True):
        findings.note(command.name, member.host.name, error)


async def _errors_of(
    member: Member, commands: Sequence[LaunchSpec]
) -> Sequence[CurrantError | None]:
    launcher = member.launcher
    if isinstance(launcher, RemoteLauncher):
        return await launcher.errors_of(commands)
    return [None if launcher is None else await _error_of(launcher, each) for each in commands]


async def _error_of(launcher: LocalLauncher, command: LaunchSpec) -> CurrantError | None:
    try:
        await launcher.check([command])
    except CommandError as error:
        return error
    return None
