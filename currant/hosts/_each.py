"""`on_each`: the same command on each of many hosts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from currant._values.command import as_command
from currant._values.errors import CommandError
from currant.hosts._hosts import Hosts, as_hosts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from currant._values.command import Command, CommandLike
    from currant.hosts._host import Host

__all__ = ["on_each"]


def on_each(
    hosts: Hosts | str | Iterable[str | Host],
    command: CommandLike | Callable[[Host], CommandLike],
) -> list[Command]:
    """Return one command for each host, pinned to the host, with a name such as ``uptime@a``.

    A function can build another command for each host::

        from currant import Command
        from currant.hosts import on_each

        commands = on_each("a,b", lambda host: Command(["serve", "--as", host.name], name="web"))
        assert [command.name for command in commands] == ["web@a", "web@b"]

    Args:
        hosts: a `Hosts`, or hosts in any form that `Hosts` accepts.
        command: the command, in any form that a Runner accepts, or a function that returns the
            command of a `Host`.

    Raises:
        CommandError: a command or a host is invalid, or a command is pinned to another host.
    """
    known = hosts.hosts.values() if isinstance(hosts, Hosts) else as_hosts(hosts)
    return [_pinned(command(host) if callable(command) else command, host) for host in known]


def _pinned(command: CommandLike, host: Host) -> Command:
    built = as_command(command)
    if built.host not in (None, host.name):
        raise CommandError(
            f"command {built.name!r}: on_each runs it on {host.name!r}, but host={built.host!r}"
        )
    return replace(built, name=f"{built.name}@{host.name}", host=host.name)
