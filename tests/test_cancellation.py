"""Cancellation is a kill: at any moment, no process is left, and the cancellation propagates."""

from __future__ import annotations

import random
import signal
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio.lowlevel import checkpoint

from currant import Command, Exit, Line, RestartPolicy, Runner, open_process
from currant.testing import FakeLauncher, Script
from tests.waiting import FOREVER, LIMIT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from currant import Job

pytestmark = pytest.mark.anyio

DEAF = "trap '' TERM; echo ready; while :; do sleep 9999; done"


async def test_cancelling_an_outer_scope_stops_all_commands_and_propagates() -> None:
    """The commands are stopped with their grace, then the outer scope is left as cancelled."""
    with anyio.move_on_after(3600) as scope:
        async with Runner([FOREVER]) as runner:
            await runner.start(FOREVER)
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert {result.exit for result in runner.results.values()} == {
        Exit(None, signal.SIGTERM, stopped=True)
    }


async def test_cancelling_the_scope_of_the_runner_ends_the_block_normally() -> None:
    """runner.cancel_scope stops all commands as kill does; code after the block runs."""
    async with Runner([FOREVER]) as runner:
        await runner.start(FOREVER)
        runner.cancel_scope.cancel()
        await anyio.sleep_forever()
    assert {result.status for result in runner.results.values()} == {"stopped"}


async def test_another_task_may_cancel_a_runner_whose_body_has_ended() -> None:
    """While the block waits for the commands, runner.cancel_scope can still be cancelled."""
    async with anyio.create_task_group() as tasks:

        async def cancel() -> None:
            await anyio.wait_all_tasks_blocked()
            runner.cancel_scope.cancel()

        with anyio.fail_after(30):
            async with Runner([FOREVER]) as runner:
                tasks.start_soon(cancel)
    assert runner.results["sleep"].status == "stopped"


async def test_commands_are_stopped_while_the_body_is_shielded() -> None:
    """A shielded body does not delay the kill, as in any task group."""
    launcher = FakeLauncher({"c": Script(exit=None)})
    with anyio.CancelScope() as scope:
        async with Runner(["c"], launcher=launcher) as runner:
            with anyio.CancelScope(shield=True), anyio.fail_after(30):
                await runner["c"].until_started()
                scope.cancel()
                await runner["c"].wait()
            assert not launcher["c"].running
    assert scope.cancel_called


async def test_a_runner_entered_in_a_cancelled_scope_starts_no_command() -> None:
    """If the outer scope is already cancelled, no process is ever started."""
    launcher = FakeLauncher(default=Script(exit=None))
    runner = Runner(["a", "b"], launcher=launcher)
    with anyio.CancelScope() as scope:
        scope.cancel()
        async with runner:
            await checkpoint()
    assert launcher.launched == []
    assert runner.results.ok


async def test_the_grace_bounds_a_cancelled_block() -> None:
    """A command that ignores the signal is killed after its grace, inside the shield."""
    with anyio.fail_after(30), anyio.CancelScope() as scope:
        async with Runner({"deaf": Command.shell(DEAF)}, grace=0.05) as runner:
            async for message in runner:
                if isinstance(message, Line):
                    scope.cancel()
    assert runner.results["deaf"].exit == Exit(None, signal.SIGKILL, stopped=True, forced=True)


async def test_a_cancellation_while_the_block_waits_kills_the_remaining_commands() -> None:
    """With a deadline around a block that only waits, all commands are gone after the block."""
    with anyio.CancelScope() as scope:
        async with Runner([FOREVER]) as runner:
            # The deadline is set inside the block, because it must not end the entry.
            scope.deadline = anyio.current_time() + 0.05
    assert scope.cancelled_caught
    assert runner.results["sleep"].status == "stopped"


async def test_an_error_of_the_body_wins_over_a_cancellation_during_the_kill() -> None:
    """The body's exception leaves the block, even if its scope is cancelled during the kill."""
    launcher = FakeLauncher({"c": Script(exit=None, ignores={signal.SIGTERM})})
    with anyio.CancelScope() as scope, pytest.raises(KeyError, match="mine"):
        async with Runner(["c"], launcher=launcher, grace=0.05) as runner:
            await runner["c"].until_started()
            scope.cancel()
            raise KeyError("mine")


async def test_a_restart_in_a_cancelled_scope_is_cancelled() -> None:
    """The cancellation stops the command, and may do so before the body reaches the call."""
    with anyio.CancelScope() as scope:
        async with Runner({"c": FOREVER}) as runner:
            await runner["c"].until_started()
            scope.cancel()
            with anyio.CancelScope(shield=True):
                while runner["c"].state == "running":
                    await checkpoint()
            await runner["c"].restart()
    assert scope.cancelled_caught


@pytest.mark.parametrize(
    "call", [lambda job: job.send(b"x"), lambda job: job.ready()], ids=["send", "ready"]
)
async def test_a_call_in_a_cancelled_block_is_cancelled(
    call: Callable[[Job], Awaitable[None]],
) -> None:
    """It does not raise that the command has ended, which the cancellation has done."""
    with anyio.fail_after(LIMIT), anyio.CancelScope() as scope:
        async with open_process(FOREVER) as job:
            scope.cancel()
            with anyio.CancelScope(shield=True):
                assert (await job.wait()).status == "stopped"
            await call(job)
    assert scope.cancelled_caught


async def test_cancelling_a_wait_does_not_stop_a_command() -> None:
    """join, wait and start can be cancelled; the commands continue."""
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
    """An inner Runner ends before the body of the outer one continues."""
    async with Runner([FOREVER]) as outer:
        async with Runner([FOREVER]) as inner:
            await inner.start(FOREVER)
            inner.kill()
        assert inner.results.ok
        assert outer["sleep"].state in ("queued", "running")
        outer.kill()


@pytest.mark.parametrize("seed", range(4))
async def test_a_cancellation_at_a_random_moment_leaves_nothing(seed: int) -> None:
    """The moments are around entry, start, reading, restart, stop and exit.

    The fixtures of all tests find a process, an open file or a task that is left.
    """
    chance = random.Random(seed)
    commands = {
        "quick": Command(["true"], restart=RestartPolicy("always", delay=0.001)),
        "chatty": Command(["yes"]),
        "deaf": Command.shell("trap '' TERM; while :; do sleep 9999; done", grace=0.001),
        "plain": Command(["sleep", "9999"]),
    }
    for _ in range(30):
        runner = Runner(commands, buffer_size=1)
        with anyio.move_on_after(chance.uniform(0, 0.03)):
            async with runner:
                await start_read_and_kill(runner, chance)
        assert {job.state for job in runner.jobs.values()} <= {"ended"}


async def start_read_and_kill(runner: Runner, chance: random.Random) -> None:
    """Start one more command, read a random number of lines, and kill all or not."""
    await runner.start("true")
    for _ in range(chance.randrange(50)):
        await read_a_line(runner)
    if chance.random() < 0.5:
        runner.kill()


async def read_a_line(runner: Runner) -> None:
    """Subscribe to the messages, and unsubscribe after the first line."""
    async for message in runner:
        if isinstance(message, Line):
            return
