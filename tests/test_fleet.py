"""The simulation of many hosts in `benchmarks/fleet.py` runs, as one driver and as a tree."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.fleet import COLUMNS
from tests.system import needs_proc
from tests.waiting import LIMIT

pytestmark = needs_proc

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("drivers", ["1", "2"])
def test_simulation_of_many_hosts_measures_all(drivers: str) -> None:
    """It checks itself that each command has ended as it should: lost, stopped or by itself."""
    options = ["--hosts", "6", "--drivers", drivers, "--idle", "0.1"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.fleet", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    *_, row = done.stdout.splitlines()
    cells = row.strip("| ").split(" | ")
    assert cells[0] == "6"
    assert len(cells) == len(COLUMNS) + 1
