"""Restarts: when, how often, after how long, and that a stop beats them."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio.lowlevel import checkpoint

from currant import (
    PIPE,
    Batch,
    Command,
    Exited,
    Failed,
    JobEndedError,
    Line,
    Ready,
    Restarting,
    RestartPolicy,
    Runner,
    Started,
    StdinClosedError,
    ready,
)
from currant.testing import FakeLauncher, Script
from tests.reading import first_line, messages_of
from tests.waiting import LIMIT

if TYPE_CHECKING:
    from currant._values.restart import RestartWhen

pytestmark = pytest.mark.anyio

AT_ONCE = RestartPolicy("on-failure", delay=0)
NEVER_AGAIN = RestartPolicy("on-failure", delay=3600, max_delay=3600)


@pytest.mark.parametrize(
    ("when", "exits", "attempts"),
    [("never", [1], 1), ("on-failure", [1, 1, 0], 3), ("always", [0, 1, 0], 4)],
)
async def test_the_policy_decides_after_which_ends_a_command_starts_again(
    when: RestartWhen, exits: list[int], attempts: int
) -> None:
    """never, on-failure and always, until a kill or the end that the policy accepts."""
    launcher = FakeLauncher({"c": [*(Script(exit=code) for code in exits), Script(exit=None)]})
    async with Runner(["c"], restart=RestartPolicy(when, delay=0), launcher=launcher) as runner:
        await anyio.wait_all_tasks_blocked()
        while runner["c"].attempts < attempts:
            await anyio.wait_all_tasks_blocked()
        assert runner["c"].restarts == attempts - 1
        runner.kill()
    assert runner.results["c"].attempts == attempts


async def test_a_restart_is_told_before_the_wait() -> None:
    """Per attempt: Started, output, Exited; between attempts Restarting with what is to come."""
    launcher = FakeLauncher({"c": [Script(stdout=b"one\n", exit=1), Script(stdout=b"two\n")]})
    async with Runner(["c"], restart=AT_ONCE, launcher=launcher) as runner:
        messages = await messages_of(runner)
    kinds = [type(message) for message in messages]
    assert kinds == [Started, Line, Exited, Restarting, Started, Line, Exited]
    restarting = messages[3]
    assert isinstance(restarting, Restarting)
    assert (restarting.attempt, restarting.delay) == (2, 0.0)


async def test_giving_up_is_the_failure_it_is() -> None:
    """After max_restarts the last failure stands."""
    async with Runner(
        ["false"], restart=RestartPolicy("on-failure", max_restarts=2, delay=0)
    ) as runner:
        pass
    assert runner.results["false"].status == "failed"
    assert runner.results["false"].attempts == 3


async def test_a_failed_launch_counts_and_waits_like_a_failed_exit() -> None:
    """A program that cannot start is no hot loop: it has attempts and a backoff."""
    launcher = FakeLauncher({"c": [Script(error="nope"), Script(error="nope"), Script()]})
    async with Runner(
        ["c"], restart=RestartPolicy("on-failure", delay=0.001, jitter=0), launcher=launcher
    ) as runner:
        messages = await messages_of(runner)
    kinds = [type(message) for message in messages]
    assert kinds == [Failed, Restarting, Failed, Restarting, Started, Exited]
    delays = [message.delay for message in messages if isinstance(message, Restarting)]
    assert delays == [0.001, 0.002]
    assert runner.results["c"].status == "succeeded"


async def test_a_commands_own_policy_comes_before_the_runners() -> None:
    """A policy that a Command has holds for it, the Runner's for all others."""
    launcher = FakeLauncher(default=Script(exit=1))
    async with Runner(
        [Command(["own"], restart="never"), "other"],
        restart=RestartPolicy("on-failure", max_restarts=1, delay=0),
        launcher=launcher,
    ) as runner:
        pass
    assert runner.results["own"].attempts == 1
    assert runner.results["other"].attempts == 2


async def test_a_kill_ends_the_wait_for_a_restart() -> None:
    """Stop beats restart: a command that waits ends at once, as stopped, with its last exit."""
    launcher = FakeLauncher({"c": Script(exit=1)})
    async with Runner(["c"], restart=NEVER_AGAIN, launcher=launcher) as runner:
        await anyio.wait_all_tasks_blocked()
        assert runner["c"].state == "restarting"
        runner["c"].kill()
        with anyio.fail_after(30):
            result = await runner["c"].wait()
    assert result.status == "stopped"
    assert result.exit is not None
    assert result.exit.code == 1
    assert len(launcher.launched) == 1


async def test_a_stopped_command_is_not_restarted() -> None:
    """A death by our signal is no failure to restart after, whatever the policy."""
    launcher = FakeLauncher({"c": Script(exit=None)})
    async with Runner(["c"], restart="always", launcher=launcher) as runner:
        await runner["c"].until_started()
        runner.kill()
    assert len(launcher.launched) == 1
    assert runner.results["c"].status == "stopped"


async def test_restart_replaces_the_process_and_returns_when_the_new_one_runs() -> None:
    """Job.restart stops the old group first; the new process has another pid."""
    async with Runner({"c": Command.shell("echo $$; exec sleep 9999")}) as runner:
        old = int((await first_line(runner, "c")).data)
        await runner["c"].restart()
        new = runner["c"].pid
        assert new not in (None, old)
        assert int((await first_line(runner, "c")).data) == new
        assert runner["c"].restarts == 1
        assert runner["c"].state == "running"
        runner.kill()
    assert runner.results["c"].attempts == 2
    assert runner.results["c"].status == "stopped"


async def test_restart_ends_the_wait_of_the_backoff() -> None:
    """Asked for by hand, a command that waits starts now."""
    launcher = FakeLauncher({"c": [Script(exit=1), Script(exit=None)]})
    async with Runner(["c"], restart=NEVER_AGAIN, launcher=launcher) as runner:
        await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(30):
            await runner["c"].restart()
        assert launcher["c"].running
        runner.kill()


async def test_a_kill_beats_a_restart_by_hand() -> None:
    """A kill while the old process is being replaced ends it; no new one is started."""
    launcher = FakeLauncher({"c": Script(exit=None, ignores={signal.SIGTERM})})
    async with Runner(["c"], launcher=launcher, grace=3600) as runner:
        await runner["c"].until_started()
        async with anyio.create_task_group() as tasks:

            async def restart() -> None:
                with pytest.raises(JobEndedError, match="'c'"):
                    await runner["c"].restart()

            tasks.start_soon(restart)
            await anyio.wait_all_tasks_blocked()
            runner["c"].kill()
            runner["c"].kill()
    assert len(launcher.launched) == 1
    assert runner.results["c"].status == "stopped"


async def test_the_wall_clock_has_no_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that jumps changes no wait and no duration."""
    jumps = iter(range(10**9, 0, -(10**6)))
    monkeypatch.setattr(time, "time", lambda: float(next(jumps)))
    launcher = FakeLauncher({"c": [Script(exit=1), Script()]})
    async with Runner(
        ["c"], restart=RestartPolicy("on-failure", delay=0.001), launcher=launcher
    ) as runner:
        with anyio.fail_after(30):
            await runner.join()
    assert 0 <= runner.results["c"].duration < 30


async def test_restart_asks_no_delay_of_a_command_that_waits_to_tell_of_it() -> None:
    """Also where the message before the wait has no room yet, the restart comes at once."""
    policy = RestartPolicy("always", delay=3600, max_delay=3600)
    scripts = [Script(stdout=b"x\n", exit=1), Script(exit=None)]
    async with Runner(
        restart=policy, launcher=FakeLauncher({"c": scripts}), buffer_size=3
    ) as runner:
        job = runner.start_soon("c")
        async with anyio.create_task_group() as tasks:
            await anyio.wait_all_tasks_blocked()  # Started, the output and Exited fill the channel
            tasks.start_soon(job.restart)
            await anyio.wait_all_tasks_blocked()
            with anyio.fail_after(30):
                while job.attempts < 2:
                    async for _ in runner:
                        break
                    await checkpoint()
        runner.kill()
    assert runner.results["c"].attempts == 2


TOO_MUCH = b"more than a channel holds\n" * 100_000


@pytest.mark.parametrize("by_hand", [True, False])
async def test_between_two_processes_everybody_waits_for_the_second(by_hand: bool) -> None:
    """What was asked of a command that is about to be started again is for the next process."""
    first = Script(stdout=TOO_MUCH, exit=None if by_hand else 1)
    launcher = FakeLauncher({"c": [first, Script(exit=None)]})
    command = Command(["c"], stdin=PIPE, restart="never" if by_hand else AT_ONCE)
    with anyio.fail_after(LIMIT):
        async with Runner([command], launcher=launcher, buffer_size=1) as runner:
            async with anyio.create_task_group() as tasks:
                reader = aiter(runner)
                while not isinstance(await anext(reader), Line):
                    pass
                if by_hand:
                    tasks.start_soon(runner["c"].restart)
                await anyio.wait_all_tasks_blocked()
                assert runner["c"].attempts == 1
                assert runner["c"].pid is None  # but its output is still to be read
                tasks.start_soon(runner["c"].send, b"hello")
                tasks.start_soon(runner["c"].ready)
                await anyio.wait_all_tasks_blocked()
                async for message in reader:
                    if isinstance(message, Started):
                        break
            assert launcher["c"].received == b"hello"
            assert runner["c"].attempts == 2
            runner.kill()


async def test_a_restart_of_what_has_not_been_started_is_its_start() -> None:
    """Where that fails, it was tried once."""
    launcher = FakeLauncher({"second": Script(error="no memory")}, Script(exit=None))

    async def end_first() -> None:
        await anyio.wait_all_tasks_blocked()
        runner["first"].kill()

    runner = Runner(["first", "second"], launcher=launcher, max_processes=1)
    with anyio.fail_after(LIMIT):
        async with runner, anyio.create_task_group() as tasks:
            tasks.start_soon(end_first)
            with pytest.raises(JobEndedError):
                await runner["second"].restart()
    assert runner.results["second"].attempts == 1
    assert runner.results["second"].status == "failed"


async def test_whether_a_second_process_is_to_come_may_show_in_the_last_lines() -> None:
    """Who sends waits until it is known."""
    launcher = FakeLauncher({"c": [Script(stdout=TOO_MUCH), Script(stdout=b"up\n", exit=None)]})
    command = Command(["c"], stdin=PIPE, restart=AT_ONCE, ready=ready.line("up"))
    with anyio.fail_after(LIMIT):
        async with Runner([command], launcher=launcher, buffer_size=1) as runner:
            async with anyio.create_task_group() as tasks:
                reader = aiter(runner)
                while not isinstance(await anext(reader), Line):
                    pass
                await anyio.wait_all_tasks_blocked()
                assert runner["c"].pid is None  # but its output is still to be read
                tasks.start_soon(runner["c"].send, b"hello")
                await anyio.wait_all_tasks_blocked()
                async for message in reader:
                    if isinstance(message, Ready):
                        break
            assert launcher["c"].received == b"hello"
            runner.kill()


async def test_nobody_waits_for_a_second_process_that_is_not_to_come() -> None:
    """Who sends is told at once, though output is still to be read: nothing of it is discarded."""
    launcher = FakeLauncher(default=Script(stdout=TOO_MUCH, exit=1))
    read = bytearray()
    with anyio.fail_after(LIMIT):
        async with Runner([Command(["c"], stdin=PIPE)], launcher=launcher) as runner:
            async for message in runner.batches():
                if isinstance(message, Batch):
                    read += message.data
                    with pytest.raises(StdinClosedError):
                        await runner["c"].send(b"hello")
    assert read == TOO_MUCH
