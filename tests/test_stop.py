"""The kill path: request, wait, kill, reap, to the second; on a clock that only jumps.

The groups are fakes, and time passes only when no task has anything to do.  So each test says at
which second each step happens, and takes no time itself.
"""

from __future__ import annotations

from signal import SIGCONT, SIGKILL, SIGTERM, SIGUSR1
from typing import TYPE_CHECKING

import anyio
import pytest

from currant import CannotStopError, Command, Exit
from currant._process.stop import Stopper
from currant._values.shutdown_limits import ShutdownLimits
from currant.testing import FakeLauncher, Script

trio_testing = pytest.importorskip("trio.testing")

if TYPE_CHECKING:
    from currant._process.stop import Stoppable

pytestmark = pytest.mark.anyio

REAP_LIMIT = ShutdownLimits().reap

RETURNED = Exit(None, SIGKILL)
"""The exit of a leader before a `Stopper` has annotated it."""


@pytest.fixture(params=["trio"])
def anyio_backend() -> object:
    """An event loop whose clock jumps to the next event; a new one for each test."""
    return "trio", {
        "clock": trio_testing.MockClock(autojump_threshold=0),
        "restrict_keyboard_interrupt_to_checkpoints": True,
    }


class Group:
    """A group that ends some seconds after a signal, and logs the signals it gets.

    Args:
        obeys_after: seconds from a stop signal to its end; None: it ignores the signal.
        dies_after: seconds from SIGKILL to its end; None: it outlives SIGKILL.
        leads: whether the leader is alive at first.

    Attributes:
        log: the time and number of each signal.
        can_be_found: whether signals reach it.
    """

    def __init__(
        self,
        *,
        obeys_after: float | None = None,
        dies_after: float | None = 0,
        leads: bool = True,
    ) -> None:
        self.log: list[tuple[float, int]] = []
        self.can_be_found = True
        self._obeys_after = obeys_after
        self._dies_after = dies_after
        self._leads = leads
        self._began = anyio.current_time()
        self._end = self._leader_end = float("inf")
        self._change = anyio.Event()

    @property
    def kills(self) -> list[float]:
        """The times of its SIGKILLs."""
        return [time for time, signal in self.log if signal == SIGKILL]

    def leader_is_alive(self) -> bool:
        """Return what the test chose."""
        return self._leads

    def send(self, *signals: int) -> bool:
        """Log the signals, and obey them."""
        for signal in signals:
            self.log.append((elapsed(self._began), signal))
            if signal == SIGKILL:
                self._end_in(self._dies_after)
            elif signal != SIGCONT:
                self._end_in(self._obeys_after)
        return self.can_be_found

    def send_to_leader(self, signal: int) -> bool:
        """Log the signal, which the leader alone obeys."""
        self.log.append((elapsed(self._began), signal))
        self._leader_end = anyio.current_time() + (self._obeys_after or 0)
        return self.can_be_found

    async def wait_leader(self) -> None:
        """Wait until the leader has obeyed."""
        await anyio.sleep_until(self._leader_end)
        self._leads = False

    async def wait_gone(self) -> None:
        """Wait until its end, which may come nearer."""
        while anyio.current_time() < self._end:
            with anyio.CancelScope(deadline=self._end):
                await self._change.wait()

    def _end_in(self, seconds: float | None) -> None:
        if seconds is not None:
            self._end = min(self._end, anyio.current_time() + seconds)
            self._change.set()
            self._change = anyio.Event()


def requested(signal: int = SIGTERM) -> list[tuple[float, int]]:
    """Return the log of a request to stop, at second 0."""
    return [(0, signal), (0, SIGCONT)]


def elapsed(began: float) -> float:
    """Return the seconds since then, without the noise of adding floats."""
    return round(anyio.current_time() - began, 6)


def stopper_of(group: Stoppable) -> Stopper:
    """Return a stopper with the usual limit."""
    return Stopper(group, REAP_LIMIT)


async def timed(stopper: Stopper, grace: float, after: float = 0) -> tuple[bool, float]:
    """End the group in `after` seconds; return the outcome and its time."""
    began = anyio.current_time()
    await anyio.sleep(after)
    return await stopper.end(SIGTERM, grace), elapsed(began)


async def test_a_group_that_obeys_is_not_killed() -> None:
    """The stopper waits exactly as long as the group takes to end, if that is within its grace."""
    group = Group(obeys_after=3)
    assert await timed(stopper_of(group), grace=5) == (True, 3)
    assert group.log == requested()


async def test_the_caller_chooses_the_stop_signal() -> None:
    """The group gets the signal of the caller, then SIGCONT."""
    group = Group(obeys_after=0)
    assert await stopper_of(group).end(SIGUSR1, 5)
    assert group.log == requested(SIGUSR1)


@pytest.mark.parametrize("grace", [0, 0.5, 5, 3600])
async def test_a_group_that_does_not_obey_is_killed_after_its_grace(grace: float) -> None:
    """SIGKILL is sent once, exactly at the end of the grace."""
    group = Group()
    assert await timed(stopper_of(group), grace) == (True, grace)
    assert group.log == [*requested(), (grace, SIGKILL)]


async def test_a_group_that_dies_slowly_is_waited_for() -> None:
    """After SIGKILL, the group has a little time to be gone."""
    group = Group(dies_after=REAP_LIMIT / 2)
    assert await timed(stopper_of(group), grace=5) == (True, 5 + REAP_LIMIT / 2)


async def test_the_wait_for_a_group_that_outlives_sigkill_is_bounded() -> None:
    """A group that outlives SIGKILL is reported as not gone after a limit."""
    group = Group(dies_after=None)
    assert await timed(stopper_of(group), grace=5) == (False, 5 + REAP_LIMIT)
    assert group.log == [*requested(), (5, SIGKILL)]


async def test_a_group_that_outlived_sigkill_can_be_ended_later() -> None:
    """Giving up is not final: a later call waits again, and sends no second stop signal."""
    group = Group(dies_after=REAP_LIMIT + 1)
    stopper = stopper_of(group)
    assert not await stopper.end(SIGTERM, 5)
    assert await stopper.end(SIGTERM, 5)
    assert group.log == [*requested(), (5, SIGKILL)]


async def test_a_second_call_with_a_shorter_grace_hurries_the_first() -> None:
    """The grace that ends first counts, and both callers learn of the end at that time."""
    group = Group()
    outcomes = await _both(group, (100, 0), (1, 5))
    assert outcomes == [(True, 6), (True, 6)]
    assert group.kills == [6]


async def test_a_second_call_without_a_grace_kills_at_once() -> None:
    """A grace of zero means SIGKILL now."""
    group = Group()
    assert await _both(group, (100, 0), (0, 5)) == [(True, 5), (True, 5)]
    assert group.kills == [5]


async def test_a_second_call_with_a_longer_grace_delays_nothing() -> None:
    """No caller can give a group more time than another caller does."""
    group = Group()
    assert await _both(group, (10, 0), (100, 5)) == [(True, 10), (True, 10)]
    assert group.kills == [10]


async def test_each_caller_learns_that_a_group_cannot_be_ended() -> None:
    """Each caller gives up after its own grace and the limit."""
    group = Group(dies_after=None)
    outcomes = await _both(group, (10, 0), (1, 5))
    assert outcomes == [(False, 10 + REAP_LIMIT), (False, 6 + REAP_LIMIT)]


async def _both(group: Stoppable, *calls: tuple[float, float]) -> list[tuple[bool, float]]:
    """End `group` from several tasks, each with its own grace and after its own delay."""
    stopper = stopper_of(group)
    outcomes: dict[int, tuple[bool, float]] = {}

    async def call(number: int, grace: float, after: float) -> None:
        outcomes[number] = await timed(stopper, grace, after)

    async with anyio.create_task_group() as tasks:
        for number, (grace, after) in enumerate(calls):
            tasks.start_soon(call, number, grace, after)
    return [outcomes[number] for number in range(len(calls))]


async def test_groups_that_are_ended_together_take_as_long_as_the_slowest() -> None:
    """A kill of many groups takes the longest grace, not the sum of all graces."""
    groups = [Group() for _ in range(100)]
    began = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        for grace, group in enumerate(groups):
            tasks.start_soon(stopper_of(group).end, SIGTERM, grace)
    assert elapsed(began) == 99
    assert [group.kills for group in groups] == [[grace] for grace in range(100)]


async def test_a_cancelled_call_has_requested_the_stop_and_does_not_kill() -> None:
    """A cancelled call leaves the group as it is, then and at the end of its grace."""
    group = Group()
    with anyio.move_on_after(5) as scope:
        await stopper_of(group).end(SIGTERM, 10)
    assert scope.cancelled_caught
    await anyio.sleep(100)
    assert group.log == requested()


async def test_a_call_in_a_cancelled_scope_has_requested_the_stop() -> None:
    """The request comes before the first wait, so no cancellation is too early for it."""
    group = Group()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await stopper_of(group).end(SIGTERM, 10)
    assert scope.cancelled_caught
    assert group.log == requested()


async def test_a_cancelled_call_does_not_affect_other_calls() -> None:
    """The other call goes on until the end of its own grace."""
    group = Group()
    stopper = stopper_of(group)
    outcomes: list[tuple[bool, float]] = []

    async def call() -> None:
        outcomes.append(await timed(stopper, 10))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        with anyio.move_on_after(5):
            await stopper.end(SIGTERM, 7)
    assert outcomes == [(True, 10)]
    assert group.kills == [10]


async def test_an_endless_grace_never_ends_in_a_kill() -> None:
    """A group without a limit on its grace is waited for as long as it takes."""
    group = Group(obeys_after=1_000_000)
    assert await timed(stopper_of(group), float("inf")) == (True, 1_000_000)
    assert not group.kills


# ---- mixed: the leader is asked alone ----


@pytest.mark.parametrize(
    ("obeys_after", "killed_after", "forced"), [(3, 3, False), (8, 5, True), (0, 0, False)]
)
async def test_mixed_kills_the_rest_when_the_leader_has_exited_or_the_grace_is_over(
    obeys_after: float, killed_after: float, forced: bool
) -> None:
    """SIGKILL for the rest of the group does not count as force, unless the leader needed it."""
    group = Group(obeys_after=obeys_after)
    stopper = Stopper(group, REAP_LIMIT, "mixed")
    assert await stopper.end(SIGTERM, 5)
    assert group.log == [*requested(), (killed_after, SIGKILL)]
    assert stopper.annotate(RETURNED) == Exit(None, SIGKILL, stopped=True, forced=forced)


# ---- what is said of the leader's exit ----


async def test_an_exit_after_the_request_counts_as_stopped() -> None:
    """A leader that was alive at the request was stopped; without SIGKILL it was not forced."""
    stopper = stopper_of(Group(obeys_after=1))
    assert stopper.annotate(RETURNED) == RETURNED
    await stopper.end(SIGTERM, 5)
    assert stopper.annotate(RETURNED) == Exit(None, SIGKILL, stopped=True)


async def test_an_exit_after_sigkill_counts_as_forced() -> None:
    """A group that needed SIGKILL makes the exit forced."""
    stopper = stopper_of(Group())
    await stopper.end(SIGTERM, 5)
    assert stopper.annotate(RETURNED) == Exit(None, SIGKILL, stopped=True, forced=True)


async def test_an_exit_before_the_request_is_the_leaders_own() -> None:
    """If only the rest of its group was killed, the leader was neither stopped nor forced."""
    stopper = stopper_of(Group(leads=False))
    await stopper.end(SIGTERM, 5)
    assert stopper.annotate(RETURNED) == RETURNED


async def test_a_second_kill_that_reaches_no_process_leaves_the_exit_forced() -> None:
    """The system may have reaped the leader before the event loop learns of its exit."""
    group = Group(dies_after=1)
    stopper = stopper_of(group)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stopper.end, SIGTERM, 5)
        await anyio.sleep(5.5)
        group.can_be_found = False
        await stopper.end(SIGTERM, 0)
    assert group.kills == [5, 5.5]
    assert stopper.annotate(RETURNED) == Exit(None, SIGKILL, stopped=True, forced=True)


# ---- the same through a process ----


async def test_a_process_that_outlives_sigkill_is_an_error_that_names_it() -> None:
    """After the grace and the limit, `stop` raises an error with the command's name and pid."""
    script = Script(exit=None, ignores={SIGTERM, SIGKILL})
    async with FakeLauncher({"undead": script}) as launcher:
        process = await launcher.launch(Command(["program"], name="undead"))
        began = anyio.current_time()
        with pytest.raises(CannotStopError) as caught:
            await process.stop(SIGTERM, 5)
        assert elapsed(began) == 5 + REAP_LIMIT
        assert (caught.value.name, caught.value.pid) == ("undead", process.pid)
        assert caught.value.waited == REAP_LIMIT
        assert process.signals == [SIGTERM, SIGCONT, SIGKILL]


async def test_a_process_that_many_tasks_stop_gets_the_stop_signal_once() -> None:
    """Later calls send no second stop signal; the shortest grace ends in SIGKILL."""
    async with FakeLauncher({"deaf": Script(exit=None, ignores={SIGTERM})}) as launcher:
        process = await launcher.launch(Command(["program"], name="deaf"))
        began = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            for grace in (30, 10, 20):
                tasks.start_soon(process.stop, SIGTERM, grace)
        assert elapsed(began) == 10
        assert process.signals == [SIGTERM, SIGCONT, SIGKILL]
        assert await process.wait() == Exit(None, SIGKILL, stopped=True, forced=True)


async def test_a_process_that_exits_within_its_grace_is_not_killed() -> None:
    """A process that takes its time within the grace was stopped, with the exit code it chose."""
    script = Script(exit=4, after=3, ignores={SIGTERM})
    async with FakeLauncher({"slow": script}) as launcher:
        process = await launcher.launch(Command(["program"], name="slow"))
        began = anyio.current_time()
        assert await process.stop(SIGTERM, 5) == Exit(4, None, stopped=True)
        assert elapsed(began) == 3
        assert process.signals == [SIGTERM, SIGCONT]
