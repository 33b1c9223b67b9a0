"""The state of a command after each of its messages: a table."""

from __future__ import annotations

from signal import SIGTERM
from typing import TYPE_CHECKING

import pytest

from currant import (
    Aborted,
    Batch,
    DependencyError,
    Dropped,
    Exit,
    Exited,
    Failed,
    LaunchError,
    NotReadyError,
    Ready,
    Restarting,
    Skipped,
    Started,
)
from currant._values.state import CommandState, state_after

if TYPE_CHECKING:
    from currant import BatchMessage


@pytest.mark.parametrize(
    ("message", "before", "after"),
    [
        (Started("a", 1, 1, 0.0), "queued", "running"),
        (Restarting("a", 2, 0.1, 0.0), "failed", "queued"),
        (Failed("a", LaunchError("a", "no file"), 1, 0.0), "queued", "failed"),
        (Skipped("a", DependencyError("a", "no db"), 0.0), "queued", "skipped"),
        (Exited("a", Exit(0, None), 1, 0.0), "running", "succeeded"),
        (Exited("a", Exit(7, None), 1, 0.0), "running", "succeeded"),
        (Exited("a", Exit(3, None), 1, 0.0), "running", "failed"),
        (Exited("a", Exit(None, SIGTERM), 1, 0.0), "running", "failed"),
        (Exited("a", Exit(0, None, stopped=True), 1, 0.0), "running", "stopped"),
        (Ready("a", 0.1, 0.0), "running", "running"),
        (Batch("a", "stdout", b"x\n", 0.0), "running", "running"),
        (Aborted("a", NotReadyError("a", "slow"), 1, 0.0), "running", "running"),
        (Dropped("a", 3, 0.0), "stopped", "stopped"),
    ],
)
def test_state_follows_the_messages(
    message: BatchMessage, before: CommandState, after: CommandState
) -> None:
    """Starts and ends change the state; other messages leave it.  0 and 7 are successes."""
    assert state_after(message, before, (0, 7)) == after
