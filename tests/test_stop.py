"""The kill path: ask, wait, force, reap, to the second; on a clock that only jumps.

The groups are made up, and time passes when nobody has anything else to do.  So each test says at
which second what was done, and takes none.
"""

from __future__ import annotations

from signal import SIGCONT, SIGKILL, SIGTERM, SIGUSR1
from typing import TYPE_CHECKING

import anyio
import pytest

from currant import CannotStopError, Command, Exit
from currant._process.stop import end_group
from currant._values.shutdown_limits import ShutdownLimits
from currant.testing import FakeLauncher, Script

trio_testing = pytest.importorskip("trio.testing")

if TYPE_CHECKING:
    from currant._process.stop import Stoppable

pytestmark = pytest.mark.anyio

REAP_LIMIT = ShutdownLimits().reap


@pytest.fixture(params=["trio"])
def anyio_backend() -> object:
    """An event loop whose clock jumps to the next thing to do; a new one for each test."""
    return "trio", {
        "clock": trio_testing.MockClock(autojump_threshold=0),
        "restrict_keyboard_interrupt_to_checkpoints": True,
    }


class Group:
    """A group that ends so many seconds after it is asked or forced, and notes what is done to it.

    Args:
        obeys_after: seconds from the request to its end; None: it does not care.
        dies_after: seconds from being forced to its end; None: it outlives that.
    """

    def __init__(self, *, obeys_after: float | None = None, dies_after: float | None = 0) -> None:
        self.log: list[tuple[float, str]] = []
        self._obeys_after = obeys_after
        self._dies_after = dies_after
        self._began = anyio.current_time()
        self._end = float("inf")
        self._change = anyio.Event()

    @property
    def forced(self) -> list[float]:
        """When it was forced."""
        return [time for time, what in self.log if what == "force"]

    def ask(self, signal: int) -> None:
        """Note the request."""
        self._note(f"ask {signal}", self._obeys_after)

    def force(self) -> None:
        """Note the force."""
        self._note("force", self._dies_after)

    async def gone(self) -> None:
        """Wait until the end that is due, which may come nearer."""
        while anyio.current_time() < self._end:
            with anyio.CancelScope(deadline=self._end):
                await self._change.wait()

    def _note(self, what: str, ends_after: float | None) -> None:
        self.log.append((elapsed(self._began), what))
        if ends_after is not None:
            self._end = min(self._end, anyio.current_time() + ends_after)
            self._change.set()
            self._change = anyio.Event()


def elapsed(began: float) -> float:
    """Return the seconds since then, without the noise of adding floats."""
    return round(anyio.current_time() - began, 6)


async def timed(group: Stoppable, grace: float, after: float = 0) -> tuple[bool, float]:
    """End `group` in `after` seconds; return the outcome, and when it was known."""
    began = anyio.current_time()
    await anyio.sleep(after)
    return await end_group(group, SIGTERM, grace, REAP_LIMIT), elapsed(began)


async def test_a_group_that_obeys_is_asked_and_never_forced() -> None:
    """A group that ends within its grace is waited for exactly as long as it takes."""
    group = Group(obeys_after=3)
    assert await timed(group, grace=5) == (True, 3)
    assert group.log == [(0, f"ask {SIGTERM}")]


async def test_a_group_is_asked_with_the_signal_given() -> None:
    """Which signal asks is the caller's choice."""
    group = Group(obeys_after=0)
    assert await end_group(group, SIGUSR1, 5, REAP_LIMIT)
    assert group.log == [(0, f"ask {SIGUSR1}")]


@pytest.mark.parametrize("grace", [0, 0.5, 5, 3600])
async def test_a_group_that_does_not_obey_is_forced_when_its_grace_is_over(grace: float) -> None:
    """Force comes at the end of the grace, not before and not after, and once."""
    group = Group()
    assert await timed(group, grace) == (True, grace)
    assert group.log == [(0, f"ask {SIGTERM}"), (grace, "force")]


async def test_a_group_that_takes_long_to_die_is_waited_for() -> None:
    """After force, the group has a little time to be gone."""
    group = Group(dies_after=REAP_LIMIT / 2)
    assert await timed(group, grace=5) == (True, 5 + REAP_LIMIT / 2)


async def test_a_group_that_outlives_force_is_given_up() -> None:
    """What outlives SIGKILL is told as not gone after a limit, so that nothing waits for ever."""
    group = Group(dies_after=None)
    assert await timed(group, grace=5) == (False, 5 + REAP_LIMIT)
    assert group.log == [(0, f"ask {SIGTERM}"), (5, "force")]


async def test_a_group_that_was_given_up_can_be_ended_later() -> None:
    """Giving up is not for good: a later call asks and forces as the first one did."""
    group = Group(dies_after=REAP_LIMIT + 1)
    assert not await end_group(group, SIGTERM, 5, REAP_LIMIT)
    assert await end_group(group, SIGTERM, 5, REAP_LIMIT)
    assert group.forced == [5]


async def test_a_second_call_with_a_shorter_grace_hurries_the_first() -> None:
    """The grace that is over first counts, and both callers learn of the end then."""
    group = Group()
    outcomes = await _both(group, (100, 0), (1, 5))
    assert outcomes == [(True, 6), (True, 6)]
    assert group.forced == [6]


async def test_a_second_call_without_a_grace_forces_at_once() -> None:
    """Hurrying with no grace at all is SIGKILL now."""
    group = Group()
    assert await _both(group, (100, 0), (0, 5)) == [(True, 5), (True, 5)]
    assert group.forced == [5]


async def test_a_second_call_with_a_longer_grace_delays_nothing() -> None:
    """Nobody can give a group more time than somebody else is ready to give it."""
    group = Group()
    assert await _both(group, (10, 0), (100, 5)) == [(True, 10), (True, 10)]
    assert group.forced == [10]


async def test_every_caller_learns_that_a_group_cannot_be_ended() -> None:
    """Each caller gives up on its own, after its own grace and the limit."""
    group = Group(dies_after=None)
    outcomes = await _both(group, (10, 0), (1, 5))
    assert outcomes == [(False, 10 + REAP_LIMIT), (False, 6 + REAP_LIMIT)]


async def _both(group: Stoppable, *calls: tuple[float, float]) -> list[tuple[bool, float]]:
    """End `group` by several tasks, each with a grace of its own and after a while of its own."""
    outcomes: dict[int, tuple[bool, float]] = {}

    async def call(number: int, grace: float, after: float) -> None:
        outcomes[number] = await timed(group, grace, after)

    async with anyio.create_task_group() as tasks:
        for number, (grace, after) in enumerate(calls):
            tasks.start_soon(call, number, grace, after)
    return [outcomes[number] for number in range(len(calls))]


async def test_groups_that_are_ended_together_take_as_long_as_the_slowest() -> None:
    """A kill of many takes the longest grace, not the sum of all."""
    groups = [Group() for _ in range(100)]
    began = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        for grace, group in enumerate(groups):
            tasks.start_soon(end_group, group, SIGTERM, grace, REAP_LIMIT)
    assert elapsed(began) == 99
    assert [group.forced for group in groups] == [[grace] for grace in range(100)]


async def test_who_is_cancelled_has_asked_but_does_not_force() -> None:
    """A cancelled call leaves the group as it is, then and when its grace would be over."""
    group = Group()
    with anyio.move_on_after(5) as scope:
        await end_group(group, SIGTERM, 10, REAP_LIMIT)
    assert scope.cancelled_caught
    await anyio.sleep(100)
    assert group.log == [(0, f"ask {SIGTERM}")]


async def test_a_call_in_a_cancelled_scope_has_asked() -> None:
    """Asking comes before the first wait, so it is done however soon the cancellation comes."""
    group = Group()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await end_group(group, SIGTERM, 10, REAP_LIMIT)
    assert scope.cancelled_caught
    assert group.log == [(0, f"ask {SIGTERM}")]


async def test_one_call_that_is_cancelled_leaves_the_others_at_it() -> None:
    """A caller that gives up takes nothing from those that do not."""
    group = Group()
    outcomes: list[tuple[bool, float]] = []

    async def call() -> None:
        outcomes.append(await timed(group, 10))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        with anyio.move_on_after(5):
            await end_group(group, SIGTERM, 7, REAP_LIMIT)
    assert outcomes == [(True, 10)]
    assert group.forced == [10]


async def test_an_endless_grace_forces_never() -> None:
    """A group with no limit on its grace is waited for as long as it takes."""
    group = Group(obeys_after=1_000_000)
    assert await timed(group, float("inf")) == (True, 1_000_000)
    assert not group.forced


# ---- the same through a process ----


async def test_a_process_that_outlives_sigkill_is_an_error_that_names_it() -> None:
    """What cannot be stopped raises after its grace and the limit, with its name and number."""
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


async def test_a_process_that_is_stopped_by_many_is_asked_once() -> None:
    """Whoever comes second does not ask again; who has the least patience forces."""
    async with FakeLauncher({"deaf": Script(exit=None, ignores={SIGTERM})}) as launcher:
        process = await launcher.launch(Command(["program"], name="deaf"))
        began = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            for grace in (30, 10, 20):
                tasks.start_soon(process.stop, SIGTERM, grace)
        assert elapsed(began) == 10
        assert process.signals == [SIGTERM, SIGCONT, SIGKILL]
        assert await process.wait() == Exit(None, SIGKILL, stopped=True, forced=True)


async def test_a_process_that_ends_by_itself_while_it_is_waited_for_is_not_forced() -> None:
    """A process that takes its own time within the grace was stopped, with the code it chose."""
    script = Script(exit=4, after=3, ignores={SIGTERM})
    async with FakeLauncher({"slow": script}) as launcher:
        process = await launcher.launch(Command(["program"], name="slow"))
        began = anyio.current_time()
        assert await process.stop(SIGTERM, 5) == Exit(4, None, stopped=True)
        assert elapsed(began) == 3
        assert process.signals == [SIGTERM, SIGCONT]
