"""Whether a command meets a condition, and why it can no longer meet the condition.

These are pure functions of a command at one moment.  `conditions` uses them for dependencies, and
`Job.ready` for one attempt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from currant._values.errors import NotReadyError
from currant._values.results import end_of

if TYPE_CHECKING:
    from currant._supervisor.outcome import Outcome
    from currant._values.links import Condition
    from currant._values.results import Result

__all__ = ["AttemptView", "CommandView", "is_met", "why_attempt_not_ready", "why_impossible"]


class CommandView(Protocol):
    """The properties of a command that a waiting task looks at."""

    @property
    def name(self) -> str: ...
    @property
    def starts(self) -> int: ...
    @property
    def is_ready(self) -> bool: ...
    @property
    def times_ready(self) -> int: ...
    @property
    def is_ending(self) -> bool: ...
    @property
    def result(self) -> Result | None: ...


class AttemptView(Protocol):
    """The properties of an attempt that a waiting task looks at."""

    @property
    def outcome(self) -> Outcome: ...
    @property
    def may_become_ready(self) -> bool: ...
    @property
    def is_stopping(self) -> bool: ...


def is_met(command: CommandView, condition: Condition, times_ready_before: int) -> bool:
    """Return whether `command` meets `condition`.

    Args:
        command: the dependency.
        condition: the condition that another command waits for.
        times_ready_before: how often the command had become ready when the wait began, so that a
            command counts that was ready for a moment.
    """
    match condition:
        case "started":
            return command.starts > 0
        case "ready":
            return command.is_ready or command.times_ready > times_ready_before
        case "succeeded":
            return command.result is not None and command.result.status == "succeeded"
        case "ended":
            return command.result is not None and command.starts > 0


def why_impossible(
    command: CommandView, condition: Condition, *, waiting_is_ending: bool
) -> str | None:
    """Return why `command` can no longer meet `condition`; None if `command` still can.

    Args:
        command: the dependency, which does not meet the condition now.
        condition: the condition that another command waits for.
        waiting_is_ending: whether the command that waits is itself being stopped.
    """
    did_not = f"{command.name!r} did not {_VERBS[condition]}"
    result = command.result
    if result is not None:
        if isinstance(result.error, NotReadyError):
            return f"{did_not}: {result.error.reason}"
        return f"{did_not}: {end_of(result)}"
    if command.is_ending and (condition != "ended" or waiting_is_ending):
        return f"{did_not}: it is being stopped"
    return None


def why_attempt_not_ready(command: CommandView, attempt: AttemptView | None) -> str | None:
    """Return why `attempt` will not become ready; None if `attempt` still may.

    Args:
        command: the command.
        attempt: the attempt; None: the next attempt, which has not begun.
    """
    if attempt is not None:
        end, error = attempt.outcome.exit, attempt.outcome.error
        if isinstance(error, NotReadyError):
            return error.reason
        if error is not None:
            return str(error)
        if end is not None and not attempt.may_become_ready:
            return f"it has ended: {end}"
    result = command.result
    if result is not None:
        return f"it has ended: {end_of(result)}"
    if command.is_ending or (attempt is not None and attempt.is_stopping):
        return "it is being stopped"
    return None


_VERBS: dict[Condition, str] = {
    "started": "start",
    "ready": "become ready",
    "succeeded": "succeed",
    "ended": "run to its end",
}
