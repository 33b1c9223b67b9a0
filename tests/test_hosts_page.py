"""The recipes of docs/hosts.md, as printed.

Programs in place of ssh, srun and kubectl lead to agents of this machine.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from tests.recipes import recipe
from tests.system import needs_proc
from tests.test_readme import ROOT
from tests.waiting import LIMIT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.anyio, pytest.mark.backends("asyncio"), pytest.mark.slow, needs_proc]

PAGE = ROOT / "docs" / "hosts.md"

PROGRAMS = {
    # A host is a folder, and its home directory is that folder.
    "ssh": """
for word; do host=$line; line=$word; done
mkdir -p "$0.homes/$host" && cd "$0.homes/$host" && exec sh -c "$line"
""",
    "rsync": """
place() { case $1 in *:*) echo "${0%/*}/ssh.homes/${1%%:*}/${1#*:}";; *) echo "$1";; esac; }
mkdir -p "$(place "$3")" && cp -R "$(place "$2")." "$(place "$3")"
""",
    "srun": """
while [ "${1#-}" != "$1" ]; do shift; done
exec "$@"
""",
    "kubectl": """
[ "$1" = get ] && echo pod/p1 && echo pod/p2 && exit
until [ "$1" = -- ]; do shift; done
shift
exec "$@"
""",
}


@pytest.fixture(autouse=True)
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the programs in the PATH, and run the recipe in an empty folder."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name, text in PROGRAMS.items():
        write_program(folder / name, text)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def write_program(path: Path, text: str) -> None:
    """Write a program for the shell."""
    path.write_text(f"#!/bin/sh\n{text}")
    path.chmod(0o755)


async def test_data_goes_to_the_hosts_and_results_come_back(tmp_path: Path) -> None:
    """Each host works on the input after it has arrived there."""
    here = tmp_path / "here"
    (here / "input").mkdir()
    write_program(here / "input" / "work", "mkdir output; echo $CURRANT_HOST >output/result\n")
    with anyio.fail_after(LIMIT):
        await recipe("Data to the hosts, and results back", PAGE).work_on(["a", "b"])
    for host in ("a", "b"):
        assert (here / f"output-{host}" / "result").read_text() == f"{host}\n"


async def test_sweep_runs_on_the_nodes_of_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """There are as many commands at a time as the job has tasks."""
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SLURM_JOB_NODELIST", "n[1-2]")
    monkeypatch.setenv("SLURM_TASKS_PER_NODE", "1(x2)")
    # A command ends when there is one with each number, so both run at the same time.
    write_program(
        tmp_path / "here" / "simulate",
        "touch seed$2; until [ -e seed7 ] && [ -e seed8 ]; do sleep 0.01; done\n",
    )
    sweep: Any = recipe("A Slurm allocation", PAGE).sweep
    sweep.__globals__["range"] = lambda _: [7, 8]
    with anyio.fail_after(LIMIT):
        await sweep()
    lines = sorted(line.split() for line in capsys.readouterr().out.splitlines())
    assert [(seed, status) for seed, _, status in lines] == [("7", "succeeded"), ("8", "succeeded")]
    assert {host for _, host, _ in lines} == {"n1", "n2"}


async def test_line_runs_in_each_pod(capsys: pytest.CaptureFixture[str]) -> None:
    """The pods are those that kubectl lists."""
    with anyio.fail_after(LIMIT):
        await recipe("Pods of Kubernetes", PAGE).in_pods("app=worker", "echo in $CURRANT_HOST")
    shown = capsys.readouterr().out
    assert "in p1" in shown
    assert "in p2" in shown
