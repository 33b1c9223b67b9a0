"""Hosts for tests: each is an agent of this machine, over a pipe, as a connection to a host is."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from signal import SIGKILL
from typing import TYPE_CHECKING, Any

from currant._remote.connection import Heartbeat
from currant._remote.launcher import RemoteLauncher
from currant._remote.shipment import agent_argv
from currant._remote.transport import ArgvTransport
from currant.hosts import Host, Hosts
from tests.waiting import LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from currant.hosts._member import Member

__all__ = ["agent_of", "kill_agent", "member_of", "piped", "piped_hosts", "relayed"]

RELAY = Path(__file__).with_name("relay.py")


def piped(host: Host) -> ArgvTransport:
    """Return the way to an agent of this machine; the host's Python may be any program."""
    return ArgvTransport(agent_argv(host.python or sys.executable))


def relayed(host: Host) -> ArgvTransport:
    """Return the way to such an agent through one more program, as ssh is one."""
    argv = agent_argv(host.python or sys.executable)
    return ArgvTransport((sys.executable, "-IS", str(RELAY), "-1", "-1", *argv))


def piped_hosts(
    hosts: str | Iterable[str | Host],
    *,
    heartbeat: Heartbeat | None = None,
    orphan_guard: bool = True,
    patience: float = 60.0,
    retry_delay: float = 1.0,
    **options: Any,
) -> Hosts:
    """Return hosts that are agents of this machine.

    Args:
        hosts: as for `Hosts`.
        heartbeat: how soon the agents and the driver miss each other; None: late, so that no test
            depends on the speed of the machine.
        orphan_guard: whether each agent has a guard, which is a child of it.
        patience: for how long commands wait for lost hosts.
        retry_delay: seconds until such a host is tried again.
        options: as for `Hosts`.
    """
    built = Hosts(hosts, **{"connect": piped, **options})
    built._settings = replace(
        built._settings,
        heartbeat=heartbeat or Heartbeat(2.0, LIMIT, LIMIT),
        orphan_guard=orphan_guard,
        patience=patience,
        retry_delay=retry_delay,
    )
    return built


def member_of(hosts: Hosts, name: str) -> Member:
    """Return what `hosts` knows about one of them."""
    assert hosts._pool is not None
    return hosts._pool.members[name]


def agent_of(hosts: Hosts, name: str) -> int:
    """Return the pid of the agent of a host that is up."""
    launcher = member_of(hosts, name).launcher
    assert isinstance(launcher, RemoteLauncher)
    return launcher.connection.agent_pid


def kill_agent(hosts: Hosts, name: str) -> None:
    """Kill the agent of a host, which is lost then."""
    os.kill(agent_of(hosts, name), SIGKILL)
