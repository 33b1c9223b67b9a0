"""What may be waited for of a command, and when waiting is hopeless: tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from currant import Command, CurrantError, Exit, LaunchError, NotReadyError, Result
from currant._supervisor.outcome import Outcome
from currant._supervisor.readiness import is_met, why_attempt_not_ready, why_impossible

if TYPE_CHECKING:
    from currant._values.links import Condition
    from currant._values.results import Status


@dataclass(frozen=True)
class View:
    """A command at one moment."""

    name: str = "db"
    starts: int = 0
    is_ready: bool = False
    times_ready: int = 0
    is_ending: bool = False
    result: Result | None = None


@dataclass(frozen=True)
class Run:
    """An attempt at one moment."""

    outcome: Outcome = field(default_factory=lambda: Outcome(Command(["true"])))
    may_become_ready: bool = False
    is_stopping: bool = False


def outcome_of(end: Exit | None = None, error: CurrantError | None = None) -> Outcome:
    """Return the outcome of an attempt that has come so far."""
    outcome = Outcome(Command(["true"]))
    outcome.exit, outcome.error = end, error
    return outcome


def ended(status: Status, exit_: Exit | None = None, error: CurrantError | None = None) -> Result:
    """Return the result of a command that ended so."""
    return Result("db", exit_, error, status, attempts=1, duration=1.0, started_at=None)


SUCCEEDED, FAILED = ended("succeeded", Exit(0, None)), ended("failed", Exit(3, None))
NEVER_STARTED = ended("failed", error=LaunchError("db", "no such file"))


@pytest.mark.parametrize(
    ("condition", "view", "met"),
    [
        ("started", View(), False),
        ("started", View(starts=1), True),
        ("ready", View(starts=1), False),
        ("ready", View(starts=1, is_ready=True, times_ready=1), True),
        ("ready", View(starts=2, times_ready=2), True),  # It was ready for a moment.
        ("ready", View(starts=2, times_ready=1), False),  # It was ready before the wait.
        ("succeeded", View(starts=1), False),
        ("succeeded", View(starts=1, result=FAILED), False),
        ("succeeded", View(starts=1, result=SUCCEEDED), True),
        ("ended", View(starts=1), False),
        ("ended", View(starts=1, result=FAILED), True),
        ("ended", View(result=NEVER_STARTED), False),
    ],
)
def test_condition_is_met(condition: Condition, view: View, met: bool) -> None:
    """Each condition is asked of the command as it is now; the wait began after one readiness."""
    assert is_met(view, condition, times_ready_before=1) is met


@pytest.mark.parametrize(
    ("condition", "view", "reason"),
    [
        ("started", View(), None),
        ("ready", View(starts=1), None),
        ("ready", View(result=FAILED), "'db' did not become ready: exit code 3"),
        (
            "ready",
            View(result=ended("failed", Exit(0, None), NotReadyError("db", "too slow"))),
            "'db' did not become ready: too slow",
        ),
        (
            "started",
            View(result=NEVER_STARTED),
            "'db' did not start: cannot start 'db': no such file",
        ),
        ("succeeded", View(is_ending=True), "'db' did not succeed: it is being stopped"),
        ("succeeded", View(result=FAILED), "'db' did not succeed: exit code 3"),
        ("ended", View(is_ending=True), None),
        (
            "ended",
            View(result=NEVER_STARTED),
            "'db' did not run to its end: cannot start 'db': no such file",
        ),
    ],
)
def test_condition_that_can_never_be_met_has_a_reason(
    condition: Condition, view: View, reason: str | None
) -> None:
    """The reason names the command, the condition, and what happened instead."""
    assert why_impossible(view, condition, waiting_is_ending=False) == reason


def test_command_that_is_stopped_itself_does_not_wait_for_an_end() -> None:
    """If both are being stopped, the wait for the other's end is over at once."""
    view = View(is_ending=True)
    reason = "'db' did not run to its end: it is being stopped"
    assert why_impossible(view, "ended", waiting_is_ending=True) == reason


@pytest.mark.parametrize(
    ("view", "run", "reason"),
    [
        (View(), None, None),
        (View(starts=1), Run(), None),
        (View(starts=1), Run(outcome_of(error=NotReadyError("db", "too slow"))), "too slow"),
        (View(), Run(outcome_of(error=LaunchError("db", "no file"))), "cannot start 'db': no file"),
        (View(starts=1), Run(outcome_of(Exit(3, None))), "it has ended: exit code 3"),
        (View(starts=1), Run(outcome_of(Exit(3, None)), may_become_ready=True), None),
        (View(starts=1), Run(is_stopping=True), "it is being stopped"),
        (View(is_ending=True), None, "it is being stopped"),
        (View(result=FAILED), None, "it has ended: exit code 3"),
    ],
)
def test_attempt_that_will_not_be_ready_has_a_reason(
    view: View, run: Run | None, reason: str | None
) -> None:
    """The attempt decides first, then the command."""
    assert why_attempt_not_ready(view, run) == reason
