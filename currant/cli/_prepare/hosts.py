"""From the options about hosts to a launcher, and messages about hosts for the user."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import anyio

from currant._values.errors import CommandError
from currant._values.host_names import fold
from currant._values.messages import HostLost, HostUp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anyio.abc import ObjectReceiveStream

    from currant._values.command import Command
    from currant._values.errors import HostLostError
    from currant._values.messages import BatchMessage
    from currant.cli._options import HostOptions, Options
    from currant.hosts import ArgvConnect, Host, Hosts
    from currant.sinks._events import EventMessage

__all__ = ["HostRecord", "HostRemark", "build_hosts", "chosen_hosts", "on_hosts", "way_to_hosts"]

NEED_HOSTS: tuple[Literal["per_host", "each", "same", "ssh", "python", "forward_env"], ...] = (
    "per_host",
    "each",
    "same",
    "ssh",
    "python",
    "forward_env",
)
"""The options that have no effect without a host."""


def chosen_hosts(options: HostOptions) -> list[Host]:
    """Return the hosts of ``--hosts`` and ``--hosts-file``, with the Python of ``--python``.

    Raises:
        CommandError: two hosts have the same name, or the Python is not the name of a program.
    """
    hosts = [host for group in (*options["hosts"], *options["hosts_file"]) for host in group]
    python = options["python"]
    if python == "":
        raise CommandError("--python must be the name or the path of a program, not ''")
    names = Counter("LOCAL" if host.is_local else host.name for host in hosts)
    if twice := [name for name, count in names.items() if count > 1]:
        raise CommandError(
            f"--hosts: {fold(twice)!r} is named more than once; write 2/{twice[0]} for two "
            "commands at a time"
        )
    return [host if python is None else replace(host, python=python) for host in hosts]


def way_to_hosts(options: HostOptions) -> ArgvConnect:
    """Return the way to hosts, through the program of ``--ssh``."""
    from currant.hosts import ssh  # noqa: PLC0415 - most runs have no hosts

    program, *given = options["ssh"] or ("ssh",)
    return ssh(given, program=program)


def build_hosts(options: Options, folder: str = "") -> Hosts | None:
    """Return the launcher for the hosts that the options name; None if there are none.

    Args:
        options: the options.
        folder: where commands that run on this machine begin; empty: in the current folder.

    Raises:
        CommandError: two options exclude each other, or one requires another.
    """
    hosts = chosen_hosts(options)
    _check_combinations(options, has_hosts=bool(hosts))
    if not hosts:
        return None
    from currant.hosts import Hosts  # noqa: PLC0415 - most runs have no hosts

    return Hosts(
        [replace(host, cwd=folder) if folder and host.is_local else host for host in hosts],
        connect=way_to_hosts(options),
        per_host=options["per_host"],
        forward_env=options["forward_env"],
    )


def _check_combinations(options: Options, *, has_hosts: bool) -> None:
    if not has_hosts:
        for name in NEED_HOSTS:
            if options[name]:
                raise CommandError(f"--{name.replace('_', '-')} requires --hosts or --hosts-file")
        return
    if options["cgroup"] != "no":
        raise CommandError("--cgroup and --hosts cannot be combined")
    if options["same"] and not options["each"]:
        raise CommandError("--same requires --each")


def on_hosts(commands: Sequence[Command], options: Options, hosts: Hosts | None) -> list[Command]:
    """Return the commands to run: with ``--each``, every command once for each host."""
    if hosts is None or not options["each"]:
        return list(commands)
    from currant.hosts import on_each  # noqa: PLC0415 - most runs have no hosts

    return on_each(hosts, *commands)


class HostRecord:
    """A sink that remembers which hosts were lost.

    Attributes:
        lost: the hosts that are lost now, and why, by name.
    """

    def __init__(self) -> None:
        self.lost: dict[str, HostLostError] = {}

    async def __call__(self, messages: ObjectReceiveStream[BatchMessage]) -> None:
        """Note all messages about hosts until the end."""
        with suppress(anyio.EndOfStream):
            while True:
                match await messages.receive():
                    case HostLost(host=host, error=error):
                        self.lost[host] = error
                    case HostUp(host=host):
                        self.lost.pop(host, None)
                    case _:
                        pass


class HostRemark:
    """Builds the line that a host is up again, for hosts that were shown as lost."""

    def __init__(self) -> None:
        self._lost: set[str] = set()

    def __call__(self, message: EventMessage) -> str | None:
        """Return the line that follows the text of `message`; None if there is none."""
        match message:
            case HostLost(host=host):
                self._lost.add(host)
            case HostUp(host=host) if host in self._lost:
                self._lost.remove(host)
                return f"the host {host!r} is up again"
            case _:
                pass
        return None
