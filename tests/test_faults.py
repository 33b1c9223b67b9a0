"""The part of the fault matrix that is small enough for every test run; ``nox -s faults`` runs all.

The matrix itself kills the processes that a cell leaves.  No test here depends on the machine's
speed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.cell import Cell, run_cells
from tests.faults.hosts import TOOLS, HostCell, host_table, run_host_cells
from tests.faults.kinds import KINDS
from tests.faults.report import report
from tests.faults.tools import PEERS, currant, peer
from tests.waiting import LIMIT

if TYPE_CHECKING:
    from tests.sshd import Server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.alone,
    pytest.mark.skipif(
        not os.path.exists("/proc/self/environ"), reason="finds processes by their environment"
    ),
]

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("event", ["another fails", "SIGTERM", "SIGKILL"])
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_no_process_is_left_of_any_kind_of_command(backend: str, event: str) -> None:
    """All descendants are gone, whether the program stops its commands or is killed itself."""
    if find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed: 'pip install {backend}'")
    cells = [Cell(currant(backend, 0.3), kind, event) for kind in KINDS.values()]
    outcomes = run_cells(cells, jobs=4, limit=LIMIT)
    assert all(outcome.is_clean for outcome in outcomes.values()), report(outcomes)


def test_the_matrix_finds_and_kills_leftover_processes() -> None:
    """The report shows the escapees of a program without containment; then they are gone."""
    script = peer("script", None, 0)
    assert script is not None
    cells = [Cell(script, KINDS["setsid"], "SIGKILL"), Cell(script, KINDS["plain"], "cancel")]
    outcomes = {
        cell: run_cells([cell], jobs=1, limit=limit)[cell]
        for cell, limit in zip(cells, (0, LIMIT), strict=True)
    }
    left, clean = outcomes.values()
    assert not left.is_clean
    assert any(line == "sleep 9999" for _, line in left.left)
    assert clean.is_clean
    text = report(outcomes)
    assert "**script**: 1 of 2 cells clean" in text
    assert f"| setsid | left {len(left.left)} | – |" in text


def test_a_cell_that_cannot_be_measured_is_broken_and_not_clean() -> None:
    """If the tool exits before all commands are up, the outcome has its error message."""
    broken = currant("no-such-event-loop", 1)
    (outcome,) = run_cells([Cell(broken, KINDS["plain"], "cancel")], jobs=1).values()
    assert not outcome.is_clean
    assert "before all commands were up" in outcome.problem
    assert "no-such-event-loop" in outcome.problem


def test_the_command_line_runs_the_selected_cells() -> None:
    """The exit status depends on the cells of currant only, and not on those of its peers."""
    argv = ["--tool", "currant", "--tool", "script", "--kind", "plain", "--event", "SIGKILL"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults", "--backend", "asyncio", "--grace", "20", *argv],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "| cells clean | 1 of 1 | 0 of 1 |" in done.stdout


def test_every_peer_has_a_command_line() -> None:
    """`peer` returns None for a program that is not installed, and rejects an unknown name."""
    assert peer("honcho", "/nonexistent", 1) is None
    for name in PEERS[1:]:
        tool = peer(name, sys.executable, 1)
        assert tool is not None
        assert tool.is_peer
        assert not Cell(tool, KINDS["plain"], "cancel").has_meaning
        assert Cell(tool, KINDS["plain"], "SIGKILL").has_meaning
    with pytest.raises(ValueError, match="no peer 'nobody'"):
        peer("nobody", sys.executable, 1)


@pytest.mark.parametrize("event", ["SIGTERM", "SIGKILL"])
def test_no_process_is_left_on_a_host(event: str, ssh_network: Server) -> None:
    """All is gone if the driver ends; plain ssh leaves processes, so the matrix would see them."""
    ours, plain_ssh = TOOLS[-1], TOOLS[0]
    cells = [HostCell(ours, KINDS[kind], event) for kind in ("ignores signals", "setsid")]
    outcomes = run_host_cells(cells, ssh_network, jobs=2, within=LIMIT)
    left = HostCell(plain_ssh, KINDS["ignores signals"], event)
    outcomes |= run_host_cells([left], ssh_network, jobs=1, within=0)
    *_, of_ours, of_ssh = host_table(outcomes)
    assert (of_ours, of_ssh) == ("| currant | 0 | 0 |", "| ssh | 1 of 1 | – |"), outcomes


def test_a_host_tool_that_fails_is_broken_and_shows_why(ssh_network: Server) -> None:
    """The outcome has its error message."""
    tool = replace(TOOLS[0], arguments=lambda command, hosts: ["-F/nowhere", *hosts, command])
    cell = HostCell(tool, KINDS["plain"], "SIGKILL")
    (outcome,) = run_host_cells([cell], ssh_network, jobs=1).values()
    assert str(outcome) == "broken"
    assert "before all commands were up" in outcome.problem
    assert "/nowhere" in outcome.problem
