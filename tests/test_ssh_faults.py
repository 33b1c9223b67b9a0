"""Whatever happens to a driver, ssh, the network or an agent: no process is left on a host.

Each command here has a child and an escapee; one of two ignores the signals that ask it to end.
"""

from __future__ import annotations

import os
import pickle
from contextlib import suppress
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM
from subprocess import TimeoutExpired
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from currant import Aborted, Command, Exit, Exited, Runner
from currant._remote.connection import Heartbeat
from currant._remote.launcher import RemoteLauncher
from currant._values.errors import HostLostError
from tests.agents import parent_of
from tests.holders import commands, holding
from tests.programs import Programs
from tests.system import needs_proc
from tests.test_remote_lost import cut, kill_agent, wait_for, wait_for_end
from tests.waiting import HOURS, LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.lifeline import Lifeline
    from tests.sshd import Server

pytestmark = [pytest.mark.anyio, pytest.mark.backends("asyncio", "trio"), needs_proc]


def over_ssh(server: Server, heartbeat: Heartbeat | None = None) -> RemoteLauncher:
    """Return a launcher on the host n1."""
    return RemoteLauncher("n1", server.connect()(server.host()), heartbeat=heartbeat)


# ---- the end of a driver ----

DRIVER = """
import json, pickle, sys
import anyio
from currant import Runner
from currant._remote.connection import Heartbeat
from currant._remote.launcher import RemoteLauncher
from tests.holders import commands, holding
from tests.lifeline import Lifeline

options = json.loads(sys.argv[1])
lifeline = Lifeline.__new__(Lifeline)
lifeline._path = options["lifeline"]
connect, host = pickle.loads(bytes.fromhex(options["way"]))
count = options["count"]

async def main():
    launcher = RemoteLauncher(host.name, connect(host), heartbeat=Heartbeat(*options["heartbeat"]))
    many = [holding(lifeline, str(number)) for number in range(count)]
    async with Runner(many or commands(lifeline), launcher=launcher) as runner:
        results = await runner.join()
    print({type(result.error).__name__ for result in results.values()})

anyio.run(main, backend=options["backend"], backend_options=options["backend_options"])
"""


class Drivers:
    """Starts drivers in processes of their own."""

    def __init__(self, programs: Programs, server: Server, lifeline: Lifeline) -> None:
        self._programs = programs
        self._options = {
            "way": pickle.dumps((server.connect(), server.host())).hex(),
            "lifeline": str(lifeline._path),
        }

    def start(self, count: int = 0, heartbeat: tuple[float, ...] = ()) -> Any:
        """Start a driver with so many commands; 0: with two commands, named plain and deaf."""
        options = {"count": count, "heartbeat": heartbeat}
        return self._programs.run(self._options | options)


@pytest.fixture
def drivers(anyio_backend: Any, ssh_server: Server, lifeline: Lifeline) -> Iterator[Drivers]:
    """Drivers on the same event loop, whose commands hold the lifeline."""
    backend, options = anyio_backend
    with Programs(DRIVER, backend, use_uvloop=bool(options.get("use_uvloop"))) as programs:
        yield Drivers(programs, ssh_server, lifeline)


async def test_killed_driver_leaves_nothing_on_the_host(
    drivers: Drivers, lifeline: Lifeline
) -> None:
    """The pipes of the driver close, so ssh ends, and the agent ends all commands."""
    driver = drivers.start()
    lifeline.wait_for("plain", "deaf")
    driver.kill()
    lifeline.wait_for_end()


@pytest.mark.parametrize("seconds", [0.0, 0.1])
async def test_driver_killed_during_many_starts_leaves_nothing_on_the_host(
    seconds: float, drivers: Drivers, lifeline: Lifeline
) -> None:
    """The agent starts no more commands."""
    driver = drivers.start(100)
    lifeline.wait_for("shell")
    with suppress(TimeoutExpired):
        driver.wait(seconds)
    driver.kill()
    lifeline.wait_for_end()


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.backends("asyncio")
async def test_killed_driver_leaves_nothing_of_many_commands(
    drivers: Drivers, lifeline: Lifeline
) -> None:
    """The driver has 500 commands of three processes each."""
    driver = drivers.start(500)
    lifeline.wait_for(*map(str, range(500)))
    driver.kill()
    lifeline.wait_for_end()


async def test_suspended_driver_leaves_nothing_on_the_host(
    drivers: Drivers, lifeline: Lifeline
) -> None:
    """The agent misses the driver; when the driver goes on, it has lost the host."""
    driver = drivers.start(heartbeat=(0.1, HOURS, 2))
    lifeline.wait_for("plain", "deaf")
    driver.send_signal(SIGSTOP)
    lifeline.wait_for_end()
    driver.send_signal(SIGCONT)
    output, errors = driver.communicate(timeout=LIMIT)
    assert (output, errors) == (b"{'HostLostError'}\n", b"")


# ---- the end of the way ----


def kill_session(launcher: RemoteLauncher) -> None:
    """Kill the process of sshd that serves the login."""
    os.kill(parent_of(launcher.connection.agent_pid), SIGKILL)


def end_agent(launcher: RemoteLauncher) -> None:
    """Ask the agent to end."""
    os.kill(launcher.connection.agent_pid, SIGTERM)


async def lose(
    launcher: RemoteLauncher, lifeline: Lifeline, how: Callable[[RemoteLauncher], object]
) -> list[str]:
    """Run commands, lose their host, and return the messages; nothing is left."""
    with anyio.fail_after(LIMIT):
        async with Runner(commands(lifeline), launcher=launcher) as runner:
            for job in runner.jobs.values():
                await job.ready()
            await wait_for(lifeline, "plain", "deaf")
            how(launcher)
            messages = [message async for message in runner]
            results = await runner.join()
            await wait_for_end(lifeline)
    assert {result.status for result in results.values()} == {"failed"}
    ends = [each for each in messages if isinstance(each, Aborted | Exited)]
    return [type(each).__name__ for each in ends]


@pytest.mark.parametrize("how", [kill_agent, cut, kill_session])
async def test_killed_part_of_the_way_leaves_nothing_on_the_host(
    how: Callable[[RemoteLauncher], object], ssh_server: Server, lifeline: Lifeline
) -> None:
    """If the agent, ssh or sshd is killed, no exit is reported, because it is unknown."""
    assert await lose(over_ssh(ssh_server), lifeline, how) == ["Aborted", "Aborted"]


async def test_agent_that_is_asked_to_end_tells_the_ends_of_its_commands(
    ssh_server: Server, lifeline: Lifeline
) -> None:
    """At a shutdown of the host, the driver still gets the exits."""
    assert await lose(over_ssh(ssh_server), lifeline, end_agent) == ["Exited", "Exited"]


async def test_cut_network_leaves_nothing_on_the_host(
    ssh_network: Server, lifeline: Lifeline
) -> None:
    """Neither side sees the end of the connection; each side misses the other."""
    launcher = over_ssh(ssh_network, Heartbeat(0.1, 2, 2))
    with ssh_network.cable("n1") as unplug:
        assert await lose(launcher, lifeline, lambda _: unplug()) == ["Aborted", "Aborted"]


async def test_suspended_agent_is_replaced(ssh_server: Server, lifeline: Lifeline) -> None:
    """The next connection kills the suspended agent, and its guard ends all commands."""
    launcher = over_ssh(ssh_server, Heartbeat(0.05, 0.5))
    with anyio.fail_after(LIMIT):
        async with launcher:
            process = await launcher.launch(holding(lifeline, "it"))
            await wait_for(lifeline, "it")
            os.kill(launcher.connection.agent_pid, SIGSTOP)
            with pytest.raises(HostLostError, match="it was silent for"):
                await process.wait()
        with pytest.raises(AssertionError, match="still holds"):
            lifeline.ended()
        transport = ssh_server.connect()(ssh_server.host())
        identity = launcher.connection.identity
        async with RemoteLauncher("n1", transport, replaces=identity) as successor:
            await wait_for_end(lifeline)
            assert await (await successor.launch(Command(["true"]))).wait() == Exit(0, None)


async def test_other_host_goes_on(ssh_network: Server, lifeline: Lifeline) -> None:
    """A cut network to one host does not affect the other."""
    heartbeat = Heartbeat(0.1, 2, 2)
    other = RemoteLauncher("n2", ssh_network.connect()(ssh_network.host("n2")), heartbeat=heartbeat)
    async with other:
        process = await other.launch(holding(lifeline, "other"))
        with ssh_network.cable("n1") as unplug:
            with anyio.fail_after(LIMIT):
                async with over_ssh(ssh_network, heartbeat) as launcher:
                    lost = await launcher.launch(holding(lifeline, "lost"))
                    await wait_for(lifeline, "lost", "other")
                    unplug()
                    with pytest.raises(HostLostError, match="it was silent for"):
                        await lost.wait()
        assert await process.send_signal(0)
        await process.stop(SIGTERM, 0)
