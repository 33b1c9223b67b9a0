"""Tests of the event loop of the agent: tasks, cancellation, time and files, as with anyio."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, Any

import pytest

from currant._agent import loop
from currant._agent.loop import (
    CancelScope,
    ClosedResourceError,
    Event,
    Lock,
    checkpoint,
    create_task_group,
    current_time,
    move_on_after,
    notify_closing,
    sleep,
    wait_readable,
    wait_writable,
)
from tests.waiting import HOURS

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

Cancelled = loop.get_cancelled_exc_class()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Return a pipe that does not block."""
    ends = os.pipe()
    for end in ends:
        os.set_blocking(end, False)
    yield ends
    for end in ends:
        os.close(end)


def run(function: Callable[..., Coroutine[Any, Any, object]], *args: object) -> None:
    """Run a task, and check that nothing is left of the loop."""
    loop.run(function, *args)
    check_nothing_left()


def check_nothing_left() -> None:
    """Fail if the last loop still has a task, a file or a timer."""
    last = loop._loop
    assert not last._ready
    assert not last._waiting
    assert not [entry for entry in last._timers if entry[2].call is not None]


async def wait_cancelled(log: list[str], word: str) -> None:
    """Wait for ever, and log the cancellation."""
    try:
        await sleep(HOURS)
    except Cancelled:
        log.append(word)
        raise


# ---- tasks ----


def test_tasks_run_in_turn() -> None:
    """A task that waits lets the others run, in the order of their starts."""
    log: list[str] = []

    async def step(word: str) -> None:
        for _ in range(2):
            log.append(word)
            await checkpoint()

    async def main() -> None:
        async with create_task_group() as tasks:
            tasks.start_soon(step, "a")
            tasks.start_soon(step, "b")
        log.append("end")

    run(main)
    assert log == ["a", "b", "a", "b", "end"]


def test_error_of_the_first_task_leaves_run() -> None:
    """`run` raises the error of the first task as it is."""
    mine = ValueError("mine")

    async def main() -> None:
        await checkpoint()
        raise mine

    with pytest.raises(ValueError, match="mine") as caught:
        run(main)
    assert caught.value is mine


def test_error_of_a_task_cancels_the_others_and_leaves_the_group() -> None:
    """The error also cancels the body of the group."""
    log: list[str] = []

    async def fail() -> None:
        raise ValueError("mine")

    async def main() -> None:
        async with create_task_group() as tasks:
            tasks.start_soon(wait_cancelled, log, "task")
            tasks.start_soon(fail)
            await wait_cancelled(log, "body")

    with pytest.raises(ValueError, match="mine"):
        run(main)
    assert sorted(log) == ["body", "task"]


def test_error_of_the_body_cancels_the_tasks() -> None:
    """The error leaves the group when the tasks have ended."""
    log: list[str] = []

    async def main() -> None:
        async with create_task_group() as tasks:
            tasks.start_soon(wait_cancelled, log, "task")
            await checkpoint()
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        run(main)
    assert log == ["task"]


def test_task_may_start_tasks_while_its_group_is_left() -> None:
    """The group waits for the new tasks, too."""
    log: list[int] = []

    async def main() -> None:
        async def next_of(number: int) -> None:
            await checkpoint()
            log.append(number)
            if number < 3:
                tasks.start_soon(next_of, number + 1)

        async with create_task_group() as tasks:
            tasks.start_soon(next_of, 1)

    run(main)
    assert log == [1, 2, 3]


# ---- cancellation ----


def test_cancelled_scope_is_left_quietly() -> None:
    """A cancellation ends the block of its scope, and no code outside."""
    log: list[str] = []

    async def main() -> None:
        with CancelScope() as scope:
            scope.cancel()
            log.append("still here")
            await wait_cancelled(log, "cancelled")
        assert scope.cancelled_caught
        await checkpoint()
        log.append("after")

    run(main)
    assert log == ["still here", "cancelled", "after"]


def test_cancellation_is_a_state() -> None:
    """Each wait inside a cancelled scope raises again."""
    caught = 0

    async def main() -> None:
        nonlocal caught
        with CancelScope() as scope:
            scope.cancel()
            for wait in (checkpoint, checkpoint, Event().wait, lambda: sleep(HOURS)):
                try:
                    await wait()
                except Cancelled:
                    caught += 1

    run(main)
    assert caught == 4


def test_outer_scope_wins() -> None:
    """If both are cancelled, the inner scope passes the cancellation on."""

    async def main() -> None:
        with CancelScope() as outer:
            with CancelScope() as inner:
                inner.cancel()
                outer.cancel()
                await checkpoint()
            raise AssertionError("not reached")
        assert outer.cancelled_caught
        assert not inner.cancelled_caught

    run(main)


def test_shield_keeps_a_cancellation_out() -> None:
    """A shield works until it is left; its own cancellation and deadline end its block."""
    log: list[str] = []

    async def main() -> None:
        async with create_task_group() as tasks:
            tasks.cancel_scope.cancel()
            with CancelScope(shield=True):
                await sleep(0.001)
                log.append("shielded")
            with move_on_after(0.001, shield=True) as scope:
                await sleep(HOURS)
            assert scope.cancelled_caught
            await wait_cancelled(log, "cancelled")

    run(main)
    assert log == ["shielded", "cancelled"]


def test_task_inside_a_shield_is_not_cancelled() -> None:
    """A cancellation reaches the tasks of groups inside, but stops at a shield."""
    log: list[str] = []

    async def main() -> None:
        with CancelScope() as outer:
            async with create_task_group() as tasks:
                tasks.start_soon(wait_cancelled, log, "open")
                with CancelScope(shield=True) as shield:
                    async with create_task_group() as shielded:
                        shielded.start_soon(wait_cancelled, log, "shielded")
                        await checkpoint()
                        outer.cancel()
                        for _ in range(3):
                            await checkpoint()
                        assert log == ["open"]
                        shield.cancel()

    run(main)
    assert log == ["open", "shielded"]


def test_deadline_cancels() -> None:
    """A deadline cancels after its time; a scope that is left in time is not cancelled."""

    async def main() -> None:
        began = current_time()
        with move_on_after(0.02) as scope:
            await sleep(HOURS)
        assert scope.cancelled_caught
        assert current_time() - began >= 0.02
        with move_on_after(0) as scope:
            await checkpoint()
        assert scope.cancelled_caught
        with move_on_after(HOURS) as scope:
            await checkpoint()
        assert not scope.cancel_called

    run(main)


def test_deadline_may_be_years_away(pipe: tuple[int, int]) -> None:
    """As that of a stop with such a grace; the system takes no timeout of a month."""

    async def main() -> None:
        with move_on_after(1e9) as scope:
            os.write(pipe[1], b"x")
            await wait_readable(pipe[0])
        assert not scope.cancel_called

    run(main)


def test_many_cancelled_timers_are_dropped() -> None:
    """A stop has a timer for its grace, which may be hours, so timers must not pile up."""

    async def main() -> None:
        for _ in range(1000):
            with move_on_after(HOURS):
                await checkpoint()
        assert len(loop._loop._timers) <= loop.CANCELLED_TIMERS + 1

    run(main)


def test_wake_before_the_cancellation_counts() -> None:
    """A task whose wait has ended goes on, and is cancelled at its next wait."""
    log: list[str] = []

    async def main() -> None:
        event = Event()

        async def wait() -> None:
            await event.wait()
            log.append("woken")
            await wait_cancelled(log, "cancelled")

        async with create_task_group() as tasks:
            tasks.start_soon(wait)
            await checkpoint()
            event.set()
            tasks.cancel_scope.cancel()

    run(main)
    assert log == ["woken", "cancelled"]


# ---- events and locks ----


def test_event_lets_all_pass() -> None:
    """An event lets tasks pass that wait for it already, and later ones."""
    passed: list[int] = []

    async def main() -> None:
        event = Event()

        async def wait(number: int) -> None:
            await event.wait()
            passed.append(number)

        async with create_task_group() as tasks:
            for number in range(3):
                tasks.start_soon(wait, number)
            await checkpoint()
            assert not event.is_set()
            event.set()
            tasks.start_soon(wait, 3)
        assert event.is_set()

    run(main)
    assert passed == [0, 1, 2, 3]


@pytest.mark.parametrize("fast", [False, True])
def test_lock_lets_one_task_pass_at_a_time(fast: bool) -> None:
    """Tasks pass in the order in which they came, without those that were cancelled."""
    log: list[str] = []

    async def main() -> None:
        lock = Lock(fast_acquire=fast)

        async def work(word: str, scope: CancelScope) -> None:
            with scope:
                async with lock:
                    log.append(word)
                    assert lock.locked()
                    await checkpoint()
                    log.append(word)

        scopes = [CancelScope() for _ in range(4)]
        async with create_task_group() as tasks, lock:
            for word, scope in zip("abcd", scopes, strict=True):
                tasks.start_soon(work, word, scope)
            await checkpoint()
            await checkpoint()
            scopes[1].cancel()
        assert not lock.locked()

    run(main)
    assert log == ["a", "a", "c", "c", "d", "d"]


# ---- files ----


def test_reader_and_writer_wait_for_the_same_file() -> None:
    """A file that is readable wakes the reader alone, and the same for the writer."""
    log: list[str] = []

    async def main() -> None:
        ours, theirs = (end.detach() for end in __import__("socket").socketpair())
        try:

            async def read() -> None:
                await wait_readable(ours)
                log.append("readable")

            async with create_task_group() as tasks:
                tasks.start_soon(read)
                await checkpoint()
                await wait_writable(ours)
                log.append("writable")
                os.write(theirs, b"x")
        finally:
            os.close(ours)
            os.close(theirs)

    run(main)
    assert log == ["writable", "readable"]


def test_closing_wakes_the_waiters(pipe: tuple[int, int]) -> None:
    """Tasks that wait for a file get ClosedResourceError."""

    async def wait() -> None:
        with pytest.raises(ClosedResourceError):
            await wait_readable(pipe[0])

    async def main() -> None:
        async with create_task_group() as tasks:
            tasks.start_soon(wait)
            await checkpoint()
            notify_closing(pipe[0])
            notify_closing(pipe[1])

    run(main)


def test_second_waiter_for_a_file_is_refused(pipe: tuple[int, int]) -> None:
    """Two tasks cannot wait for the same event of a file."""

    async def main() -> None:
        async with create_task_group() as tasks:
            tasks.start_soon(wait_readable, pipe[0])
            await checkpoint()
            with pytest.raises(RuntimeError, match="another task waits"):
                await wait_readable(pipe[0])
            tasks.cancel_scope.cancel()

    run(main)


def test_cancelled_wait_for_a_file_may_be_repeated(pipe: tuple[int, int]) -> None:
    """The loop forgets the file when the first wait is cancelled."""

    async def main() -> None:
        with move_on_after(0):
            await wait_readable(pipe[0])
        os.write(pipe[1], b"x")
        await wait_readable(pipe[0])

    run(main)


# ---- all together, at random ----


class Fuzz:
    """A random tree of tasks that share a lock, an event and a pipe, and are cancelled at random.

    Args:
        chance: draws everything.
        pipe: the pipe.
    """

    def __init__(self, chance: random.Random, pipe: tuple[int, int]) -> None:
        self.chance = chance
        self.pipe = pipe
        self.lock = Lock(fast_acquire=chance.random() < 0.5)
        self.event = Event()
        self.reading = self.holders = self.tasks = self.steps = 0
        self.scopes: list[CancelScope] = []

    async def task(self, depth: int) -> None:
        """Do some random things."""
        self.tasks += 1
        try:
            for _ in range(self.chance.randint(1, 4)):
                await self.step(depth)
        finally:
            self.tasks -= 1

    async def step(self, depth: int) -> None:
        """Do a random thing."""
        self.steps += 1
        match self.chance.randint(0, 9):
            case 0 | 1 if depth:
                await self.group(depth)
            case 2 if depth:
                await self.scoped(depth)
            case 3:
                await self.hold()
            case 4:
                with move_on_after(self.chance.uniform(0, 0.002)):
                    await self.event.wait()
            case 5:
                await self.read()
            case 6 if self.scopes:
                self.chance.choice(self.scopes).cancel()
            case 7:
                event, self.event = self.event, Event()
                event.set()
            case 8:
                await sleep(self.chance.uniform(0, 0.001))
            case _:
                await checkpoint()

    async def group(self, depth: int) -> None:
        """Start tasks, which may be cancelled with their group."""
        async with create_task_group() as tasks:
            self.scopes.append(tasks.cancel_scope)
            for _ in range(self.chance.randint(0, 3)):
                tasks.start_soon(self.task, depth - 1)
            await self.step(depth - 1)
        assert not tasks._running

    async def scoped(self, depth: int) -> None:
        """Do a thing in a scope, perhaps shielded, perhaps with a deadline."""
        shield = self.chance.random() < 0.3
        with move_on_after(self.chance.choice([0, 0.001, HOURS]), shield=shield) as scope:
            self.scopes.append(scope)
            await self.task(depth - 1)
        assert not scope.members

    async def hold(self) -> None:
        """Hold the lock, which no other task may hold."""
        async with self.lock:
            self.holders += 1
            assert self.holders == 1
            try:
                await checkpoint()
            finally:
                self.holders -= 1

    async def read(self) -> None:
        """Wait for the pipe, unless another task does."""
        if self.reading:
            os.write(self.pipe[1], b"x")
            return
        self.reading += 1
        try:
            with move_on_after(0.001):
                await wait_readable(self.pipe[0])
                os.read(self.pipe[0], 1)
        finally:
            self.reading -= 1


@pytest.mark.parametrize("seed", range(10))
def test_cancellations_at_random_leave_nothing(seed: int, pipe: tuple[int, int]) -> None:
    """No task, waiter, timer or lock is left, whichever scopes are cancelled at any time."""
    for number in range(30):
        fuzz = Fuzz(random.Random(f"{seed} {number}"), pipe)
        run(fuzz.task, 4)
        assert (fuzz.tasks, fuzz.holders, fuzz.reading) == (0, 0, 0)
        assert not fuzz.lock.locked()
        assert not fuzz.event._waiters
