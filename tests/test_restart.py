"""Restart decisions in tables: a policy and a history lead to a decision and a new history."""

from __future__ import annotations

import math
import pickle
from dataclasses import FrozenInstanceError, fields
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from currant import RestartPolicy
from currant._values.restart import (
    Again,
    Done,
    History,
    after_request,
    as_restart_policy,
    decide,
)

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
    """Return the decided delay, or None for no restart, after a run too short to reset it.

    `in_a_row` counts this end too.  A `random` in the middle has no jitter.
    """
    history = History(restarts, in_a_row - 1)
    decision, _ = decide(policy, history, failed=failed, uptime=0.0, random=random)
    return decision.delay if isinstance(decision, Again) else None


# ---- the policy ----


def test_policy_defaults_match_the_contract() -> None:
    """The fields of `RestartPolicy` have the promised order and defaults; times are in seconds."""
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
    ("options", "field"),
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
def test_number_out_of_range_is_refused_when_built(options: dict[str, Any], field: str) -> None:
    """An impossible policy raises a `ValueError` that names the field."""
    fields_: dict[str, Any] = {"when": "always"} | options
    with pytest.raises(ValueError, match=field):
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
def test_number_at_the_edge_of_its_range_is_accepted(options: dict[str, Any]) -> None:
    """Both ends of each range are valid."""
    policy = RestartPolicy("always", **options)
    assert {name: getattr(policy, name) for name in options} == options


def test_policy_is_a_value() -> None:
    """Policies are frozen, comparable, hashable and picklable."""
    policy = RestartPolicy("on-failure", max_restarts=3)
    with pytest.raises(FrozenInstanceError):
        policy.delay = 1.0  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(policy)) == policy == RestartPolicy("on-failure", 3)
    assert {policy: 1}[RestartPolicy("on-failure", 3)] == 1
    assert policy != RestartPolicy("on-failure", 4)


@pytest.mark.parametrize("word", ["never", "on-failure", "always"])
def test_word_stands_for_the_policy_with_its_defaults(word: RestartWhen) -> None:
    """``restart="always"`` is ``RestartPolicy("always")``; a policy is itself."""
    policy = RestartPolicy(word)
    assert as_restart_policy(word) == policy
    assert as_restart_policy(policy) is policy


# ---- whether to restart ----


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
def test_when_selects_the_ends_that_lead_to_a_restart(
    when: RestartWhen, failed: bool, again: bool
) -> None:
    """``"on-failure"`` restarts after a failure only, ``"always"`` after a success too."""
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
def test_max_restarts_limits_the_restarts(
    max_restarts: int | None, restarts: int, failed: bool, again: bool
) -> None:
    """`max_restarts` counts restarts, not attempts; None never gives up."""
    policy = RestartPolicy("always", max_restarts)
    assert (delay(policy, failed=failed, restarts=restarts) is not None) is again


@pytest.mark.parametrize(("uptime", "again"), [(9.9, False), (10.0, True), (1e9, True)])
def test_max_restarts_counts_from_the_last_attempt_that_stayed_up(
    uptime: float, *, again: bool
) -> None:
    """An attempt of at least `reset_after` seconds starts the count anew, as it does the delays."""
    policy = RestartPolicy("always", max_restarts=3, jitter=0)
    decision, history = decide(policy, History(3, 7), failed=True, uptime=uptime, random=0.5)
    assert decision == (Again(0.1) if again else Done())
    assert history == (History(1, 1) if again else History(3, 8))


def test_restart_on_request_counts_as_a_restart_but_not_as_an_end() -> None:
    """The count begins anew with an attempt that stayed up, also if that ends on request."""
    policy = RestartPolicy("always")
    assert after_request(policy, History(2, 5), uptime=9.9) == History(3, 5)
    assert after_request(policy, History(2, 5), uptime=10.0) == History(1, 0)


# ---- how long to wait ----


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
def test_delays_grow_by_the_factor_up_to_max_delay(
    policy: RestartPolicy, delays: list[float]
) -> None:
    """The delay in seconds after the first, second… end in a row, without jitter."""
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
def test_jitter_varies_the_delay_within_its_share(
    jitter: float, random: float, seconds: float
) -> None:
    """The random number places the delay within ± the share."""
    policy = RestartPolicy("always", delay=10.0, jitter=jitter)
    assert delay(policy, random=random) == pytest.approx(seconds)


def test_jitter_varies_the_longest_delay_too() -> None:
    """Commands that have reached the cap do not all restart at the same moment either."""
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
def test_delay_after_many_restarts_does_not_overflow(
    policy: RestartPolicy, in_a_row: int, seconds: float
) -> None:
    """After any number of ends in a row, the delay is at the cap, and no error is raised."""
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
def test_delay_is_never_negative_or_above_max_delay_with_jitter(
    policy: RestartPolicy, in_a_row: int, random: float
) -> None:
    """For any policy, the delay is within [0, max_delay * (1 + jitter)]."""
    seconds = delay(policy, in_a_row=in_a_row, random=random)
    assert seconds is not None
    assert 0 <= seconds <= policy.max_delay * (1 + policy.jitter) * (1 + 1e-9)


@given(
    first=NUMBERS,
    factor=st.floats(1, 10),
    in_a_row=st.integers(1, 2000),
)
def test_delay_never_shrinks_while_a_command_keeps_ending(
    first: float, factor: float, in_a_row: int
) -> None:
    """Without jitter, each delay is at least as long as the one before."""
    policy = RestartPolicy("always", delay=first, factor=factor, jitter=0)
    before, after = delay(policy, in_a_row=in_a_row), delay(policy, in_a_row=in_a_row + 1)
    assert before is not None
    assert after is not None
    assert before <= after


# ---- the history ----


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
@pytest.mark.parametrize("when", ["never", "always"])
def test_long_run_resets_the_ends_in_a_row(
    when: RestartWhen, reset_after: float, before: int, uptime: float, now: int
) -> None:
    """An attempt of at least `reset_after` seconds counts from one; a shorter one adds one."""
    policy = RestartPolicy(when, reset_after=reset_after)
    history = History(ends_in_a_row=before)
    _, history = decide(policy, history, failed=True, uptime=uptime, random=0.5)
    assert history.ends_in_a_row == now


@pytest.mark.parametrize(
    ("policy", "decision", "restarts"),
    [
        (RestartPolicy("always"), Again(0.4), 3),
        (RestartPolicy("always", max_restarts=3), Again(0.4), 3),
        (RestartPolicy("always", max_restarts=2), Done(), 2),
        (RestartPolicy("on-failure"), Done(), 2),
        (RestartPolicy("never"), Done(), 2),
    ],
    ids=repr,
)
def test_only_a_restart_adds_to_the_restarts(
    policy: RestartPolicy, decision: Again | Done, restarts: int
) -> None:
    """Every end counts as an end; only `Again` counts as a restart as well."""
    decided = decide(policy, History(2, 2), failed=False, uptime=0.0, random=0.5)
    assert decided == (decision, History(restarts, ends_in_a_row=3))


def test_policy_is_followed_until_it_gives_up() -> None:
    """The history that one decision returns is the argument of the next."""
    policy = RestartPolicy("on-failure", max_restarts=3, delay=1.0, jitter=0)
    history = History()
    decisions = []
    for uptime in (0.0, 2.0, 60.0, 0.0, 0.0, 0.0):
        decision, history = decide(policy, history, failed=True, uptime=uptime, random=0.5)
        decisions.append(decision)
    assert decisions == [*map(Again, (1.0, 2.0, 1.0, 2.0, 4.0)), Done()]
    assert history == History(restarts=3, ends_in_a_row=4)


@given(st.lists(st.floats(0, 20), min_size=1), st.floats(0, 20))
def test_delay_after_a_long_run_is_the_first_one(uptimes: list[float], reset_after: float) -> None:
    """A command that stayed up restarts as soon as it did at first, however often it had ended."""
    assume(uptimes[-1] >= reset_after)
    policy = RestartPolicy("always", reset_after=reset_after, jitter=0)
    history = History()
    for uptime in uptimes:
        decision, history = decide(policy, history, failed=True, uptime=uptime, random=0.5)
        assert 1 <= history.ends_in_a_row == history.restarts <= len(uptimes)
    assert decision == Again(policy.delay)
