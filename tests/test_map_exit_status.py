"""The exit status of `currant map`."""

from __future__ import annotations

from signal import SIGKILL, SIGTERM
from typing import TYPE_CHECKING

import pytest

from currant._values.errors import CommandNotFoundError, LaunchError
from currant._values.exit import Exit
from currant.cli._map.exit_status import exit_status, status_of
from tests.ended_jobs import ended

if TYPE_CHECKING:
    from currant.cli._map.ended import Ended


@pytest.mark.parametrize(
    ("failed", "status"), [(0, 0), (1, 1), (100, 100), (101, 101), (255, 101), (1_000_000, 101)]
)
def test_status_counts_up_to_100_failures(failed: int, status: int) -> None:
    """No number of failures looks like a success, or like another error."""
    assert exit_status(failed) == status


def _caused(error: LaunchError, cause: OSError) -> LaunchError:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("job", "status"),
    [
        (ended(end=0), 0),
        (ended(end=3), 3),
        (ended(end=SIGTERM), 143),
        (ended(end=SIGKILL), 137),
        (ended(end=Exit(None, 34)), 162),
        (ended(end=Exit(None, None)), 1),
        (ended(end=0, status="failed"), 1),
        (ended(end=3, status="succeeded"), 0),
        (ended(end=Exit(None, SIGTERM, stopped=True), status="stopped"), 0),
        (ended(end=None, error=CommandNotFoundError("a", "missing")), 127),
        (ended(end=None, error=_caused(LaunchError("a", ""), FileNotFoundError())), 127),
        (ended(end=None, error=_caused(LaunchError("a", ""), PermissionError())), 126),
        (ended(end=None), 126),
    ],
)
def test_status_of_a_job_is_that_of_a_shell(job: Ended, status: int) -> None:
    """A failure is never 0, and the job that halts the run gives its status to the run."""
    assert status_of(job.result) == status
    assert exit_status(7, job.result) == status
