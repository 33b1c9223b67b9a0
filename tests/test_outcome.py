"""The outcome of an attempt: which facts decide, in whatever order they come."""

from __future__ import annotations

from itertools import product
from signal import SIGKILL, SIGSEGV, SIGTERM
from typing import TYPE_CHECKING

import pytest

from currant import (
    CannotStopError,
    Command,
    Exit,
    HostLostError,
    LaunchError,
    NotReadyError,
    OutputLimitError,
    TimeLimitError,
)
from currant._channel.output import Output
from currant._supervisor.outcome import Outcome, Readiness
from currant._values.stop_request import StopRequest

if TYPE_CHECKING:
    from currant import Batch
    from currant._values.results import Status

SUCCESS, FAILURE, CRASH = Exit(0, None), Exit(3, None), Exit(None, SIGSEGV)
STOPPED, LOST = Exit(None, SIGTERM, stopped=True), Exit(None, None)
READINESS: tuple[Readiness, ...] = ("ready", "pending", "missed")


async def send(batch: Batch) -> None:
    """Take a batch; there is none."""


def output_of(max_output: int | None = None) -> Output:
    """Return an output of which nothing was read yet."""
    return Output("web", None, (), send, max_output=max_output)


def outcome_of(*success_codes: int) -> Outcome:
    """Return the outcome of an attempt of which nothing is known yet."""
    return Outcome(Command(["true"], name="web", success_codes=success_codes or (0,)))


def status_of(
    outcome: Outcome, readiness: Readiness, *, was_stopped: bool = False
) -> Status | None:
    """Judge, and return the status; None if it is not known."""
    is_known = outcome.judge(readiness, output_of(), was_stopped=was_stopped)
    assert is_known is (outcome.status is not None)
    return outcome.status


# ---- the verdict ----


@pytest.mark.parametrize(
    ("end", "was_stopped", "readiness"),
    list(product((SUCCESS, FAILURE, CRASH, STOPPED), (False, True), READINESS)),
)
def test_fault_is_a_failure_whatever_the_exit(
    end: Exit, was_stopped: bool, readiness: Readiness
) -> None:
    """What was reported as a failure stays one, even if the process then exits by itself."""
    outcome, fault = outcome_of(), TimeLimitError("web", 1.0)
    outcome.note_fault(fault)
    outcome.note_exit(end, was_asked=False)
    assert status_of(outcome, readiness, was_stopped=was_stopped) == "failed"
    assert outcome.error is fault


@pytest.mark.parametrize(("was_stopped", "readiness"), list(product((False, True), READINESS)))
@pytest.mark.parametrize(
    ("end", "status"), [(STOPPED, "stopped"), (FAILURE, "failed"), (CRASH, "failed")]
)
def test_exit_that_is_no_success_decides_alone(
    end: Exit, status: Status, was_stopped: bool, readiness: Readiness
) -> None:
    """A stop of ours is a stop, any other end without success a failure."""
    outcome = outcome_of()
    outcome.note_exit(end, was_asked=False)
    assert status_of(outcome, readiness, was_stopped=was_stopped) == status
    assert outcome.error is None


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
    outcome = outcome_of()
    outcome.note_exit(SUCCESS, was_asked=False)
    assert status_of(outcome, readiness, was_stopped=was_stopped) == status
    assert isinstance(outcome.error, NotReadyError) is (status == "failed")


def test_success_codes_are_the_commands_own() -> None:
    """An exit code counts as success only if the command says so."""
    for end, codes, status in [(FAILURE, (0, 3), "succeeded"), (SUCCESS, (3,), "failed")]:
        outcome = outcome_of(*codes)
        outcome.note_exit(end, was_asked=False)
        assert status_of(outcome, "ready") == status


@pytest.mark.parametrize(("end", "is_known"), [(SUCCESS, False), (STOPPED, False), (FAILURE, True)])
def test_unread_output_may_still_be_a_fault(end: Exit, is_known: bool) -> None:
    """With a limit of the output, only a failure is known before the end of the output."""
    outcome = outcome_of()
    outcome.note_exit(end, was_asked=False)
    assert outcome.judge("ready", output_of(max_output=10), was_stopped=False) is is_known


# ---- the facts ----


def test_fault_after_the_verdict_withdraws_a_success() -> None:
    """The last output was too much: the attempt is judged again, and has failed."""
    outcome = outcome_of()
    outcome.note_exit(SUCCESS, was_asked=False)
    assert status_of(outcome, "ready") == "succeeded"
    outcome.note_fault(OutputLimitError("web", 10))
    assert outcome.status is None
    assert status_of(outcome, "ready") == "failed"


@pytest.mark.parametrize(
    ("end", "status"), [(None, "failed"), (STOPPED, "failed"), (SUCCESS, None), (FAILURE, "failed")]
)
def test_lost_host_is_a_failure(end: Exit | None, status: Status | None) -> None:
    """A stop is not sure to have ended all processes; a success is judged again."""
    outcome = outcome_of()
    if end is not None:
        outcome.note_exit(end, was_asked=False)
        status_of(outcome, "ready")
    outcome.note_fault(HostLostError("gpu1", "silent"))
    outcome.note_lost_host()
    assert outcome.status == status


@pytest.mark.parametrize(("was_killed", "status"), [(False, "failed"), (True, "stopped")])
def test_failed_launch_is_a_failure_unless_a_kill_came(was_killed: bool, status: Status) -> None:
    """The error stays in either case."""
    outcome, error = outcome_of(), LaunchError("web", "no such file")
    outcome.note_failed_launch(error, was_killed=was_killed)
    assert (outcome.status, outcome.error) == (status, error)


def test_exit_after_a_request_without_a_signal_is_a_stop() -> None:
    """The launcher cannot know of the request; a later report of the exit keeps the mark."""
    outcome = outcome_of()
    outcome.note_exit(SUCCESS, was_asked=True)
    outcome.note_exit(SUCCESS, was_asked=False)
    assert outcome.exit == Exit(0, None, stopped=True)


def test_exit_after_a_time_limit_has_timed_out() -> None:
    """The launcher only knows that the process was stopped."""
    outcome = outcome_of()
    outcome.note_fault(TimeLimitError("web", 1.0))
    outcome.note_exit(STOPPED, was_asked=False)
    assert outcome.exit == Exit(None, SIGTERM, stopped=True, timed_out=True)


@pytest.mark.parametrize(("was_asked", "is_lost"), [(False, True), (True, False)])
def test_lost_exit_status_is_an_error_unless_stopped(was_asked: bool, is_lost: bool) -> None:
    """After a stop, nobody asks for the exit status."""
    outcome = outcome_of()
    outcome.note_exit(LOST, was_asked=was_asked)
    assert outcome.is_status_lost is is_lost


def test_process_that_survives_sigkill_is_a_failure_after_all() -> None:
    """It replaces an earlier verdict."""
    outcome = outcome_of()
    outcome.note_exit(Exit(None, SIGKILL, stopped=True), was_asked=False)
    assert status_of(outcome, "ready", was_stopped=True) == "stopped"
    outcome.fail(CannotStopError("web", 42, 10.0))
    assert (outcome.status, outcome.cannot_be_stopped) == ("failed", True)


def test_hurried_stop_request_has_no_grace_left() -> None:
    """A second kill is the same request, with its grace over."""
    request = StopRequest(at=100.0, grace=5.0)
    assert request.remaining(102.0) == 3.0
    assert request.remaining(106.0) == -1.0
    assert request.hurried() == StopRequest(at=100.0, grace=0.0, is_hurried=True)
    assert request.hurried().remaining(101.0) == -1.0
