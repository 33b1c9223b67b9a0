"""The program `benchmarks/day.py`: a stack that writes much has bounded memory and disk."""

from __future__ import annotations

import pytest

from tests.programs import printed_by
from tests.system import needs_proc


@needs_proc
@pytest.mark.slow
def test_stack_that_writes_much_has_bounded_memory_and_disk() -> None:
    """It checks itself; without rotation, or if output stayed in memory, it would fail."""
    printed = printed_by("benchmarks.day", "--bytes", "100000000", "--log-size", "1000000")
    assert [line.partition(":")[0] for line in printed] == ["written", "memory", "disk"]
