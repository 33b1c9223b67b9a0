"""The simulation of many hosts in `benchmarks/fleet.py` runs, as one driver and as a tree."""

from __future__ import annotations

import pytest

from benchmarks.fleet import COLUMNS
from tests.programs import printed_by
from tests.system import needs_proc

pytestmark = needs_proc


@pytest.mark.parametrize("drivers", ["1", "2"])
def test_simulation_of_many_hosts_measures_all(drivers: str) -> None:
    """It checks itself that each command has ended as it should: lost, stopped or by itself."""
    options = ["--hosts", "6", "--drivers", drivers, "--idle", "0.1"]
    *_, row = printed_by("benchmarks.fleet", *options)
    cells = row.strip("| ").split(" | ")
    assert cells[0] == "6"
    assert len(cells) == len(COLUMNS) + 1
