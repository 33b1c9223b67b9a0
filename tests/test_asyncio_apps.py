"""Test currant in plain asyncio programs: native cancellation, TaskGroup, timeouts, shutdown."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import signal
from typing import TYPE_CHECKING

import pytest

from currant import Command, Exit, Line, RestartPolicy, Runner
from currant.testing import FakeLauncher, Script
from tests.waiting import FOREVER

if TYPE_CHECKING:
    from pathlib import Path


async def run_forever(runner: Runner, running: asyncio.Event) -> None:
    """Keep a runner open until the task is cancelled."""
    async with runner:
        await runner.start(FOREVER)
        running.set()
        await asyncio.Event().wait()


@pytest.mark.asyncio
async def test_cancelled_task_stops_its_commands_before_it_ends() -> None:
    """After Task.cancel, the task ends only when its commands have stopped gracefully."""
    runner, running = Runner(), asyncio.Event()
    task = asyncio.create_task(run_forever(runner, running))
    await running.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert runner.results["sleep"].exit == Exit(None, signal.SIGTERM, stopped=True)


@pytest.mark.asyncio
async def test_repeatedly_cancelled_task_still_waits_for_its_commands() -> None:
    """Repeated cancellation while the commands stop leaves no process behind."""
    launcher = FakeLauncher(default=Script(exit=None, ignores={signal.SIGTERM}))
    runner, running = Runner(launcher=launcher, grace=0.05), asyncio.Event()
    task = asyncio.create_task(run_forever(runner, running))
    await running.wait()
    while not task.done():
        task.cancel()
        await asyncio.sleep(0)
    assert task.cancelled()
    assert not launcher["sleep"].running
    assert runner.results["sleep"].exit == Exit(None, signal.SIGKILL, stopped=True, forced=True)


@pytest.mark.asyncio
async def test_asyncio_timeout_around_a_block_stops_its_commands() -> None:
    """asyncio.timeout raises TimeoutError after all commands have stopped."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(None) as limit, Runner([FOREVER]) as runner:
            # The timeout starts only now, so that it cannot pass while the block starts.
            limit.reschedule(asyncio.get_running_loop().time() + 0.05)
            await runner.join()
    assert runner.results["sleep"].status == "stopped"


@pytest.mark.asyncio
async def test_failing_task_group_stops_the_commands_of_its_tasks() -> None:
    """An error in a sibling task cancels the runner's task and stops the commands."""
    runner, running = Runner(), asyncio.Event()

    async def fail() -> None:
        await running.wait()
        raise LookupError("sibling")

    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(run_forever(runner, running))
            tasks.create_task(fail())
    assert caught.group_contains(LookupError)
    assert runner.results["sleep"].status == "stopped"


@pytest.mark.asyncio
async def test_reader_timeout_loses_no_message() -> None:
    """asyncio.timeout around the wait for a message loses no message."""
    numbers: list[int] = []
    async with Runner([["seq", "20000"]]) as runner:
        for _ in range(200):
            try:
                async with asyncio.timeout(0):
                    async for message in runner:
                        if isinstance(message, Line):
                            numbers.append(int(message.data))  # noqa: PERF401 - keeps them on a timeout
            except TimeoutError:
                pass
        numbers += [int(m.data) async for m in runner if isinstance(m, Line)]
    assert numbers == list(range(1, 20001))


@pytest.mark.asyncio
async def test_another_asyncio_task_may_join_kill_and_read() -> None:
    """The runner's methods work in tasks that anyio did not start."""
    async with Runner({"c": Command.shell("echo ready; exec sleep 9999")}) as runner:

        async def kill_when_ready() -> None:
            async for message in runner:
                if isinstance(message, Line):
                    runner.kill()

        results, _ = await asyncio.gather(runner.join(), kill_when_ready())
    assert results["c"].status == "stopped"


@pytest.mark.asyncio
async def test_exception_in_the_body_is_not_wrapped() -> None:
    """An exception in the body leaves the block unwrapped, although the runner uses task groups."""
    with pytest.raises(LookupError, match="mine"):
        async with Runner([FOREVER]) as runner:
            await runner.start(FOREVER)
            raise LookupError("mine")


@pytest.mark.asyncio
async def test_cancellation_at_a_random_time_leaves_no_process() -> None:
    """Native cancellation at any time leaves no process, file or task for the fixtures to find."""
    moments = random.Random(1)
    commands = {
        "quick": Command(["true"], restart=RestartPolicy("always", delay=0.001)),
        "chatty": Command(["yes"]),
        "deaf": Command.shell("trap '' TERM; while :; do sleep 9999; done", grace=0.001),
    }

    async def use(runner: Runner) -> None:
        async with runner:
            await runner.start("true")
            async for _ in runner:
                pass

    for _ in range(60):
        runner = Runner(commands)
        task = asyncio.create_task(use(runner))
        await asyncio.sleep(moments.uniform(0, 0.03))
        task.cancel()
        if moments.random() < 0.5:
            await asyncio.sleep(0)
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert {job.state for job in runner.jobs.values()} <= {"ended"}


def test_loop_shutdown_stops_the_commands_of_background_tasks(tmp_path: Path) -> None:
    """If asyncio.run cancels the remaining tasks after main returns, commands stop gracefully."""
    said = tmp_path / "said"
    script = f"trap 'echo bye >{said}; exit 0' TERM; echo ready; while :; do sleep 0.01; done"
    pids = []

    async def main() -> None:
        ready = asyncio.Event()

        async def serve() -> None:
            async with Runner({"c": Command.shell(script)}) as runner:
                async for message in runner:
                    if isinstance(message, Line):
                        pids.append(runner["c"].pid)
                        ready.set()

        task = asyncio.create_task(serve())
        await ready.wait()
        assert not task.done()

    asyncio.run(main())
    assert said.read_text() == "bye\n"
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0] or 0, 0)


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_block_that_the_end_of_the_loop_cancels_at_once_ends() -> None:
    """`asyncio.run` may cancel the tasks of a block before their first step."""

    async def block() -> None:
        async with Runner([FOREVER]):
            pass

    async def main() -> None:
        blocks.append(asyncio.create_task(block()))

    blocks: list[asyncio.Task[None]] = []
    asyncio.run(main())
    assert blocks.pop().cancelled()
    gc.collect()  # for the warnings about the tasks that never began
