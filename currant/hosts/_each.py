"""`on_each`: the same commands on each of many hosts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from currant._values.command import as_command
from currant._values.errors import CommandError
from currant.hosts._hosts import Hosts, as_hosts

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from currant._values.command import Command, CommandLike
    from currant.hosts._host import Host

__all__ = ["on_each"]


def on_each(
    hosts: Hosts | str | Iterable[str | Host],
    *commands: CommandLike | Callable[[Host], CommandLike],
) -> list[Command]:
    """Return each command once for each host, pinned to the host, with a name such as ``uptime@a``.

    A function can build another command for each host::

        from currant import Command
        from currant.hosts import on_each

        commands = on_each("a,b", lambda host: Command(["serve", "--as", host.name], name="web"))
        assert [command.name for command in commands] == ["web@a", "web@b"]

    Commands of the same call may depend on each other.  In their `Command.after` and
    `Command.restart_with`, the name of such a command means its copy on the same host::

        from currant import Command
        from currant.hosts import on_each

        copy = Command(["cp", "-r", "/shared/data", "/tmp"], name="copy")
        work = Command(["./work", "/tmp/data"], name="work", after={"copy": "succeeded"})
        commands = on_each("a,b", copy, work)
        assert dict(commands[-1].after) == {"copy@b": "succeeded"}

    Args:
        hosts: a `Hosts`, or hosts in any form that `Hosts` accepts.
        commands: the commands, each in any form that a Runner accepts, or a function that returns
            the command of a `Host`.

    Returns:
        The first command for all hosts, then the second command for all hosts, and so on.

    Raises:
        CommandError: a command or a host is invalid, or a command is pinned to another host.
    """
    known = list(hosts.hosts.values() if isinstance(hosts, Hosts) else as_hosts(hosts))
    copies = [_copies_on(host, commands) for host in known]
    return [copy for same in zip(*copies, strict=True) for copy in same]


def _copies_on(
    host: Host, commands: Iterable[CommandLike | Callable[[Host], CommandLike]]
) -> list[Command]:
    """Return the commands as they run on one host."""
    built = [as_command(each(host) if callable(each) else each) for each in commands]
    names = {command.name for command in built}
    return [_pinned(command, host, names) for command in built]


def _pinned(command: Command, host: Host, names: Collection[str]) -> Command:
    if command.host not in (None, host.name):
        raise CommandError(
            f"command {command.name!r}: on_each runs it on {host.name!r}, but host={command.host!r}"
        )
    return replace(
        command,
        name=f"{command.name}@{host.name}",
        host=host.name,
        after={_on(host, other, names): until for other, until in command.after.items()},
        restart_with=tuple(_on(host, other, names) for other in command.restart_with),
    )


def _on(host: Host, name: str, names: Collection[str]) -> str:
    """Return the name that a command, or a replica of a command, has on a host.

    Args:
        host: the host.
        name: the name without the host.
        names: the names of the commands that run on each host; any other name stays.
    """
    base, _, number = name.rpartition(".")
    if name not in names and base in names and number.isdecimal():
        return f"{base}@{host.name}.{number}"
    return f"{name}@{host.name}" if name in names else name
