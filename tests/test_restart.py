"""Restart decisions, by tables: what was asked for and what happened, to a delay or None."""

from __future__ import annotations

import math
import pickle
from dataclasses import FrozenInstanceError, fields
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from currant import RestartPolicy
from currant._values.restart import as_restart_policy, delay_before_restart, ends_in_a_row

if TYPE_CHECKING:
    from currant._values.restart import RestartWhen


def delay(
    policy: RestartPolicy,
    *,
    failed: bool = True,
    restarts: int = 0,
    in_a_row: int = 1,
    random: float = 0.5,
) -> float | None:
    """Ask for the decision; a `random` in the middle has no jitter."""
    return delay_before_restart(
        policy, failed=failed, restarts=restarts, in_a_row=in_a_row, random=random
    )


# ---- the policy ----


def test_the_defaults_are_those_of_the_contract() -> None:
    """The fields of a `RestartPolicy` in order, in seconds where they are times."""
    policy = RestartPolicy("always")
    assert {spec.name: getattr(policy, spec.name) for spec in fields(policy)} == {
        "when": "always",
        "max_restarts": None,
        "delay": 0.1,
        "factor": 2.0,
        "max_delay": 30.0,
        "jitter": 0.1,
        "reset_after": 10.0,
    }


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"when": "sometimes"}, "restart"),
        ({"when": None}, "restart"),
        ({"max_restarts": -1}, "max_restarts"),
        ({"delay": -0.1}, "delay"),
        ({"delay": math.nan}, "delay"),
        ({"max_delay": -1}, "max_delay"),
        ({"max_delay": math.nan}, "max_delay"),
        ({"reset_after": -1}, "reset_after"),
        ({"reset_after": math.nan}, "reset_after"),
        ({"factor": 0.9}, "factor"),
        ({"factor": -2}, "factor"),
        ({"factor": math.nan}, "factor"),
        ({"jitter": -0.1}, "jitter"),
        ({"jitter": 1.1}, "jitter"),
        ({"jitter": math.nan}, "jitter"),
    ],
    ids=repr,
)
def test_a_number_out_of_range_is_refused_when_built(options: dict[str, Any], told: str) -> None:
    """A policy that cannot be meant is a `ValueError` that names the field."""
    fields_: dict[str, Any] = {"when": "always"} | options
    with pytest.raises(ValueError, match=told):
        RestartPolicy(**fields_)


@pytest.mark.parametrize(
    "options",
    [
        {"max_restarts": 0},
        {"delay": 0},
        {"max_delay": 0},
        {"max_delay": math.inf},
        {"reset_after": 0},
        {"reset_after": math.inf},
        {"factor": 1},
        {"jitter": 0},
        {"jitter": 1},
    ],
    ids=repr,
)
def test_a_number_at_the_edge_of_its_range_is_taken(options: dict[str, Any]) -> None:
    """The ends of each range belong to it."""
    policy = RestartPolicy("always", **options)
    assert {name: getattr(policy, name) for name in options} == options


def test_a_policy_is_a_value() -> None:
    """Policies are frozen, compare, can be keys, and pickle."""
    policy = RestartPolicy("on-failure", max_restarts=3)
    with pytest.raises(FrozenInstanceError):
        policy.delay = 1.0  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(policy)) == policy == RestartPolicy("on-failure", 3)
    assert {policy: 1}[RestartPolicy("on-failure", 3)] == 1
    assert policy != RestartPolicy("on-failure", 4)


@pytest.mark.parametrize("word", ["never", "on-failure", "always"])
def test_a_word_stands_for_the_policy_with_its_defaults(word: RestartWhen) -> None:
    """``restart="always"`` is ``RestartPolicy("always")``; a policy is itself."""
    policy = RestartPolicy(word)
    assert as_restart_policy(word) == policy
    assert as_restart_policy(policy) is policy


# ---- whether ----


@pytest.mark.parametrize(
    ("when", "failed", "again"),
    [
        ("never", True, False),
        ("never", False, False),
        ("on-failure", True, True),
        ("on-failure", False, False),
        ("always", True, True),
        ("always", False, True),
    ],
)
def test_when_says_which_ends_are_followed_by_a_restart(
    when: RestartWhen, failed: bool, again: bool
) -> None:
    """On failure is after a failure only; always is after a success too."""
    assert (delay(RestartPolicy(when), failed=failed) is not None) is again


@pytest.mark.parametrize(
    ("max_restarts", "restarts", "again"),
    [
        (0, 0, False),
        (1, 0, True),
        (1, 1, False),
        (3, 2, True),
        (3, 3, False),
        (3, 4, False),
        (None, 10**9, True),
    ],
)
@pytest.mark.parametrize("failed", [True, False])
def test_so_many_restarts_are_made_and_no_more(
    max_restarts: int | None, restarts: int, failed: bool, again: bool
) -> None:
    """`max_restarts` counts restarts, not attempts; None never gives up."""
    policy = RestartPolicy("always", max_restarts)
    assert (delay(policy, failed=failed, restarts=restarts) is not None) is again


def test_restarts_are_counted_in_all_whatever_came_between() -> None:
    """A long run starts the waits anew, not the count of `max_restarts`."""
    assert delay(RestartPolicy("always", max_restarts=3), restarts=3, in_a_row=1) is None


# ---- after how long ----


@pytest.mark.parametrize(
    ("policy", "delays"),
    [
        (RestartPolicy("always"), [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]),
        (RestartPolicy("always", delay=1, factor=3, max_delay=20), [1, 3, 9, 20, 20]),
        (RestartPolicy("always", delay=2, factor=1), [2, 2, 2, 2]),
        (RestartPolicy("always", delay=0), [0, 0, 0]),
        (RestartPolicy("always", delay=5, max_delay=3), [3, 3]),
        (RestartPolicy("always", delay=5, max_delay=0), [0, 0]),
        (RestartPolicy("always", delay=1, max_delay=math.inf), [1, 2, 4, 8]),
    ],
    ids=repr,
)
def test_each_wait_is_longer_by_the_factor_up_to_the_longest(
    policy: RestartPolicy, delays: list[float]
) -> None:
    """The wait in seconds for the first, second… end in a row, without jitter."""
    decided = [delay(policy, in_a_row=n + 1) for n in range(len(delays))]
    assert decided == pytest.approx(delays)


@pytest.mark.parametrize(
    ("jitter", "random", "seconds"),
    [
        (0.0, 0.0, 10.0),
        (0.0, 1.0, 10.0),
        (0.1, 0.0, 9.0),
        (0.1, 0.25, 9.5),
        (0.1, 0.5, 10.0),
        (0.1, 1.0, 11.0),
        (1.0, 0.0, 0.0),
        (1.0, 1.0, 20.0),
    ],
)
def test_jitter_places_a_wait_in_its_share(jitter: float, random: float, seconds: float) -> None:
    """The wait is drawn from within ± the share; the random number says from where."""
    policy = RestartPolicy("always", delay=10.0, jitter=jitter)
    assert delay(policy, random=random) == pytest.approx(seconds)


def test_jitter_is_on_the_capped_wait_too() -> None:
    """Commands at the cap do not all come back together either."""
    policy = RestartPolicy("always", delay=10.0, max_delay=10.0, jitter=0.5)
    assert delay(policy, in_a_row=9, random=1.0) == pytest.approx(15.0)
    assert delay(policy, in_a_row=9, random=0.0) == pytest.approx(5.0)


@pytest.mark.parametrize("in_a_row", [1000, 1025, 5000, 10**6])
@pytest.mark.parametrize(
    ("policy", "seconds"),
    [
        (RestartPolicy("always"), 30.0),
        (RestartPolicy("always", factor=2), 30.0),
        (RestartPolicy("always", factor=1), 0.1),
        (RestartPolicy("always", delay=1e-200), 30.0),
        (RestartPolicy("always", max_delay=0), 0.0),
        (RestartPolicy("always", delay=0), 0.0),
    ],
    ids=repr,
)
def test_a_storm_of_restarts_does_not_overflow(
    policy: RestartPolicy, in_a_row: int, seconds: float
) -> None:
    """However many ends in a row, the wait is the longest one, and not an error."""
    assert delay(policy, in_a_row=in_a_row) == pytest.approx(seconds)


NUMBERS = st.floats(0, 1e6)


@given(
    policy=st.builds(
        RestartPolicy,
        st.just("always"),
        delay=NUMBERS,
        factor=st.floats(1, 1e3) | st.integers(1, 1000),
        max_delay=NUMBERS,
        jitter=st.floats(0, 1),
    ),
    in_a_row=st.integers(1, 10_000),
    random=st.floats(0, 1),
)
def test_a_wait_is_never_negative_nor_longer_than_the_longest_with_jitter(
    policy: RestartPolicy, in_a_row: int, random: float
) -> None:
    """Whatever the numbers, the wait is within [0, max_delay * (1 + jitter)]."""
    seconds = delay(policy, in_a_row=in_a_row, random=random)
    assert seconds is not None
    assert 0 <= seconds <= policy.max_delay * (1 + policy.jitter) * (1 + 1e-9)


@given(
    first=NUMBERS,
    factor=st.floats(1, 10),
    in_a_row=st.integers(1, 2000),
)
def test_a_later_wait_is_never_shorter(first: float, factor: float, in_a_row: int) -> None:
    """Waits only grow while a command keeps ending."""
    policy = RestartPolicy("always", delay=first, factor=factor, jitter=0)
    before, after = delay(policy, in_a_row=in_a_row), delay(policy, in_a_row=in_a_row + 1)
    assert before is not None
    assert after is not None
    assert before <= after


# ---- what counts as in a row ----


@pytest.mark.parametrize(
    ("reset_after", "before", "uptime", "now"),
    [
        (10.0, 0, 0.0, 1),
        (10.0, 1, 0.0, 2),
        (10.0, 7, 9.999, 8),
        (10.0, 7, 10.0, 1),
        (10.0, 7, 1e9, 1),
        (10.0, 0, 1e9, 1),
        (0.0, 7, 0.0, 1),
        (math.inf, 7, 1e9, 8),
    ],
)
def test_a_run_that_lasted_starts_the_waits_anew(
    reset_after: float, before: int, uptime: float, now: int
) -> None:
    """An attempt that ran for `reset_after` seconds begins a new row; a shorter one adds to it."""
    assert ends_in_a_row(RestartPolicy("always", reset_after=reset_after), before, uptime) == now


@given(st.lists(st.floats(0, 20), min_size=1), st.floats(0, 20))
def test_a_wait_after_a_long_run_is_the_first_one(uptimes: list[float], reset_after: float) -> None:
    """However often it ended before, a command that stayed up comes back as soon as at first."""
    policy = RestartPolicy("always", reset_after=reset_after, jitter=0)
    in_a_row = 0
    for uptime in uptimes:
        in_a_row = ends_in_a_row(policy, in_a_row, uptime)
        assert 1 <= in_a_row <= len(uptimes)
    assume(uptimes[-1] >= reset_after)
    assert delay(policy, in_a_row=in_a_row) == policy.delay
