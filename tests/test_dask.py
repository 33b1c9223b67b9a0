"""Tests of the workers of a Dask cluster as hosts."""

from __future__ import annotations

import os
import pickle
import sys
from importlib.util import find_spec
from signal import SIGKILL
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from currant import PIPE, Command, CommandError
from currant._remote.launcher import RemoteLauncher
from currant._values.errors import HostLostError, HostUnreachableError
from currant.hosts import Host, Hosts, dask, ssh
from tests.agents import parent_of
from tests.holders import holding
from tests.https import make_certificates
from tests.kept import free_port, kept
from tests.programs import ROOT, Programs
from tests.streams import read_all
from tests.system import needs_proc
from tests.test_remote import TestRemoteLauncher
from tests.test_remote_lost import wait_for, wait_for_end
from tests.waiting import LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from currant import Launcher
    from currant.hosts import DaskConnect
    from tests.lifeline import Lifeline

pytestmark = [
    needs_proc,
    pytest.mark.skipif(
        find_spec("distributed") is None, reason="needs distributed: pip install 'currant[dask]'"
    ),
]

CLUSTER = ROOT / "tests" / "dask_cluster.py"

on_one_loop = pytest.mark.backends("asyncio")


def cluster(workers: int, *pem: str) -> Any:
    """Return a context manager that runs a cluster, and the address of its scheduler."""
    port = free_port()
    argv = [sys.executable, str(CLUSTER), str(port), str(workers), *pem]
    return kept(serve=[argv]), f"{'tls' if pem else 'tcp'}://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def way() -> Iterator[DaskConnect]:
    """Return the way to a cluster of two workers."""
    running, address = cluster(2)
    with running as said:
        assert said == "ready"
        yield dask(address)


@pytest.fixture
def own_way() -> Iterator[DaskConnect]:
    """Return the way to a cluster of one worker, for tests that destroy the cluster."""
    running, address = cluster(1)
    with running as said:
        assert said == "ready"
        yield dask(address)


async def unreachable(way: DaskConnect, host: Host) -> str:
    """Return why a worker cannot be reached."""
    with anyio.fail_after(LIMIT), pytest.raises(HostUnreachableError) as caught:
        async with RemoteLauncher(host.name, way(host)):
            raise AssertionError("not entered")
    return caught.value.reason


# ---- the value ----


def test_way_is_a_value() -> None:
    """A way compares, has a hash, and can be pickled."""
    way = dask("tcp://a:8786", direct=False)
    copied = pickle.loads(pickle.dumps(way))
    assert copied == way
    assert hash(copied) == hash(way)
    assert way != dask("tcp://a:8786")


@pytest.mark.parametrize("arguments", [("",), (3,), ("tcp://a", 3)])
def test_wrong_argument_is_refused(arguments: tuple[Any, ...]) -> None:
    """The error comes in the caller's frame, and names the argument."""
    with pytest.raises(CommandError, match=r"(address|direct) must be"):
        dask(arguments[0], **dict(zip(["direct"], arguments[1:], strict=False)))


def test_worker_may_be_silent_for_longer_than_other_hosts() -> None:
    """A task that holds the GIL of a worker stops the bytes of an agent that is well."""
    for way, lost in ((dask("tcp://a:8786"), 30.0), (ssh(), 6.0)):
        assert Hosts("a", connect=way)._settings.new_heartbeat().lost == lost


# ---- commands ----


@pytest.mark.anyio
async def test_workers_are_hosts(way: DaskConnect) -> None:
    """A host has as many processors as its worker has threads, and runs commands there."""
    hosts = await way.hosts()
    assert [host.cpus for host in hosts] == [1, 1]
    parents = set()
    for host in hosts:
        async with RemoteLauncher(host.name, way(host)) as launcher:
            process = await launcher.launch(Command(["cat"], stdin=PIPE))
            assert process.stdin is not None
            await process.stdin.send(b"x" * 300_000)
            await process.stdin.aclose()
            assert len(await read_all(process.stdout)) == 300_000
            parents.add(parent_of(launcher.connection.agent_pid))
    assert len(parents) == 2


@pytest.mark.anyio
@on_one_loop
@pytest.mark.parametrize("direct", [True, False])
async def test_bytes_arrive_in_order(direct: bool, way: DaskConnect) -> None:
    """Calls run at the same time and may overtake each other, also through the scheduler."""
    way = dask(way.address, direct=direct)
    (host, _) = await way.hosts()
    async with RemoteLauncher(host.name, way(host)) as launcher:
        process = await launcher.launch(Command(["seq", "1000000"]))
        output = await read_all(process.stdout)
    assert output.split() == [b"%d" % number for number in range(1, 1_000_001)]


@pytest.mark.anyio
@on_one_loop
async def test_client_of_the_user_is_left_alone(way: DaskConnect) -> None:
    """A client of the user, even of another cluster, is neither used nor replaced."""
    from distributed import Client, get_client  # noqa: PLC0415 - an extra

    (host, _) = await way.hosts()
    mine = Client(way.address)
    try:
        async with RemoteLauncher(host.name, way(host)) as launcher:
            assert get_client() is mine
            process = await launcher.launch(Command(["echo", "hi"]))
            assert await read_all(process.stdout) == b"hi\n"
        assert mine.submit(int, "7").result() == 7
    finally:
        mine.close()


@pytest.mark.anyio
@on_one_loop
async def test_python_of_the_agent_may_be_named(way: DaskConnect) -> None:
    """Without a name, the agent runs with the Python of the worker."""
    (host, _) = await way.hosts()
    missing = Host(host.name, address=host.address, python="/nonexistent/python")
    reason = await unreachable(way, missing)
    assert reason == "FileNotFoundError: [Errno 2] No such file or directory: '/nonexistent/python'"
    failing = Host(host.name, address=host.address, python="/bin/false")
    assert await unreachable(way, failing) == "it has closed the connection"


@pytest.mark.anyio
@on_one_loop
async def test_worker_or_scheduler_that_is_missing_is_told(
    way: DaskConnect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error comes after a time in which the worker or the scheduler may still come."""
    monkeypatch.setattr("currant.hosts._dask.CONNECT_LIMIT", 0.5)
    reason = await unreachable(way, Host("h", address="tcp://127.0.0.1:1"))
    assert reason.endswith("no thread of the worker was free for 0.5 s, or the worker is gone")
    nowhere = dask("tcp://127.0.0.1:1")
    assert "Timed out" in await unreachable(nowhere, Host("h", address="tcp://127.0.0.1:2"))
    with pytest.raises(OSError, match="Timed out"):
        await nowhere.hosts()


@pytest.mark.anyio
@on_one_loop
async def test_certificates_open_the_way_to_a_cluster_with_tls(tmp_path: Path) -> None:
    """The way passes them on to the scheduler and to the worker."""
    from distributed import Security  # noqa: PLC0415 - an extra

    make_certificates(tmp_path)
    pem = str(tmp_path / "server.pem")
    security = Security(
        require_encryption=True,
        tls_ca_file=str(tmp_path / "ca.pem"),
        tls_client_cert=pem,
        tls_client_key=pem,
    )
    running, address = cluster(1, pem)
    with running as said:
        assert said == "ready"
        way = dask(address, security=security)
        (host,) = await way.hosts()
        async with RemoteLauncher(host.name, way(host)) as launcher:
            process = await launcher.launch(Command(["echo", "hi"]))
            assert await read_all(process.stdout) == b"hi\n"


# ---- faults ----

DRIVER = """
import json, pickle, sys
import anyio
from currant import Runner
from currant._remote.launcher import RemoteLauncher
from tests.holders import commands
from tests.lifeline import Lifeline

options = json.loads(sys.argv[1])
lifeline = Lifeline.__new__(Lifeline)
lifeline._path = options["lifeline"]
way, host = pickle.loads(bytes.fromhex(options["way"]))

async def main():
    async with Runner(commands(lifeline), launcher=RemoteLauncher(host.name, way(host))) as runner:
        await runner.join()

anyio.run(main, backend=options["backend"], backend_options=options["backend_options"])
"""


@pytest.mark.anyio
@on_one_loop
async def test_killed_driver_leaves_nothing_on_a_worker(
    way: DaskConnect, lifeline: Lifeline
) -> None:
    """The scheduler misses its client, and the worker drops the actor."""
    (host, _) = await way.hosts()
    options = {"lifeline": str(lifeline._path), "way": pickle.dumps((way, host)).hex()}
    with Programs(DRIVER, "asyncio", use_uvloop=False) as programs:
        driver = programs.run(options)
        lifeline.wait_for("plain", "deaf")
        driver.kill()
        lifeline.wait_for_end()


@pytest.mark.anyio
@on_one_loop
@pytest.mark.slow
@pytest.mark.parametrize("part", ["worker", "scheduler"])
async def test_killed_part_of_the_cluster_leaves_nothing(
    part: str, own_way: DaskConnect, lifeline: Lifeline
) -> None:
    """If the scheduler or the worker is killed, the agent ends all commands."""
    (host,) = await own_way.hosts()
    with anyio.fail_after(LIMIT):
        async with RemoteLauncher(host.name, own_way(host)) as launcher:
            process = await launcher.launch(holding(lifeline, "it"))
            await wait_for(lifeline, "it")
            worker = parent_of(launcher.connection.agent_pid)
            os.kill(worker if part == "worker" else parent_of(worker), SIGKILL)
            with pytest.raises(HostLostError):
                await process.wait()
            await wait_for_end(lifeline)


# ---- the contract ----


@pytest.mark.slow
@on_one_loop
class TestRemoteLauncherOverDask(TestRemoteLauncher):
    """Processes of a worker keep the contract."""

    _way: DaskConnect
    _host: Host

    @pytest.fixture(autouse=True, params=[None], ids=["dask"])
    async def way_to_start(self, anyio_backend: object, way: DaskConnect) -> None:
        """Start processes through a worker."""
        self._way = way
        self._host, _ = await way.hosts()

    def new_launcher(self) -> Launcher:  # type: ignore[override]
        """Return a launcher with its own agent, and without the guard, which counts as a child."""
        return RemoteLauncher("h1", self._way(self._host), orphan_guard=False)


del TestRemoteLauncher
