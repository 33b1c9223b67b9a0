"""The program `benchmarks/day.py`: a stack that writes much has bounded memory and disk."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.system import needs_proc
from tests.waiting import LIMIT

ROOT = Path(__file__).parents[1]


@needs_proc
@pytest.mark.slow
def test_stack_that_writes_much_has_bounded_memory_and_disk() -> None:
    """It checks itself; without rotation, or if output stayed in memory, it would fail."""
    options = ["--bytes", "100000000", "--log-size", "1000000"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.day", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == [
        "written",
        "memory",
        "disk",
    ]
