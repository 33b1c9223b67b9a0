"""The kill barrier: it holds all who wait until it is thrown, and nobody after."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from currant import KillBarrier
from currant._synchronization import ChildBarrier

pytestmark = pytest.mark.anyio

LONG = 30
"""Seconds after which something that should have happened has not."""


# ---- throwing ----


def test_a_new_barrier_is_closed() -> None:
    """Nothing is thrown by itself, and there is no reason yet."""
    barrier = KillBarrier()
    assert barrier.thrown is False
    assert barrier.reason is None


async def test_all_who_wait_pass_when_it_is_thrown() -> None:
    """However many tasks wait, none passes before the throw, and all do after."""
    barrier = KillBarrier()
    passed = []

    async def watch(number: int) -> None:
        await barrier.wait()
        passed.append(number)

    with anyio.fail_after(LONG):
        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(watch, number)
            await anyio.wait_all_tasks_blocked()
            assert not passed
            barrier.throw()
    assert sorted(passed) == list(range(10))


async def test_all_who_come_later_pass_at_once() -> None:
    """A thrown barrier holds nobody up, any number of times: it never closes again."""
    barrier = KillBarrier()
    barrier.throw()
    with anyio.fail_after(LONG):
        await barrier.wait()
        await barrier.wait()
    barrier.throw()
    with anyio.fail_after(LONG):
        await barrier.wait()
    assert barrier.thrown is True


async def test_throwing_returns_before_anybody_has_passed() -> None:
    """`throw` only opens the gate: the waiters go on when the caller yields to the event loop."""
    barrier = KillBarrier()
    passed = anyio.Event()

    async def watch() -> None:
        await barrier.wait()
        passed.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        await anyio.wait_all_tasks_blocked()
        barrier.throw()
        assert barrier.thrown
        assert not passed.is_set()
        with anyio.fail_after(LONG):
            await passed.wait()


@pytest.mark.parametrize("reason", [None, "", "the disk is full"])
async def test_the_first_reason_is_the_one_that_counts(reason: str | None) -> None:
    """Throwing again is allowed and changes nothing, even where no reason was given first."""
    barrier = KillBarrier()
    barrier.throw(reason)
    barrier.throw("something else")
    assert barrier.reason == reason


async def test_a_cancelled_waiter_leaves_the_barrier_as_it_was() -> None:
    """Waiting may be given up at any time; the others go on waiting."""
    barrier = KillBarrier()
    passed = anyio.Event()

    async def watch() -> None:
        await barrier.wait()
        passed.set()

    with anyio.fail_after(LONG):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            with anyio.CancelScope() as scope:
                scope.cancel()
                await barrier.wait()
            assert scope.cancelled_caught
            await anyio.wait_all_tasks_blocked()
            assert not barrier.thrown
            assert not passed.is_set()
            barrier.throw()


async def test_the_repr_tells_the_state() -> None:
    """A closed and a thrown barrier can be told apart in a log, with the reason."""
    barrier = KillBarrier()
    assert repr(barrier) == "<KillBarrier closed>"
    barrier.throw("enough")
    assert repr(barrier) == "<KillBarrier thrown, reason='enough'>"


# ---- outside an event loop ----


def run(anyio_backend: Any, main: Any) -> None:
    """Run `main` in an event loop that a test has not got yet."""
    name, options = anyio_backend
    anyio.run(main, backend=name, backend_options=options)


def test_it_may_be_built_before_the_event_loop_runs(anyio_backend: Any) -> None:
    """A barrier that was built outside works inside as any other."""
    barrier = KillBarrier()
    below = ChildBarrier(barrier)

    async def main() -> None:
        with anyio.fail_after(LONG):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(barrier.wait)
                tasks.start_soon(below.wait)
                await anyio.wait_all_tasks_blocked()
                assert not barrier.thrown
                barrier.throw("now")
        assert below.reason == "now"

    run(anyio_backend, main)
    assert barrier.thrown


def test_one_that_was_thrown_before_the_event_loop_runs_is_thrown(anyio_backend: Any) -> None:
    """A kill may come before there is anything to kill."""
    barrier = KillBarrier()
    below = ChildBarrier(barrier)
    barrier.throw("early")
    assert (barrier.thrown, barrier.reason, below.thrown, below.reason) == (True, "early") * 2

    async def main() -> None:
        with anyio.fail_after(LONG):
            await barrier.wait()
            await below.wait()
            await ChildBarrier(barrier).wait()

    run(anyio_backend, main)


# ---- one below another ----


async def test_a_barrier_throws_those_below_it() -> None:
    """Who waits for a command's barrier passes when the Runner's is thrown, reason included."""
    upper = KillBarrier()
    middle = ChildBarrier(upper)
    lower = ChildBarrier(middle)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lower.wait)
        tasks.start_soon(middle.wait)
        await anyio.wait_all_tasks_blocked()
        upper.throw("all")
        with anyio.fail_after(LONG):
            await lower.wait()
    assert [(b.thrown, b.reason) for b in (upper, middle, lower)] == [(True, "all")] * 3


async def test_those_below_are_thrown_in_the_same_step() -> None:
    """There is no moment at which the upper barrier is thrown and a lower one is not."""
    upper = KillBarrier()
    lower = [ChildBarrier(ChildBarrier(upper)) for _ in range(3)]
    upper.throw()
    assert all(barrier.thrown for barrier in lower)


async def test_a_barrier_below_throws_alone() -> None:
    """Stopping one command stops neither the others nor the Runner."""
    upper = KillBarrier()
    one, other = ChildBarrier(upper), ChildBarrier(upper)
    one.throw("only me")
    await checkpoint()
    assert (one.thrown, other.thrown, upper.thrown) == (True, False, False)
    upper.throw("all")
    assert (one.reason, other.reason) == ("only me", "all")


async def test_a_barrier_below_a_thrown_one_is_thrown_from_the_start() -> None:
    """A command that comes after the kill is stopped like the ones before, for the same reason."""
    upper = KillBarrier()
    upper.throw("all")
    late = ChildBarrier(upper)
    assert (late.thrown, late.reason) == (True, "all")
    with anyio.fail_after(LONG):
        await late.wait()
