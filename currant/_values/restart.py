"""The restart decision: whether a command runs again after an attempt has ended, and how soon.

`decide` is a pure function.  The policy is immutable, and the history and the random number are
arguments, so tables test every case without a clock.

The delays grow as in Docker: each delay is a multiple of the previous delay, up to a cap.  If an
attempt stays up long enough, the next delay is the first again, and the count of restarts begins
anew: a service that fails once a week never reaches a limit.  A failed launch counts as an end, so
a missing program cannot cause a busy loop.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, get_args

from currant._values.checks import check_choice, check_delay, is_number

__all__ = [
    "Again",
    "Decision",
    "Done",
    "History",
    "RestartPolicy",
    "RestartWhen",
    "after_request",
    "as_restart_policy",
    "decide",
]


RestartWhen: TypeAlias = Literal["never", "on-failure", "always"]


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """When to restart a command after it has ended by itself, and how long to wait first.

    Restart after a failure, at most five times in a row, after 1, 2, 4, 8 and 16 seconds::

        import currant
        from currant import Command, RestartPolicy

        policy = RestartPolicy("on-failure", max_restarts=5, delay=1.0, jitter=0.0)
        results = currant.run(Command.parse("test -d .", restart=policy))
        assert results["test"].attempts == 1

    The delay before the n-th restart in a row is ``delay * factor ** (n - 1)`` seconds, at most
    `max_delay`.  `jitter` varies each delay at random, so that commands that failed together do
    not all restart at the same moment.  After a kill a command is not restarted.

    Attributes:
        when: ``"never"``, ``"on-failure"`` or ``"always"``.
        max_restarts: the number of restarts before currant gives up, counted from the last attempt
            that stayed up for `reset_after`; None: no limit.
        delay: seconds before the first restart.
        factor: multiplies each further delay; at least 1.
        max_delay: the longest delay in seconds, before `jitter` varies it.
        jitter: a share from 0 to 1: each delay is varied at random by up to ± that share.
        reset_after: if an attempt stays up for at least this many seconds, the next delay is
            `delay`, and `max_restarts` counts from there.  An attempt is up from the moment when it
            is ready (without a probe: from its start) until its exit, or if its `alive` probe
            fails, until the last check that it passed.  An attempt that exceeds `Command.timeout`
            has not stayed up.

    Raises:
        ValueError: a number is out of range, or `when` is not one of the three words.
    """

    when: RestartWhen
    max_restarts: int | None = None
    delay: float = 0.1
    factor: float = 2.0
    max_delay: float = 30.0
    jitter: float = 0.1
    reset_after: float = 10.0

    def __post_init__(self) -> None:
        check_choice("restart", self.when, get_args(RestartWhen))
        if self.max_restarts is not None and not _is_count(self.max_restarts):
            raise ValueError(
                f"max_restarts must be None or an integer >= 0, not {self.max_restarts!r}"
            )
        for field in ("delay", "max_delay", "reset_after"):
            check_delay(field, getattr(self, field))
        if math.isinf(self.delay):
            raise ValueError("delay must be finite; to disable restarts, use 'never'")
        if not is_number(self.factor) or not 1 <= self.factor < math.inf:
            raise ValueError(f"factor must be a finite number >= 1, not {self.factor!r}")
        if not is_number(self.jitter) or not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter must be a number from 0 to 1, not {self.jitter!r}")

    @property
    def is_endless(self) -> bool:
        """Whether every end leads to a restart, without a limit."""
        return self.when == "always" and self.max_restarts is None


def _is_count(value: object) -> bool:
    return isinstance(value, int) and value >= 0


def as_restart_policy(value: RestartWhen | RestartPolicy) -> RestartPolicy:
    """Return `value` as a policy; a word stands for the policy with that `when`."""
    return value if isinstance(value, RestartPolicy) else RestartPolicy(value)


class History(NamedTuple):
    """The past of one command, as far as the next decision depends on it.

    Attributes:
        restarts: the number of restarts, both by the policy and on request, since the last attempt
            that stayed up for `RestartPolicy.reset_after`.
        ends_in_a_row: the number of ends in a row; such an attempt starts the count again at 1.
    """

    restarts: int = 0
    ends_in_a_row: int = 0


class Done(NamedTuple):
    """The command is not restarted."""


class Again(NamedTuple):
    """The command is restarted.

    Attributes:
        delay: seconds to wait first.
        reason: the cause, if that is neither the policy nor a call.
    """

    delay: float
    reason: str | None = None


Decision: TypeAlias = Done | Again
"""The outcome of `decide`."""


def decide(
    policy: RestartPolicy, history: History, *, failed: bool, uptime: float, random: float
) -> tuple[Decision, History]:
    """Decide whether a command runs again after an attempt has ended.

    Args:
        policy: the command's policy.
        history: the command's history before this end.
        failed: whether the attempt failed; a failed launch did.
        uptime: seconds that the attempt stayed up; 0 if the launch failed.
        random: a number from 0 to 1 that places the delay within the jitter.

    Returns:
        The decision, and the history with this end and, if the command runs again, the restart.
    """
    restarts, ends = _after_attempt(policy, history, uptime)
    in_a_row = ends + 1
    if not _allows_restart(policy, restarts=restarts, failed=failed):
        return Done(), History(restarts, in_a_row)
    delay = _jittered(policy, _backoff(policy, in_a_row), random)
    return Again(delay), History(restarts + 1, in_a_row)


def after_request(policy: RestartPolicy, history: History, *, uptime: float) -> History:
    """Return the history after a restart on request, which is a restart but not an end."""
    restarts, ends = _after_attempt(policy, history, uptime)
    return History(restarts + 1, ends)


def _after_attempt(policy: RestartPolicy, history: History, uptime: float) -> History:
    return History() if uptime >= policy.reset_after else history


def _allows_restart(policy: RestartPolicy, *, restarts: int, failed: bool) -> bool:
    if policy.when == "never" or (policy.when == "on-failure" and not failed):
        return False
    return policy.max_restarts is None or restarts < policy.max_restarts


def _backoff(policy: RestartPolicy, in_a_row: int) -> float:
    try:
        growth = float(policy.factor) ** (in_a_row - 1)
    except OverflowError:  # happens after about a thousand doublings
        growth = sys.float_info.max
    return min(policy.delay * growth, policy.max_delay, sys.float_info.max)


def _jittered(policy: RestartPolicy, delay: float, random: float) -> float:
    return delay * (1 + policy.jitter * (2 * random - 1))
