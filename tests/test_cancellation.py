"""Cancellation is a kill: whenever it comes, nothing is left and the cancellation goes on."""

from __future__ import annotations

import random
import signal

import anyio
import pytest
from anyio.lowlevel import checkpoint

from currant import Command, Exit, Line, RestartPolicy, Runner
from currant.testing import FakeLauncher, Script
from tests.waiting import FOREVER

pytestmark = pytest.mark.anyio

DEAF = "trap '' TERM; echo ready; while :; do sleep 9999; done"


async def test_a_cancelled_surrounding_scope_stops_all_and_the_cancellation_goes_on() -> None:
    """The commands are stopped gracefully within the scope, which is then left as cancelled."""
    with anyio.move_on_after(3600) as scope:
        async with Runner([FOREVER]) as runner:
            await runner.start(FOREVER)
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert {result.exit for result in runner.results.values()} == {
        Exit(None, signal.SIGTERM, stopped=True)
    }


async def test_cancelling_the_runners_own_scope_ends_the_block_normally() -> None:
    """runner.cancel_scope stops everything as kill does; code after the block goes on."""
    async with Runner([FOREVER]) as runner:
        await runner.start(FOREVER)
        runner.cancel_scope.cancel()
        await anyio.sleep_forever()
    assert {result.status for result in runner.results.values()} == {"stopped"}


async def test_another_task_may_cancel_a_runner_whose_body_has_ended() -> None:
    """While the block waits for its commands, its scope can still be cancelled."""
    async with anyio.create_task_group() as tasks:

        async def cancel() -> None:
            await anyio.wait_all_tasks_blocked()
            runner.cancel_scope.cancel()

        with anyio.fail_after(30):
            async with Runner([FOREVER]) as runner:
                tasks.start_soon(cancel)
    assert runner.results["sleep"].status == "stopped"


async def test_commands_are_stopped_while_the_body_is_shielded() -> None:
    """A body that shields itself does not delay the kill, as in any task group."""
    launcher = FakeLauncher({"c": Script(exit=None)})
    with anyio.CancelScope() as scope:
        async with Runner(["c"], launcher=launcher) as runner:
            with anyio.CancelScope(shield=True), anyio.fail_after(30):
                await runner["c"].until_started()
                scope.cancel()
                await runner["c"].wait()
            assert not launcher["c"].running
    assert scope.cancel_called


async def test_a_cancelled_scope_starts_nothing() -> None:
    """Entered in a scope that is cancelled already, no command is ever started."""
    launcher = FakeLauncher(default=Script(exit=None))
    runner = Runner(["a", "b"], launcher=launcher)
    with anyio.CancelScope() as scope:
        scope.cancel()
        async with runner:
            await checkpoint()
    assert launcher.launched == []
    assert runner.results.ok


async def test_the_grace_bounds_a_cancelled_block() -> None:
    """What ignores the signal is killed after its grace, inside the shield."""
    with anyio.fail_after(30), anyio.CancelScope() as scope:
        async with Runner({"deaf": Command.shell(DEAF)}, grace=0.05) as runner:
            async for message in runner:
                if isinstance(message, Line):
                    scope.cancel()
    assert runner.results["deaf"].exit == Exit(None, signal.SIGKILL, stopped=True, forced=True)


async def test_a_cancellation_during_the_exit_kills_what_is_left() -> None:
    """A deadline around a block that only waits: the commands are gone when it is left."""
    with anyio.CancelScope() as scope:
        async with Runner([FOREVER]) as runner:
            scope.deadline = anyio.current_time() + 0.05  # not on the way in
    assert scope.cancelled_caught
    assert runner.results["sleep"].status == "stopped"


async def test_the_bodys_error_wins_over_a_cancellation_during_the_kill() -> None:
    """A body that has raised leaves with its own exception, though its scope is cancelled then."""
    launcher = FakeLauncher({"c": Script(exit=None, ignores={signal.SIGTERM})})
    with anyio.CancelScope() as scope, pytest.raises(KeyError, match="mine"):
        async with Runner(["c"], launcher=launcher, grace=0.05) as runner:
            await runner["c"].until_started()
            scope.cancel()
            raise KeyError("mine")


async def test_cancelling_a_wait_leaves_the_commands_alone() -> None:
    """join, wait and start can be given up; what they waited for goes on."""
    launcher = FakeLauncher(default=Script(exit=None))
    async with Runner(["a"], launcher=launcher) as runner:
        for wait in (runner.join, runner["a"].wait):
            with anyio.move_on_after(0.01):
                await wait()
        with anyio.move_on_after(0):
            await runner.start("b")
        await anyio.wait_all_tasks_blocked()
        assert [runner["a"].state, runner["b"].state] == ["running", "running"]
        runner.kill()


async def test_runners_can_be_nested() -> None:
    """A Runner in the block of another is over before that one goes on."""
    async with Runner([FOREVER]) as outer:
        async with Runner([FOREVER]) as inner:
            await inner.start(FOREVER)
            inner.kill()
        assert inner.results.ok
        assert outer["sleep"].state in ("queued", "running")
        outer.kill()


@pytest.mark.parametrize("seed", range(4))
async def test_a_cancellation_at_any_moment_leaves_nothing(seed: int) -> None:
    """Random moments around entry, start, reading, restart, stop and exit: nothing remains.

    What remains (a process, an open file, a task) the fixtures of all tests find.
    """
    moments = random.Random(seed)
    commands = {
        "quick": Command(["true"], restart=RestartPolicy("always", delay=0.001)),
        "chatty": Command(["yes"]),
        "deaf": Command.shell("trap '' TERM; while :; do sleep 9999; done", grace=0.001),
        "plain": Command(["sleep", "9999"]),
    }
    for _ in range(30):
        runner = Runner(commands, buffer_size=1)
        with anyio.move_on_after(moments.uniform(0, 0.03)):
            async with runner:
                await runner.start("true")
                for _ in range(moments.randrange(50)):
                    async for message in runner:
                        if isinstance(message, Line):
                            break
                if moments.random() < 0.5:
                    runner.kill()
        assert {job.state for job in runner.jobs.values()} <= {"ended"}
