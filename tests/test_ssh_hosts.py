"""Tests of `Hosts` over a real ssh, in networks that can be cut."""

from __future__ import annotations

import os
from dataclasses import replace
from signal import SIGSTOP
from typing import TYPE_CHECKING

import anyio
import pytest

from currant import Command, HostLost, HostUp, Runner
from currant._remote.connection import Heartbeat
from currant.hosts import Host, Hosts, on_each
from tests.holders import holding
from tests.hosts import agent_of
from tests.system import needs_proc
from tests.test_remote_lost import wait_for, wait_for_end
from tests.waiting import EXEC_FOREVER, HOURS, LIMIT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lifeline import Lifeline
    from tests.sshd import Server

pytestmark = [pytest.mark.anyio, pytest.mark.backends("asyncio", "trio"), needs_proc]


def impatient_hosts(server: Server, hosts: list[Host], silence: float = HOURS) -> Hosts:
    """Return hosts over ssh; each counts as lost after two seconds of silence."""
    built = Hosts(hosts, connect=server.connect())
    heartbeat = Heartbeat(0.1, 2, silence)
    built._settings = replace(built._settings, heartbeat=heartbeat, silence=silence)
    return built


async def test_command_runs_on_each_host(ssh_network: Server) -> None:
    """A host that cannot be reached is reported with the error of ssh, and the others go on."""
    refused = Host("n3", address="ssh://10.99.0.1:1")
    names = [ssh_network.host("n1"), ssh_network.host("n2"), refused]
    hosts = Hosts(names, connect=ssh_network.connect(), reconnect=False)
    command = Command.shell("set -- $SSH_CONNECTION; echo $3")
    with anyio.fail_after(LIMIT):
        async with Runner(on_each(names, command), launcher=hosts, capture=True) as runner:
            messages = [message async for message in runner]
            results = await runner.join()
    output = {result.host: result.stdout for result in results.values() if result.stdout}
    assert output == {"n1": b"10.99.0.1\n", "n2": b"10.99.0.2\n"}
    assert {each.host for each in messages if isinstance(each, HostUp)} == {"n1", "n2"}
    (lost,) = (each for each in messages if isinstance(each, HostLost))
    assert (lost.host, "Connection refused" in str(lost.error)) == ("n3", True)
    assert len(results.failed) == 1


async def test_command_of_a_host_that_is_cut_off_runs_elsewhere_once(
    ssh_network: Server, lifeline: Lifeline, tmp_path: Path
) -> None:
    """The second copy starts when the first one has ended for sure, which cannot be seen."""
    lock = tmp_path / "lock"
    line = (
        f"{lifeline.hold('begun')}; mkdir {lock} || {lifeline.say('twice')}; "
        f"trap 'rmdir {lock}; exit 1' TERM; "
        f"(echo on-$CURRANT_HOST >&9; {EXEC_FOREVER}) & wait"
    )
    command = Command.shell(line, name="it", restart="on-failure", grace=0.1)
    hosts = impatient_hosts(ssh_network, [ssh_network.host("n1"), ssh_network.host("n2")], 2)
    with anyio.fail_after(LIMIT):
        async with Runner([command], launcher=hosts, iterable=False) as runner:
            job = runner["it"]
            await job.ready()
            await wait_for(lifeline, f"on-{job.host}")
            lost, other = (job.host, "n2") if job.host == "n1" else ("n2", "n1")
            with ssh_network.cable(str(lost)) as unplug:
                unplug()
                await wait_for(lifeline, f"on-{other}")
            runner.kill()
        await wait_for_end(lifeline)
    assert "twice" not in lifeline.said()


async def test_agent_that_is_suspended_is_replaced(ssh_server: Server, lifeline: Lifeline) -> None:
    """The next connection to its host kills the agent, and the commands end."""
    hosts = impatient_hosts(ssh_server, [ssh_server.host()])
    with anyio.fail_after(LIMIT):
        async with Runner([holding(lifeline, "it")], launcher=hosts, iterable=False) as runner:
            await wait_for(lifeline, "it")
            frozen = agent_of(hosts, "n1")
            os.kill(frozen, SIGSTOP)
            assert (await runner["it"].wait()).status == "failed"
            await wait_for_end(lifeline)
            job = await runner.start(Command(["true"], name="next"))
            assert (await job.wait()).status == "succeeded"
            assert agent_of(hosts, "n1") != frozen
