"""Nodes of a Slurm allocation as hosts."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import anyio
import pytest

from currant import Command, Runner
from currant._remote.launcher import RemoteLauncher
from currant._values.errors import HostUnreachableError
from currant.hosts import Host, Hosts, on_each, srun
from tests.kept import free_port, kept
from tests.programs import ROOT, Programs
from tests.sshd import PLACES
from tests.streams import read_all
from tests.system import needs_proc
from tests.test_dask import DRIVER
from tests.waiting import LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lifeline import Lifeline

PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "salloc")

MISSING = [program for program in PROGRAMS if shutil.which(program, path=PLACES) is None]

pytestmark = [
    needs_proc,
    pytest.mark.anyio,
    pytest.mark.slow,
    pytest.mark.alone,
    pytest.mark.backends("asyncio"),
    pytest.mark.skipif(
        bool(MISSING) or os.getuid() != 0,
        reason="needs root, and Slurm: install munge, slurmctld, slurmd and slurm-client",
    ),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The configuration of a cluster with the nodes s1 and s2."""
    folder = tmp_path_factory.mktemp("slurm")
    program = [sys.executable, str(ROOT / "tests" / "slurm_cluster.py"), str(folder)]
    with kept(serve=[[*program, str(free_port())]]) as said:
        if said != "ready":
            pytest.skip(f"Slurm does not run on this machine: {said}")
        yield str(folder / "slurm.conf")


@pytest.fixture
def allocation(cluster: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An allocation of both nodes."""
    monkeypatch.setenv("SLURM_CONF", cluster)
    ran = subprocess.run(
        ["salloc", "-N2", "--no-shell"], check=True, capture_output=True, timeout=LIMIT
    )
    job = next(word for word in ran.stderr.decode().split() if word.isdecimal())
    monkeypatch.setenv("SLURM_JOB_ID", job)
    monkeypatch.setenv("SLURM_JOB_NODELIST", "s[1-2]")
    yield
    subprocess.run(["scancel", job], check=True)


def node(name: str) -> Host:
    """Return a node."""
    return Host(name, python=sys.executable)


async def test_command_runs_on_each_node(allocation: None) -> None:
    """Of the allocation, which `Hosts.from_slurm` reads."""
    hosts = Hosts.from_slurm()
    command = Command.shell("echo $SLURMD_NODENAME")
    with anyio.fail_after(LIMIT):
        async with Runner(on_each(hosts, command), launcher=hosts, capture=True) as runner:
            results = await runner.join()
    output = {result.host: result.stdout for result in results.values()}
    assert output == {"s1": b"s1\n", "s2": b"s2\n"}


async def test_bytes_pass_unchanged(allocation: None) -> None:
    """Through the terminal that srun has for output that is not held back."""
    line = "head -c 3000000 /dev/urandom | tee /dev/stderr | sha1sum"
    with anyio.fail_after(LIMIT):
        async with RemoteLauncher("s1", srun()(node("s1"))) as launcher:
            process = await launcher.launch(Command.shell(line))
            data, digest = b"", b""

            async def read_stderr() -> None:
                nonlocal data
                data = await read_all(process.stderr)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read_stderr)
                digest = await read_all(process.stdout)
    assert digest.split()[0].decode() == hashlib.sha1(data).hexdigest()


async def test_node_outside_the_allocation_is_told(allocation: None) -> None:
    """In the words of srun."""
    with (
        anyio.fail_after(LIMIT),
        pytest.raises(HostUnreachableError, match=r"srun: error: .* not available"),
    ):
        async with RemoteLauncher("s9", srun()(node("s9"))):
            raise AssertionError("not entered")


async def test_killed_driver_leaves_nothing_on_a_node(allocation: None, lifeline: Lifeline) -> None:
    """srun passes the end of its stdin on."""
    way = pickle.dumps((srun(), node("s2"))).hex()
    with Programs(DRIVER, "asyncio", use_uvloop=False) as programs:
        driver = programs.run({"lifeline": str(lifeline._path), "way": way})
        lifeline.wait_for("plain", "deaf")
        driver.kill()
        lifeline.wait_for_end()
