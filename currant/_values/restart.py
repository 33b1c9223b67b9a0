"""Whether a command that has ended is started again, and after how long.

The policy is immutable and the history is passed in, randomness too, so that the decision is a
function from values to a value: no clock, no state.  The backoff is the one Docker uses (a delay
that doubles up to a cap and starts anew after a time of staying up); a failed launch counts as an
end like any other, so that a missing program cannot become a hot loop.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Literal, TypeAlias

from currant._values.checks import is_number

__all__ = [
    "RestartPolicy",
    "RestartWhen",
    "as_restart_policy",
    "delay_before_restart",
    "ends_in_a_row",
]


RestartWhen: TypeAlias = Literal["never", "on-failure", "always"]


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """When a command is started again after it has ended by itself, and how long it waits first.

    The wait before the n-th restart in a row is ``delay * factor ** (n - 1)`` seconds, at most
    `max_delay`, varied at random by `jitter` so that commands that failed together do not all
    come back together.  A command that currant stopped is never started again.

    Attributes:
        when: ``"never"``, ``"on-failure"`` or ``"always"``.
        max_restarts: give up after so many restarts of the command in all; None: never give up.
        delay: seconds before the first restart.
        factor: by what each further wait is multiplied; at least 1.
        max_delay: the longest wait, in seconds, before `jitter` varies it.
        jitter: a share of the wait, 0 to 1: the wait is drawn from within ± that share.
        reset_after: after an attempt of at least so many seconds, the waits start anew at `delay`.

    Raises:
        ValueError: a number is out of its range, or `when` is none of the three words.
    """

    when: RestartWhen
    max_restarts: int | None = None
    delay: float = 0.1
    factor: float = 2.0
    max_delay: float = 30.0
    jitter: float = 0.1
    reset_after: float = 10.0

    def __post_init__(self) -> None:
        if self.when not in ("never", "on-failure", "always"):
            raise ValueError(
                f"restart must be 'never', 'on-failure' or 'always', not {self.when!r}"
            )
        if self.max_restarts is not None and not (
            _is_count(self.max_restarts) and self.max_restarts >= 0
        ):
            raise ValueError(
                f"max_restarts must be None or a whole number from 0, not {self.max_restarts!r}"
            )
        for field in ("delay", "max_delay", "reset_after"):
            value = getattr(self, field)
            if not is_number(value) or value < 0:
                raise ValueError(f"{field} must be a number of seconds, at least 0, not {value!r}")
        if math.isinf(self.delay):
            raise ValueError("delay must be finite; 'never' is how a command is not restarted")
        if not is_number(self.factor) or not 1 <= self.factor < math.inf:
            raise ValueError(f"factor must be a number, at least 1, not {self.factor!r}")
        if not is_number(self.jitter) or not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter must be from 0 to 1, not {self.jitter!r}")

    @property
    def is_endless(self) -> bool:
        """Whether a command is started again after each end, however often."""
        return self.when == "always" and self.max_restarts is None


def _is_count(value: object) -> bool:
    return isinstance(value, int)


def as_restart_policy(value: RestartWhen | RestartPolicy) -> RestartPolicy:
    """Return `value` as a policy; a word stands for the policy with that `when`."""
    return value if isinstance(value, RestartPolicy) else RestartPolicy(value)


def ends_in_a_row(policy: RestartPolicy, before: int, uptime: float) -> int:
    """Count the ends in a row, this one included, after an attempt of `uptime` seconds."""
    return 1 if uptime >= policy.reset_after else before + 1


def delay_before_restart(
    policy: RestartPolicy, *, failed: bool, restarts: int, in_a_row: int, random: float
) -> float | None:
    """Decide after an end: the seconds to wait before the next attempt, or None: not again.

    Args:
        policy: what was asked for.
        failed: whether the attempt failed (a failed launch did).
        restarts: how often the command was restarted so far.
        in_a_row: ends in a row without a long run, this one included (see `ends_in_a_row`).
        random: a number from 0 to 1 that places the wait within the jitter.
    """
    if policy.when == "never" or (policy.when == "on-failure" and not failed):
        return None
    if policy.max_restarts is not None and restarts >= policy.max_restarts:
        return None
    return _backoff(policy, in_a_row) * (1 + policy.jitter * (2 * random - 1))


def _backoff(policy: RestartPolicy, in_a_row: int) -> float:
    try:
        growth = float(policy.factor) ** (in_a_row - 1)
    except OverflowError:  # after a thousand doublings
        growth = sys.float_info.max
    return min(policy.delay * growth, policy.max_delay, sys.float_info.max)
