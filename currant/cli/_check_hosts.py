"""``currant hosts check``: show whether hosts can run commands, and how fast they answer."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import anyio
import click

from currant._remote.launcher import RemoteLauncher
from currant._system.processors import usable_processors
from currant._values.command import Command
from currant._values.errors import CurrantError, HostLostError
from currant._values.printable import printable
from currant.cli._host_options import HOST_OPTIONS, add_options
from currant.cli._prepare.file_limit import FILES_PER_HOST, OTHER_FILES, raise_file_limit
from currant.cli._prepare.hosts import chosen_hosts, way_to_hosts
from currant.cli._signals import raising_interrupts
from currant.cli._summary import console_for
from currant.hosts._turns import Turns

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Unpack

    from currant.cli._options import HostOptions
    from currant.hosts import Connect, Host

__all__ = ["Finding", "check_hosts", "hosts", "show_as_json", "show_as_table"]

LIMIT = 13.0
"""Seconds for each host.  With the end of its connection, it takes 15 at most."""

TRIPS = 3
"""How many round trips are measured; the shortest counts, because the first may start programs."""


@click.group()
def hosts() -> None:
    """See which hosts can run commands."""


@hosts.command("check")
@add_options(HOST_OPTIONS)
@click.option("--json", "as_json", is_flag=True, help="Write a JSON object for each host.")
def check_hosts_and_exit(*, as_json: bool, **options: Unpack[HostOptions]) -> int:
    """Show whether each host can run commands.

    Connects to 32 hosts at a time, to each for 15 seconds at most.  Shows the Python of each host,
    its processors, the round trip, and the problem if there is one.  The exit status is 1 if a host
    cannot run commands.
    """
    if not (options["hosts"] or options["hosts_file"]):
        raise click.UsageError("give the hosts, with --hosts or --hosts-file")
    try:
        chosen = chosen_hosts(options)
        raise_file_limit(len(chosen) * FILES_PER_HOST + OTHER_FILES)
        with raising_interrupts():  # The connections must be closed.
            findings = anyio.run(check_hosts, chosen, way_to_hosts(options))
    except CurrantError as error:
        raise click.UsageError(str(error)) from error
    (show_as_json if as_json else show_as_table)(findings)
    return int(any(finding.problem for finding in findings))


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of the check of one host.

    Attributes:
        host: the name of the host.
        python: the version of the Python that currant found there; None if it found none.
        cpus: how many processors the host has.
        round_trip_ms: how long the host takes to answer, in milliseconds; None for this machine.
        problem: why the host cannot run commands; None if it can.
    """

    host: str
    python: str | None = None
    cpus: int | None = None
    round_trip_ms: float | None = None
    problem: str | None = None


async def check_hosts(hosts: Sequence[Host], connect: Connect) -> list[Finding]:
    """Connect to all hosts, few at a time, and return a finding for each, in their order.

    Cancellation: closes the connections.
    """
    findings = dict[str, Finding]()

    async def check(host: Host) -> None:
        async with turns.take():
            findings[host.name] = await _check(host, connect)

    async with anyio.create_task_group() as tasks:
        turns = Turns(tasks)
        for host in hosts:
            tasks.start_soon(check, host)
    return [findings[host.name] for host in hosts]


async def _check(host: Host, connect: Connect) -> Finding:
    if host.is_local:
        return Finding(host.name, platform.python_version(), usable_processors())
    try:
        with anyio.fail_after(LIMIT):
            return await _connect(host, connect)
    except TimeoutError:
        return Finding(host.name, problem=f"it has not answered within {LIMIT:g} s")
    except HostLostError as error:
        return Finding(host.name, problem=error.reason)
    except CurrantError as error:
        return Finding(host.name, problem=str(error))


async def _connect(host: Host, connect: Connect) -> Finding:
    async with RemoteLauncher(host.name, connect(host), orphan_guard=False) as launcher:
        trips: list[float] = []
        for _ in range(TRIPS):
            begin = anyio.current_time()
            # Any question that the agent answers without starting a command.
            await launcher.check([Command.shell(":", name="sh")])
            trips.append(anyio.current_time() - begin)
        connection = launcher.connection
        shortest = round(min(trips) * 1000, 1)
        return Finding(host.name, connection.python, connection.cpus, shortest)


def show_as_json(findings: Iterable[Finding]) -> None:
    """Write a JSON object for each host, each on its own line."""
    for finding in findings:
        print(json.dumps(asdict(finding)))


def show_as_table(findings: Iterable[Finding]) -> None:
    """Write a table with a row for each host."""
    from rich.table import Table  # noqa: PLC0415 - slow, and only this needs it
    from rich.text import Text  # noqa: PLC0415

    table = Table("host", "python", box=None, pad_edge=False)
    for title in ("cpus", "round trip"):
        table.add_column(title, justify="right")
    table.add_column("problem", overflow="fold")
    for finding in findings:
        trip = finding.round_trip_ms
        table.add_row(
            Text(printable(finding.host)),
            finding.python or "",
            "" if finding.cpus is None else str(finding.cpus),
            "" if trip is None else f"{trip:.1f} ms",
            Text(_in_one_line(finding.problem or ""), "red"),
        )
    console_for("auto", stderr=False).print(table)


def _in_one_line(text: str) -> str:
    """Return the last line, which is the error; ssh may have shown a banner before."""
    *_, last = text.strip().splitlines() or ("",)
    return printable(last)
