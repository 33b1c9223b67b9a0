"""`Hosts` over a real ssh, in networks that can be cut."""

from __future__ import annotations

import os
from functools import partial
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

pytestmark = [pytest.mark.anyio, needs_proc]


@pytest.fixture(autouse=True)
def quick_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host counts as lost after half a second."""
    monkeypatch.setattr("currant.hosts._member.Heartbeat", partial(Heartbeat, 0.05, 0.5))


async def test_command_runs_on_each_host(ssh_network: Server) -> None:
    """A host that cannot be reached is told in the words of ssh, and the others go on."""
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
    """Not before the first copy has ended, although nobody can see that."""
    lock = tmp_path / "lock"
    line = (
        f"{lifeline.hold('begun')}; mkdir {lock} || {lifeline.say('twice')}; "
        f"trap 'rmdir {lock}; exit 1' TERM; "
        f"(echo on-$CURRANT_HOST >&9; {EXEC_FOREVER}) & wait"
    )
    command = Command.shell(line, name="it", restart="on-failure", grace=0.1)
    hosts = Hosts(
        [ssh_network.host("n1"), ssh_network.host("n2")],
        connect=ssh_network.connect(),
        silence=0.5,
        reconnect=False,
    )
    with anyio.fail_after(LIMIT):
        async with Runner([command], launcher=hosts, iterable=False) as runner:
            job = runner["it"]
            await job.ready()
            await wait_for(lifeline, f"on-{job.host}")
            lost, other = (job.host, "n2") if job.host == "n1" else ("n2", "n1")
            with ssh_network.cable(str(lost)) as unplug:
                unplug()
                await wait_for(lifeline, f"on-{other}")
                assert (job.host, job.restarts) == (other, 1)
            runner.kill()
        await wait_for_end(lifeline)
    assert "twice" not in lifeline.said()


async def test_agent_that_is_suspended_is_replaced(ssh_server: Server, lifeline: Lifeline) -> None:
    """When its host is connected to again; until then nobody could end its commands."""
    hosts = Hosts([ssh_server.host()], connect=ssh_server.connect(), silence=HOURS)
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
