"""The kill barrier holds every waiter until it is thrown, and none after."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from currant import KillBarrier
from currant._synchronization import ChildBarrier

pytestmark = pytest.mark.anyio

LONG = 30
"""Seconds after which a wait counts as a deadlock."""


# ---- throwing ----


def test_new_barrier_is_closed() -> None:
    """A new barrier is not thrown and has no reason."""
    barrier = KillBarrier()
    assert barrier.thrown is False
    assert barrier.reason is None


async def test_all_waiters_pass_when_the_barrier_is_thrown() -> None:
    """However many tasks wait, no task passes before the throw, and all pass after it."""
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


async def test_later_waiters_pass_at_once() -> None:
    """A thrown barrier holds up no waiter and never closes again."""
    barrier = KillBarrier()
    barrier.throw()
    with anyio.fail_after(LONG):
        await barrier.wait()
        await barrier.wait()
    barrier.throw()
    with anyio.fail_after(LONG):
        await barrier.wait()
    assert barrier.thrown is True


async def test_throw_returns_before_any_waiter_has_passed() -> None:
    """`throw` only opens the gate: waiters continue when the caller yields to the event loop."""
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
async def test_first_reason_counts(reason: str | None) -> None:
    """A second throw is allowed and changes nothing, even if the first gave no reason."""
    barrier = KillBarrier()
    barrier.throw(reason)
    barrier.throw("something else")
    assert barrier.reason == reason


async def test_cancelled_waiter_does_not_change_the_barrier() -> None:
    """A waiter may be cancelled at any time; the other waiters go on waiting."""
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


async def test_repr_shows_the_state() -> None:
    """A log can tell a closed barrier from a thrown barrier, and shows the reason."""
    barrier = KillBarrier()
    assert repr(barrier) == "<KillBarrier closed>"
    barrier.throw("enough")
    assert repr(barrier) == "<KillBarrier thrown, reason='enough'>"


# ---- outside an event loop ----


def run(anyio_backend: Any, main: Any) -> None:
    """Run `main` in an event loop of its own."""
    name, options = anyio_backend
    anyio.run(main, backend=name, backend_options=options)


def test_barrier_may_be_built_before_the_event_loop_runs(anyio_backend: Any) -> None:
    """A barrier that was built outside an event loop works inside like any other."""
    barrier = KillBarrier()
    child = ChildBarrier(barrier)

    async def main() -> None:
        with anyio.fail_after(LONG):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(barrier.wait)
                tasks.start_soon(child.wait)
                await anyio.wait_all_tasks_blocked()
                assert not barrier.thrown
                barrier.throw("now")
        assert child.reason == "now"

    run(anyio_backend, main)
    assert barrier.thrown


def test_barrier_may_be_thrown_before_the_event_loop_runs(anyio_backend: Any) -> None:
    """A kill may come before there is a command to kill."""
    barrier = KillBarrier()
    child = ChildBarrier(barrier)
    barrier.throw("early")
    assert (barrier.thrown, barrier.reason, child.thrown, child.reason) == (True, "early") * 2

    async def main() -> None:
        with anyio.fail_after(LONG):
            await barrier.wait()
            await child.wait()
            await ChildBarrier(barrier).wait()

    run(anyio_backend, main)


# ---- children ----


async def test_barrier_throws_its_children() -> None:
    """A task that waits for a command's barrier passes when the Runner's is thrown."""
    parent = KillBarrier()
    child = ChildBarrier(parent)
    grandchild = ChildBarrier(child)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(grandchild.wait)
        tasks.start_soon(child.wait)
        await anyio.wait_all_tasks_blocked()
        parent.throw("all")
        with anyio.fail_after(LONG):
            await grandchild.wait()
    assert [(b.thrown, b.reason) for b in (parent, child, grandchild)] == [(True, "all")] * 3


async def test_children_are_thrown_in_the_same_step() -> None:
    """There is no moment at which the parent is thrown and a child is not."""
    parent = KillBarrier()
    grandchildren = [ChildBarrier(ChildBarrier(parent)) for _ in range(3)]
    parent.throw()
    assert all(barrier.thrown for barrier in grandchildren)


async def test_child_barrier_is_thrown_alone() -> None:
    """Stopping one command stops neither the other commands nor the Runner."""
    parent = KillBarrier()
    one, other = ChildBarrier(parent), ChildBarrier(parent)
    one.throw("only me")
    await checkpoint()
    assert (one.thrown, other.thrown, parent.thrown) == (True, False, False)
    parent.throw("all")
    assert (one.reason, other.reason) == ("only me", "all")


def test_child_of_a_command_that_has_ended_is_forgotten_by_its_parent() -> None:
    """A Runner that stays open does not collect the barriers of all commands that have ended."""
    parent = KillBarrier()
    one, other = ChildBarrier(parent), ChildBarrier(parent)
    one.throw_in_loop()
    assert list(parent._children) == [other]


async def test_child_of_a_thrown_barrier_is_thrown_from_the_start() -> None:
    """A command that comes after the kill is stopped like those before, for the same reason."""
    parent = KillBarrier()
    parent.throw("all")
    late = ChildBarrier(parent)
    assert (late.thrown, late.reason) == (True, "all")
    with anyio.fail_after(LONG):
        await late.wait()


def test_public_barrier_shows_only_its_contract() -> None:
    """A user finds the four names of the contract, and nothing that links barriers."""
    public = {name for name in dir(KillBarrier()) if not name.startswith("_")}
    assert public == {"wait", "throw", "thrown", "reason"}
