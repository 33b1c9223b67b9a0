"""The part of the fault matrix that is small enough for every run; `nox -s faults` runs all of it.

What a cell leaves is ended by the matrix itself; here nothing depends on how fast the machine is.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.faults.cell import Cell, run_cells
from tests.faults.kinds import KINDS
from tests.faults.report import report
from tests.faults.tools import PEERS, currant, peer
from tests.waiting import LIMIT

pytestmark = pytest.mark.skipif(
    not os.path.exists("/proc/self/environ"), reason="finds processes by their environment"
)

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("event", ["another fails", "SIGTERM", "SIGKILL"])
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_nothing_is_left_of_any_kind_of_command(backend: str, event: str) -> None:
    """Whether the program stops its commands or dies: what they started is gone, all of it."""
    if find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed: 'pip install {backend}'")
    cells = [Cell(currant(backend, 0.3), kind, event) for kind in KINDS.values()]
    outcomes = run_cells(cells, jobs=4, limit=LIMIT)
    assert all(outcome.is_clean for outcome in outcomes.values()), report(outcomes)


def test_the_matrix_finds_what_is_left_and_ends_it() -> None:
    """A program that does nothing about its escapees is told so; and then nothing is left."""
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
    told = report(outcomes)
    assert "**script**: 1 of 2 cells clean" in told
    assert f"| setsid | left {len(left.left)} | – |" in told


def test_a_cell_that_cannot_be_measured_is_broken_and_not_clean() -> None:
    """A tool that ends before all is up says why."""
    broken = currant("no-such-event-loop", 1)
    (outcome,) = run_cells([Cell(broken, KINDS["plain"], "cancel")], jobs=1).values()
    assert not outcome.is_clean
    assert "before all was up" in outcome.problem
    assert "no-such-event-loop" in outcome.problem


def test_the_command_line_runs_what_is_asked_for_and_fails_with_it() -> None:
    """Its exit status is that of currant's cells; a peer is there to be compared with."""
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


def test_every_peer_knows_its_command_line() -> None:
    """A peer that is not installed is None, and one that nobody knows an error."""
    assert peer("honcho", "/nonexistent", 1) is None
    for name in PEERS[1:]:
        tool = peer(name, sys.executable, 1)
        assert tool is not None
        assert tool.is_peer
        assert not Cell(tool, KINDS["plain"], "cancel").has_meaning
        assert Cell(tool, KINDS["plain"], "SIGKILL").has_meaning
    with pytest.raises(ValueError, match="no peer 'nobody'"):
        peer("nobody", sys.executable, 1)
