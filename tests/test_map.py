"""`currant.map`: one command for each item, lazily, and nothing left when the loop is left."""

from __future__ import annotations

import asyncio
import gc
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import partial
from signal import SIGKILL, SIGTERM
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio import fail_after, get_running_tasks, to_thread, wait_all_tasks_blocked
from anyio.lowlevel import checkpoint

import currant
from currant import (
    Batch,
    Command,
    CommandError,
    CommandNotFoundError,
    CurrantError,
    HostUp,
    LaunchError,
    RestartPolicy,
    Started,
    TimeLimitError,
    UnknownOptionError,
    WrongLoopError,
)
from currant._batch import work
from currant.testing import FakeLauncher, Script
from tests.waiting import EXEC_FOREVER, HOURS, LIMIT

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
    from typing import Any, Self

    from anyio.abc import ObjectReceiveStream

    from currant import BatchMessage
    from currant._values.messages import HostMessage
    from tests.lifeline import Gate, Lifeline

pytestmark = [pytest.mark.anyio, pytest.mark.backends("asyncio", "trio")]


def held(lifeline: Lifeline) -> Command:
    """Return a command that holds the lifeline until it is stopped."""
    return Command.shell(f"{lifeline.hold('on')}; {EXEC_FOREVER}")


async def until_on(lifeline: Lifeline) -> None:
    """Wait until a command holds the lifeline."""
    await to_thread.run_sync(lifeline.wait_for, "on")


async def until_over(lifeline: Lifeline) -> None:
    """Wait until no process holds the lifeline."""
    await to_thread.run_sync(lifeline.wait_for_end)


# ---- items and results ----


async def test_each_item_comes_with_its_result() -> None:
    """The results carry the output."""
    results = {item: result async for item, result in currant.map("echo {}", ["a", "b c"])}
    assert {item: result.text for item, result in results.items()} == {"a": "a\n", "b c": "b c\n"}
    assert all(result.status == "succeeded" for result in results.values())


async def test_results_come_as_the_commands_end() -> None:
    """A slow command holds up no other."""
    launcher = FakeLauncher({"slow#1": Script(exit=None)})
    async with currant.map(
        Command(["x"], name="slow"), range(3), max_processes=2, launcher=launcher
    ) as results:
        assert [(await anext(results))[0] for _ in range(2)] == [1, 2]
        launcher["slow#1"].exit(0)
        assert (await anext(results))[0] == 0


async def test_results_in_order_wait_for_the_earlier_ones() -> None:
    """With `keep_order` the results come as the items did, although others ended before."""
    launcher = FakeLauncher({"x#1": Script(exit=None)})
    gone = anyio.Event()

    async def play() -> None:
        while len(launcher.launched) < 5 or launcher.launched[-1].running:
            await checkpoint()
        gone.set()
        launcher["x#1"].exit(0)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(play)
        found = [
            (item, gone.is_set())
            async for item, _ in currant.map(
                "x", range(5), max_processes=2, keep_order=True, launcher=launcher
            )
        ]
    assert found == [(number, True) for number in range(5)]


async def test_much_output_that_waits_for_an_earlier_result_holds_up_the_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With `keep_order` the results that wait have a budget of bytes, and not only of a number."""
    monkeypatch.setattr(work, "MAX_HELD", 1000)
    launcher = FakeLauncher({"x#1": Script(exit=None), "x#2": Script(stdout=b"x" * 2000)})
    async with currant.map(
        "x", range(6), max_processes=2, keep_order=True, launcher=launcher
    ) as results:
        await wait_all_tasks_blocked()
        assert len(launcher.launched) == 2
        launcher["x#1"].exit(0)
        found = [(item, len(result.stdout or b"")) async for item, result in results]
    assert found == [(0, 0), (1, 2000), (2, 0), (3, 0), (4, 0), (5, 0)]


async def test_much_input_of_what_waits_for_an_earlier_result_holds_up_the_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The bytes that a command has got stay in memory with its result."""
    monkeypatch.setattr(work, "MAX_HELD", 1000)
    launcher = FakeLauncher({"x#1": Script(exit=None)})
    async with currant.map(
        lambda item: Command(["x"], stdin=b"x" * 600),
        range(6),
        max_processes=2,
        keep_order=True,
        launcher=launcher,
    ) as results:
        await wait_all_tasks_blocked()
        assert len(launcher.launched) == 3
        launcher["x#1"].exit(0)
        assert [item async for item, _ in results] == [*range(6)]


async def test_an_async_iterable_is_taken_from_as_places_become_free() -> None:
    """No more items are taken than run and wait to be handed over."""
    taken: list[int] = []

    async def items() -> AsyncIterator[int]:
        for number in range(1000):
            taken.append(number)
            await checkpoint()
            yield number

    launcher = FakeLauncher()
    async with currant.map("x", items(), max_processes=2, launcher=launcher) as results:
        for _ in range(10):
            await anext(results)
            for _ in range(50):
                await checkpoint()
        assert 10 < len(taken) <= 10 + 2 * 3


async def test_a_plain_iterable_is_taken_from_lazily() -> None:
    """An endless one is possible, too."""
    taken: list[int] = []

    def items() -> Iterator[int]:
        while True:
            taken.append(len(taken))
            yield len(taken)

    async with currant.map("x", items(), max_processes=3, launcher=FakeLauncher()) as results:
        for _ in range(20):
            await anext(results)
        assert len(taken) <= 20 + 3 * 3


async def slots() -> int:
    """Wait until nothing happens, and return how many slots there are."""
    await wait_all_tasks_blocked()
    return sum("currant slot" in (task.name or "") for task in get_running_tasks())


async def test_there_are_no_more_slots_than_items_at_once() -> None:
    """A number that means "no limit" costs nothing, and an idle slot takes the next item."""
    send, receive = anyio.create_memory_object_stream[int](10)
    launcher = FakeLauncher({"x#10": Script(exit=None), "x#11": Script(exit=None)})
    async with send, currant.map("x", receive, max_processes=100, launcher=launcher) as results:
        for number in range(9):
            await send.send(number)
            await anext(results)
            assert await slots() <= 2
        await send.send(9)
        await send.send(10)
        assert await slots() == 3  # One waits for an item.


async def test_memory_does_not_grow_with_the_number_of_items() -> None:
    """Nothing of a command is left after its result was taken."""
    launcher = FakeLauncher(keep=10)
    at: dict[int, int] = {}
    count = 0
    async for _ in currant.map("x", range(3000), max_processes=4, launcher=launcher):
        count += 1
        if count in (1000, 3000):
            gc.collect()
            at[count] = len(gc.get_objects())
    assert at[3000] - at[1000] < 1500  # of 2000 commands


async def test_no_items_are_no_results() -> None:
    """An empty iterable ends at once."""
    results = currant.map("echo", list[str]())
    assert [each async for each in results] == []


async def test_the_command_may_come_from_a_function() -> None:
    """The function gets the item; the result has the name that it gives."""

    def command(item: int) -> Command:
        return Command(["echo", str(item)], name=f"job-{item}")

    found = {item: result async for item, result in currant.map(command, [1, 2])}
    assert {item: (r.command, r.text) for item, r in found.items()} == {
        1: ("job-1", "1\n"),
        2: ("job-2", "2\n"),
    }


async def test_two_commands_of_one_name_may_run_at_once() -> None:
    """The second gets a number, so that their processes are told apart."""
    launcher = FakeLauncher(default=Script(exit=None))
    async with currant.map(
        lambda _: Command(["x"], name="same"), range(2), max_processes=2, launcher=launcher
    ) as results:
        with fail_after(LIMIT):
            while len(launcher.launched) < 2:
                await checkpoint()
        results.kill()
        names = {result.command async for _, result in results}
    assert len(names) == 2
    assert "same" in names


async def test_options_of_the_command() -> None:
    """They hold for each command, also one from a function."""
    for template in ('sh -c "echo $V" {}', lambda _: ["sh", "-c", "echo $V"]):
        async for _, result in currant.map(template, [1], env={"V": "x"}):
            assert result.text == "x\n"


async def test_sinks_get_all_messages() -> None:
    """As those of a Runner."""
    messages: list[BatchMessage] = []

    async def sink(feed: ObjectReceiveStream[BatchMessage]) -> None:
        messages.extend([message async for message in feed])

    async for _ in currant.map("echo {}", ["a", "b"], sinks=[sink]):
        pass
    assert sorted(each.data for each in messages if isinstance(each, Batch)) == [b"a\n", b"b\n"]
    assert sum(isinstance(each, Started) for each in messages) == 2


# ---- failures ----


async def test_retries() -> None:
    """A command that fails runs again; its result is that of the last attempt."""
    launcher = FakeLauncher({"x#1": [Script(exit=1), Script(exit=0)], "x#2": Script(exit=1)})
    policy = RestartPolicy("on-failure", max_restarts=2, delay=0.0)
    found = [
        (item, result.status, result.attempts)
        async for item, result in currant.map(
            "x", range(2), retries=policy, launcher=launcher, max_processes=1
        )
    ]
    assert found == [(0, "succeeded", 2), (1, "failed", 3)]


async def test_kill_ends_the_wait_for_the_turn_of_a_retry() -> None:
    """Each attempt waits for its turn; a retry whose turn has not come does not start."""
    launcher = FakeLauncher({"x#1": Script(exit=1)})
    policy = RestartPolicy("on-failure", max_restarts=2, delay=0.0)
    made = currant.map("x", [0], retries=policy, launcher=launcher)
    turns, is_second = list[int](), anyio.Event()

    async def take_turn() -> None:
        turns.append(1)
        if len(turns) == 2:
            is_second.set()
            await anyio.sleep(HOURS)

    made._work._settings = made._work._settings._replace(take_turn=take_turn)
    with fail_after(LIMIT):
        async with made:
            await is_second.wait()
            made.kill()
            assert [result.attempts async for _, result in made] == [1]


async def test_the_number_of_retries_counts_long_attempts_too() -> None:
    """Other than a server that stayed up for long, a job does not get more retries for that."""
    made = currant.map("x", list[str](), retries=3)
    policy = made._work._settings.policies.restart
    assert (policy.max_restarts, policy.reset_after) == (3, float("inf"))


async def test_halt_soon_lets_the_running_commands_end() -> None:
    """After the first failure no more commands start."""
    launcher = FakeLauncher({"x#2": Script(exit=1), "x#1": Script(exit=None)})
    async with currant.map(
        "x", range(100), halt="soon", max_processes=2, launcher=launcher
    ) as results:
        assert (await anext(results))[1].status == "failed"
        launcher["x#1"].exit(0)
        assert [(item, result.status) async for item, result in results] == [(0, "succeeded")]


async def test_halt_now_stops_the_running_commands() -> None:
    """Their results come, too: they have been stopped, and have not failed."""
    launcher = FakeLauncher({"x#1": Script(exit=None), "x#2": Script(exit=1)})
    found = {
        item: result.status
        async for item, result in currant.map(
            "x", range(100), halt="now", max_processes=2, launcher=launcher
        )
    }
    assert found[0] == "stopped"
    assert found[1] == "failed"
    assert SIGTERM in launcher["x#1"].signals


async def test_halt_after_a_share_of_failures() -> None:
    """A share counts from the third failure on."""
    launcher = FakeLauncher(default=Script(exit=1))
    found = [
        each
        async for each in currant.map(
            "x", range(100), halt="soon", halt_after=0.5, max_processes=1, launcher=launcher
        )
    ]
    assert len(found) == 3


async def test_an_attempt_that_takes_too_long_has_failed() -> None:
    """The time limit is for each attempt."""
    async for _, result in currant.map("sleep 999{}", [9], timeout=0.05):
        assert isinstance(result.error, TimeLimitError)


async def test_a_missing_program_of_a_template_is_an_error_before_the_start() -> None:
    """Nothing was started."""
    with pytest.raises(CommandNotFoundError, match="there is no program 'no-such-program'"):
        async for _ in currant.map("no-such-program {}", range(3)):
            pytest.fail("a result without a program")


async def test_a_missing_program_of_one_item_is_its_failure() -> None:
    """The others go on."""
    found = {
        item: result
        async for item, result in currant.map(lambda each: [each], ["true", "no-such-program"])
    }
    assert found["true"].status == "succeeded"
    assert isinstance(found["no-such-program"].error, LaunchError)


async def test_an_item_that_does_not_fit_is_a_failure() -> None:
    """Its result names the trouble, and its output is empty, as of a program that is missing."""
    items = [("a", "b"), ("c",)]
    found = {item: result async for item, result in currant.map("echo {2}", items)}
    assert found["a", "b"].text == "b\n"
    assert isinstance(found["c",].error, CommandError)
    assert (found["c",].status, found["c",].attempts) == ("failed", 0)
    assert (found["c",].text, found["c",].stderr_text) == ("", "")
    async for _, result in currant.map("echo {2}", items, capture=False):
        assert (result.stdout, result.stderr) == (None, None)


async def test_a_first_item_that_does_not_fit_is_an_error_before_the_start() -> None:
    """The template is probably wrong, so no item would fit."""
    launcher = FakeLauncher()
    with pytest.raises(CommandError, match=r"job 1 has no value for \{2\}"):
        async for _ in currant.map("echo {2}", [("c",), ("a", "b")], launcher=launcher):
            pytest.fail("a result without a value")
    assert not launcher.launched


@pytest.mark.parametrize("is_async", [False, True])
async def test_an_error_of_the_items_leaves_the_loop(is_async: bool, lifeline: Lifeline) -> None:
    """The commands are stopped first."""

    def broken() -> Iterator[int]:
        yield 1
        raise ZeroDivisionError

    async def broken_later() -> AsyncIterator[int]:
        yield 1
        await until_on(lifeline)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        async for _, result in currant.map(
            lambda _: held(lifeline), broken_later() if is_async else broken(), max_processes=2
        ):
            assert result.status == "stopped"
    await until_over(lifeline)


async def test_async_items_may_have_a_scope_around_their_yield() -> None:
    """One task makes all steps of the iterator, and closes it."""
    closed: list[bool] = []

    async def items() -> AsyncIterator[int]:
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(anyio.sleep_forever)
                with anyio.fail_after(HOURS):
                    for number in range(20):
                        await checkpoint()
                        yield number
                tasks.cancel_scope.cancel()
        finally:
            closed.append(True)

    launcher = FakeLauncher()
    results = currant.map("x", items(), max_processes=3, launcher=launcher)
    assert sorted([item async for item, _ in results]) == list(range(20))
    async with currant.map("x", items(), max_processes=3, launcher=launcher) as results:
        async for _ in results:
            break
    assert closed == [True] * 2


@pytest.mark.backends("asyncio")
async def test_a_cancellation_of_the_items_own_is_an_error() -> None:
    """Otherwise the loop would end as if there were no more items."""

    async def items() -> AsyncIterator[int]:
        yield 1
        other = asyncio.get_running_loop().create_task(asyncio.sleep(HOURS))
        other.cancel()
        await other

    with pytest.raises(CurrantError, match="a cancellation of their own"):
        async for _ in currant.map("x", items(), launcher=FakeLauncher()):
            pass


async def test_an_end_of_iteration_from_the_function_is_an_error() -> None:
    """It does not end the loop."""

    def command(item: int) -> list[str]:
        raise StopAsyncIteration

    with pytest.raises(RuntimeError, match="StopAsyncIteration"):
        async for _ in currant.map(command, range(3), launcher=FakeLauncher()):
            pass


async def test_nothing_runs_after_a_close() -> None:
    """Also if that came before the first step."""
    launcher = FakeLauncher()
    results = currant.map("x", range(3), launcher=launcher)
    await results.aclose()
    assert [each async for each in results] == []
    assert launcher.launched == []


async def test_a_block_is_for_one_use() -> None:
    """A second entry raises an error that says what to do, inside of the block and after it."""
    results = currant.map("x", range(1), launcher=FakeLauncher())
    async with results:
        with pytest.raises(RuntimeError, match="for one use; call map again"):
            async with results:
                pytest.fail("entered again")
        assert [item async for item, _ in results] == [0]
    with pytest.raises(RuntimeError, match="for one use; call map again"):
        async with results:
            pytest.fail("entered again")


async def test_context_variables_are_those_of_the_first_step() -> None:
    """A function of the caller sees them, on each event loop."""
    variable: ContextVar[str] = ContextVar("variable")
    variable.set("mine")
    seen: list[str] = []

    def command(item: int) -> list[str]:
        seen.append(variable.get("unset"))
        return ["x"]

    async for _ in currant.map(command, range(1), launcher=FakeLauncher()):
        pass
    assert seen == ["mine"]


async def test_an_error_of_the_function_leaves_the_loop() -> None:
    """It is the caller's own, and no failure of a command."""

    def command(item: int) -> list[str]:
        if item == 3:
            raise ZeroDivisionError
        return ["x"]

    with pytest.raises(ZeroDivisionError):
        async for _ in currant.map(command, range(10), launcher=FakeLauncher()):
            pass


async def test_an_error_of_a_sink_leaves_the_loop() -> None:
    """It is not wrapped in a group."""

    async def broken(feed: ObjectReceiveStream[BatchMessage]) -> None:
        await feed.receive()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        async for _ in currant.map("x", range(10), launcher=FakeLauncher(), sinks=[broken]):
            pass


# ---- leaving ----


async def test_cancellation_stops_everything_first(lifeline: Lifeline) -> None:
    """The cancellation goes on when the processes are gone."""
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:

            async def cancel() -> None:
                await until_on(lifeline)
                scope.cancel()

            tasks.start_soon(cancel)
            async for _ in currant.map(lambda _: held(lifeline), [1]):
                pytest.fail("a command that runs for ever has ended")
    assert scope.cancelled_caught
    lifeline.ended()


async def test_the_end_of_the_block_stops_everything_first(lifeline: Lifeline) -> None:
    """After a `break`, too."""
    async with currant.map(
        lambda item: ["true"] if item else held(lifeline), range(2), max_processes=2
    ) as results:
        await until_on(lifeline)
        async for _ in results:
            break
    lifeline.ended()


async def test_a_loop_that_is_left_stops_everything_soon(lifeline: Lifeline) -> None:
    """Without a block, nobody waits for that."""
    results = currant.map(
        lambda item: ["true"] if item else held(lifeline), range(2), max_processes=2
    )
    over = results._work.over
    async for _ in results:
        await until_on(lifeline)
        break
    del results
    gc.collect()
    with fail_after(LIMIT):
        await over.wait()
    lifeline.ended()


async def test_an_error_of_the_block_goes_on(lifeline: Lifeline) -> None:
    """The commands are stopped before."""
    with pytest.raises(ZeroDivisionError):
        async with currant.map(lambda _: held(lifeline), [1]) as results:
            await until_on(lifeline)
            assert "1 running" in repr(results)
            raise ZeroDivisionError
    lifeline.ended()


async def test_kill_ends_the_iteration_with_the_stopped_commands() -> None:
    """A second kill does not wait for the grace."""
    launcher = FakeLauncher(default=Script(exit=None, ignores={SIGTERM}))
    async with currant.map(
        "x", range(100), max_processes=2, launcher=launcher, grace=HOURS
    ) as results:
        with fail_after(LIMIT):
            while len(launcher.launched) < 2:
                await checkpoint()
            results.kill()
            while not all(SIGTERM in process.signals for process in launcher.launched):
                await checkpoint()
            results.kill()
            assert [result.status async for _, result in results] == ["stopped"] * 2
    assert all(SIGKILL in process.signals for process in launcher.launched)


async def test_a_kill_while_the_launcher_is_entered() -> None:
    """An entry that takes long is cut short, and nothing starts."""

    class Slow(FakeLauncher):
        @asynccontextmanager
        async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
            await anyio.sleep(HOURS)
            yield self

    results = currant.map("x", range(3), launcher=Slow())
    with fail_after(LIMIT), anyio.move_on_after(0.01) as scope:
        await anext(results)
    assert scope.cancelled_caught
    assert "0 succeeded" in repr(results)


async def test_a_signal_to_all() -> None:
    """It reaches the commands that run."""
    launcher = FakeLauncher(default=Script(exit=None))
    async with currant.map("x", range(3), max_processes=2, launcher=launcher) as results:
        with fail_after(LIMIT):
            while len(launcher.launched) < 2:
                await checkpoint()
        assert await results.send_signal("HUP") == 2


async def test_several_tasks_may_share_the_results() -> None:
    """Each result goes to one of them."""
    found: list[int] = []

    async def take(results: currant.Map[int]) -> None:
        async for item, _ in results:
            found.append(item)
            await checkpoint()

    results = currant.map("x", range(50), launcher=FakeLauncher())
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(take, results)
    assert sorted(found) == list(range(50))


async def test_what_escapes_a_command_is_ended_while_others_go_on(
    lifeline: Lifeline, gate: Gate
) -> None:
    """A process that leaves its group does not live until the end of a long map."""
    script = f"{lifeline.hold('on')}; {EXEC_FOREVER}"
    escape = f'setsid sh -c "$1" </dev/null >/dev/null 2>&1 & {gate.wait}'

    async def items() -> AsyncIterator[list[str]]:
        yield ["sh", "-c", escape, "sh", script]
        await until_on(lifeline)
        gate.open()
        await until_over(lifeline)

    async for _, result in currant.map(lambda words: words, items(), max_processes=2):
        assert result.status == "succeeded"


class GrowingLauncher(FakeLauncher):
    """A launcher with one place, and two more after `comes`."""

    def __init__(self) -> None:
        super().__init__(default=Script(exit=None))
        self.places = 1
        self.comes = anyio.Event()

    async def watch(self, tell: Callable[[HostMessage], Awaitable[None]]) -> None:
        """Tell of a host that is up late."""
        await self.comes.wait()
        self.places = 3
        await tell(HostUp("late", 0.0))


@pytest.mark.parametrize(("wanted", "most"), [(None, 3), (2, 2)])
async def test_host_that_is_up_later_gets_commands(wanted: int | None, most: int) -> None:
    """Its places count from then on, although all commands that run go on."""
    launcher = GrowingLauncher()
    async with currant.map("x", range(9), max_processes=wanted, launcher=launcher):
        await wait_all_tasks_blocked()
        assert len(launcher.launched) == (wanted or 1)
        launcher.comes.set()
        await wait_all_tasks_blocked()
        assert len(launcher.launched) == most


# ---- wrong use ----


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_processes": 0}, "max_processes"),
        ({"retries": -1}, "retries"),
        ({"halt": "later"}, "halt"),
        ({"halt": "now", "halt_after": 0}, "halt_after"),
        ({"halt": "now", "halt_after": 1.5}, "halt_after"),
        ({"grace": None}, "grace"),
        ({"sinks": [1]}, "sink"),
        ({"keep_order": "yes"}, "keep_order"),
        ({"launcher": 5}, "launcher must be a Launcher or None, not 5"),
    ],
)
async def test_a_wrong_argument_is_an_error_of_the_call(
    arguments: dict[str, Any], message: str
) -> None:
    """Nothing is started."""
    with pytest.raises(CommandError, match=message):
        currant.map("echo", [1], **arguments)


@pytest.mark.parametrize("items", ["a text", b"bytes", 3])
async def test_items_that_are_none(items: object) -> None:
    """A text would be an item for each character."""
    with pytest.raises(CommandError, match="items must be"):
        currant.map("echo", items)  # type: ignore[arg-type]


async def test_async_function_as_a_template_is_an_error_of_the_call() -> None:
    """Each of its items would fail, with a coroutine in the place of a command."""

    async def make(item: int) -> list[str]:
        return ["echo", str(item)]

    with pytest.raises(CommandError, match="must not be async"):
        currant.map(make, [1])  # type: ignore[arg-type]


async def test_an_unknown_option_is_named() -> None:
    """As for a Runner."""
    with pytest.raises(UnknownOptionError, match="max_procs"):
        currant.map("echo", [1], max_procs=3)  # type: ignore[call-arg]


async def test_another_event_loop() -> None:
    """The commands run in the loop in which the iteration has begun."""
    results = currant.map("x", range(3), launcher=FakeLauncher())
    await anext(results)

    async def take() -> None:
        await anext(results)

    for use in (take, results.aclose, partial(results.send_signal, "HUP")):
        with pytest.raises(WrongLoopError):
            await to_thread.run_sync(anyio.run, use)
    await results.aclose()


def test_synchronous_code_is_told_how_to_iterate() -> None:
    """Without an event loop the call is an error that names the loop and the way to run it."""
    with pytest.raises(WrongLoopError, match=r"currant\.map works.*'async for'.*anyio\.run\(main"):
        currant.map("echo {}", [1])


def test_the_end_of_the_event_loop_ends_all(lifeline: Lifeline) -> None:
    """A loop that was left in the last step of the program leaves nothing behind."""

    async def main() -> None:
        kept.append(currant.map(lambda _: held(lifeline), [1]))
        kept[0]._begin()
        await until_on(lifeline)

    for backend in ("asyncio", "trio"):
        kept: list[currant.Map[int]] = []
        anyio.run(main, backend=backend)
        lifeline.ended()
