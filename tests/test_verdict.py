"""The verdict on an attempt, for every way in which one can end."""

from __future__ import annotations

from itertools import product
from signal import SIGSEGV, SIGTERM
from typing import TYPE_CHECKING

import pytest

from currant import CurrantError, Exit, TimeLimitError
from currant._supervisor.verdict import Ending, Readiness, judge
from currant._values.stop_request import StopRequest

if TYPE_CHECKING:
    from currant._values.results import Status

SUCCESS, FAILURE, CRASH = Exit(0, None), Exit(3, None), Exit(None, SIGSEGV)
STOPPED = Exit(None, SIGTERM, stopped=True)
READINESS: tuple[Readiness, ...] = ("ready", "pending", "missed")


@pytest.mark.parametrize(
    ("end", "was_stopped", "readiness"),
    list(product((SUCCESS, FAILURE, CRASH, STOPPED), (False, True), READINESS)),
)
def test_error_is_a_failure_whatever_the_exit(
    end: Exit, was_stopped: bool, readiness: Readiness
) -> None:
    """What was reported as a failure stays one, even if the process then exits by itself."""
    error: CurrantError = TimeLimitError("web", 1.0)
    assert judge(Ending(end, error, was_stopped, readiness), (0,)) == "failed"


@pytest.mark.parametrize(("was_stopped", "readiness"), list(product((False, True), READINESS)))
@pytest.mark.parametrize(
    ("end", "status"), [(STOPPED, "stopped"), (FAILURE, "failed"), (CRASH, "failed")]
)
def test_exit_that_is_no_success_decides_alone(
    end: Exit, status: Status, was_stopped: bool, readiness: Readiness
) -> None:
    """A stop of ours is a stop, any other end without success a failure."""
    assert judge(Ending(end, None, was_stopped, readiness), (0,)) == status


@pytest.mark.parametrize(
    ("readiness", "was_stopped", "status"),
    [
        ("ready", False, "succeeded"),
        ("ready", True, "succeeded"),
        ("pending", False, None),
        ("pending", True, None),
        ("missed", False, "failed"),
        ("missed", True, "stopped"),
    ],
)
def test_success_counts_once_the_command_was_ready(
    readiness: Readiness, was_stopped: bool, status: Status | None
) -> None:
    """A command that exits before it is ready has failed, unless it was stopped first."""
    assert judge(Ending(SUCCESS, None, was_stopped, readiness), (0,)) == status


def test_success_codes_are_the_commands_own() -> None:
    """An exit code counts as success only if the command says so."""
    assert judge(Ending(FAILURE, None, was_stopped=False, readiness="ready"), (0, 3)) == "succeeded"
    assert judge(Ending(SUCCESS, None, was_stopped=False, readiness="ready"), (3,)) == "failed"


def test_hurried_stop_request_has_no_grace_left() -> None:
    """A second kill is the same request, with its grace over."""
    request = StopRequest(at=100.0, grace=5.0)
    assert request.remaining(102.0) == 3.0
    assert request.remaining(106.0) == -1.0
    assert request.hurried() == StopRequest(at=100.0, grace=0.0, is_hurried=True)
    assert request.hurried().remaining(101.0) == -1.0
