"""Restarts: conditions, limits and delays; a stop has priority over a restart."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Any

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
from currant._values.shutdown_limits import ShutdownLimits
from currant.testing import FakeLauncher, Script
from tests.reading import first_line, messages_of
from tests.waiting import LIMIT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from currant import Message
    from currant._values.restart import RestartWhen

pytestmark = [pytest.mark.anyio, pytest.mark.backends("asyncio", "trio")]

AT_ONCE = RestartPolicy("on-failure", delay=0)
NEVER_AGAIN = RestartPolicy("on-failure", delay=3600, max_delay=3600)


@pytest.mark.parametrize(
    ("when", "exits", "attempts"),
    [("never", [1], 1), ("on-failure", [1, 1, 0], 3), ("always", [0, 1, 0], 4)],
)
async def test_the_policy_decides_after_which_exits_a_command_restarts(
    when: RestartWhen, exits: list[int], attempts: int
) -> None:
    """A command restarts until a kill, or until an exit that its policy accepts."""
    launcher = FakeLauncher({"c": [*(Script(exit=code) for code in exits), Script(exit=None)]})
    async with Runner(["c"], restart=RestartPolicy(when, delay=0), launcher=launcher) as runner:
        await anyio.wait_all_tasks_blocked()
        while runner["c"].attempts < attempts:
            await anyio.wait_all_tasks_blocked()
        assert runner["c"].restarts == attempts - 1
        runner.kill()
    assert runner.results["c"].attempts == attempts


async def test_restarting_is_sent_before_the_delay() -> None:
    """Each attempt has Started, output and Exited; Restarting between has the next attempt."""
    launcher = FakeLauncher({"c": [Script(stdout=b"one\n", exit=1), Script(stdout=b"two\n")]})
    async with Runner(["c"], restart=AT_ONCE, launcher=launcher) as runner:
        messages = await messages_of(runner)
    kinds = [type(message) for message in messages]
    assert kinds == [Started, Line, Exited, Restarting, Started, Line, Exited]
    restarting = messages[3]
    assert isinstance(restarting, Restarting)
    assert (restarting.attempt, restarting.delay) == (2, 0.0)


async def test_the_last_failure_counts_after_max_restarts() -> None:
    """If the policy allows no further restart, the command has failed."""
    async with Runner(
        ["false"], restart=RestartPolicy("on-failure", max_restarts=2, delay=0)
    ) as runner:
        pass
    assert runner.results["false"].status == "failed"
    assert runner.results["false"].attempts == 3


async def test_a_failed_start_counts_and_backs_off_like_a_failed_exit() -> None:
    """A program that cannot start does not cause a busy loop."""
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


async def test_the_policy_of_a_command_overrides_that_of_the_runner() -> None:
    """The Runner's policy applies to commands without one."""
    launcher = FakeLauncher(default=Script(exit=1))
    async with Runner(
        [Command(["own"], restart="never"), "other"],
        restart=RestartPolicy("on-failure", max_restarts=1, delay=0),
        launcher=launcher,
    ) as runner:
        pass
    assert runner.results["own"].attempts == 1
    assert runner.results["other"].attempts == 2


async def test_a_kill_ends_the_delay_before_a_restart() -> None:
    """A command that is waiting ends as stopped at once, with its last exit."""
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
    """An exit after a stop is not a failure, whatever the policy."""
    launcher = FakeLauncher({"c": Script(exit=None)})
    async with Runner(["c"], restart="always", launcher=launcher) as runner:
        await runner["c"].until_started()
        runner.kill()
    assert len(launcher.launched) == 1
    assert runner.results["c"].status == "stopped"


async def test_restart_replaces_the_process_and_waits_for_the_new_one() -> None:
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


async def test_restart_ends_the_delay_of_the_backoff() -> None:
    """Job.restart starts a waiting command at once."""
    launcher = FakeLauncher({"c": [Script(exit=1), Script(exit=None)]})
    async with Runner(["c"], restart=NEVER_AGAIN, launcher=launcher) as runner:
        await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(30):
            await runner["c"].restart()
        assert launcher["c"].running
        runner.kill()


async def test_a_kill_has_priority_over_a_restart_by_hand() -> None:
    """If a kill comes while the old process is being replaced, no new process is started."""
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


async def test_restarts_do_not_depend_on_the_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wall clock that jumps changes no delay and no duration."""
    jumps = iter(range(10**9, 0, -(10**6)))
    monkeypatch.setattr(time, "time", lambda: float(next(jumps)))
    launcher = FakeLauncher({"c": [Script(exit=1), Script()]})
    async with Runner(
        ["c"], restart=RestartPolicy("on-failure", delay=0.001), launcher=launcher
    ) as runner:
        with anyio.fail_after(30):
            await runner.join()
    assert 0 <= runner.results["c"].duration < 30


async def test_restart_skips_the_delay_while_restarting_waits_for_room() -> None:
    """If the channel has no room yet for Restarting, Job.restart still skips the delay."""
    policy = RestartPolicy("always", delay=3600, max_delay=3600)
    scripts = [Script(stdout=b"x\n", exit=1), Script(exit=None)]
    async with Runner(
        restart=policy, launcher=FakeLauncher({"c": scripts}), buffer_size=3
    ) as runner:
        job = runner.start_soon("c")
        async with anyio.create_task_group() as tasks:
            await anyio.wait_all_tasks_blocked()  # Started, Line and Exited fill the channel.
            tasks.start_soon(job.restart)
            await anyio.wait_all_tasks_blocked()
            with anyio.fail_after(30):
                while job.attempts < 2:
                    await anext(aiter(runner))
                    await checkpoint()
        runner.kill()
    assert runner.results["c"].attempts == 2


TOO_MUCH = b"more than a channel holds\n" * 100_000


async def read_until(kind: type[object], reader: AsyncIterator[Message]) -> None:
    """Read until a message of the type `kind`."""
    while not isinstance(await anext(reader), kind):
        pass


@pytest.mark.parametrize("by_hand", [True, False])
async def test_requests_between_two_processes_apply_to_the_second(by_hand: bool) -> None:
    """send and ready wait for the next process while output of the first is unread."""
    first = Script(stdout=TOO_MUCH, exit=None if by_hand else 1)
    limits = ShutdownLimits(end_of_input=0)
    launcher = FakeLauncher({"c": [first, Script(exit=None)]}, _limits=limits)
    command = Command(["c"], stdin=PIPE, restart="never" if by_hand else AT_ONCE)
    with anyio.fail_after(LIMIT):
        async with Runner([command], launcher=launcher, buffer_size=1) as runner:
            async with anyio.create_task_group() as tasks:
                reader = aiter(runner)
                await read_until(Line, reader)
                if by_hand:
                    tasks.start_soon(runner["c"].restart)
                await anyio.wait_all_tasks_blocked()
                assert runner["c"].attempts == 1
                assert runner["c"].pid is None  # The output has not been read yet.
                tasks.start_soon(runner["c"].send, b"hello")
                tasks.start_soon(runner["c"].ready)
                await anyio.wait_all_tasks_blocked()
                await read_until(Started, reader)
            assert launcher["c"].received == b"hello"
            assert runner["c"].attempts == 2
            runner.kill()


async def test_a_restart_of_a_queued_command_waits_for_its_first_start() -> None:
    """If that start fails, restart raises, and the command had one attempt."""
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


async def test_send_waits_until_the_last_lines_decide_about_a_restart() -> None:
    """The unread last lines may meet the probe, which decides whether the command failed."""
    launcher = FakeLauncher({"c": [Script(stdout=TOO_MUCH), Script(stdout=b"up\n", exit=None)]})
    command = Command(["c"], stdin=PIPE, restart=AT_ONCE, ready=ready.line("up"))
    with anyio.fail_after(LIMIT):
        async with Runner([command], launcher=launcher, buffer_size=1) as runner:
            async with anyio.create_task_group() as tasks:
                reader = aiter(runner)
                await read_until(Line, reader)
                await anyio.wait_all_tasks_blocked()
                assert runner["c"].pid is None  # The output has not been read yet.
                tasks.start_soon(runner["c"].send, b"hello")
                await anyio.wait_all_tasks_blocked()
                await read_until(Ready, reader)
            assert launcher["c"].received == b"hello"
            runner.kill()


async def test_send_raises_at_once_if_no_second_process_will_follow() -> None:
    """Output that is still unread does not delay the error, and none of it is discarded."""
    launcher = FakeLauncher(default=Script(stdout=TOO_MUCH, exit=1))
    read = bytearray()
    with anyio.fail_after(LIMIT):
        async with Runner([Command(["c"], stdin=PIPE)], launcher=launcher) as runner:
            async for message in runner.batches():
                if not isinstance(message, Batch):
                    continue
                read += message.data
                while runner["c"].pid is not None:
                    await checkpoint()  # until its exit is known
                with pytest.raises(StdinClosedError):
                    await runner["c"].send(b"hello")
    assert read == TOO_MUCH


class TestWithMockClock:
    """How long an attempt was up decides from where `max_restarts` counts."""

    @pytest.fixture
    def anyio_backend(self) -> tuple[str, dict[str, object]]:
        """Trio with a `MockClock`."""
        trio_testing = pytest.importorskip("trio.testing")
        return "trio", {"clock": trio_testing.MockClock(autojump_threshold=0)}

    @pytest.mark.parametrize(
        ("options", "gives_up"),
        [
            ({}, False),
            ({"ready": ready.delay(1)}, False),
            ({"ready": ready.delay(55)}, True),
            ({"ready": ready.delay(70)}, True),
            ({"ready": ready.delay(999, timeout=50)}, True),
            ({"timeout": 50}, True),
        ],
        ids=str,
    )
    async def test_only_the_time_in_which_a_command_is_ready_counts(
        self, options: dict[str, Any], *, gives_up: bool
    ) -> None:
        """An attempt that never worked has not stayed up, however long it lasted."""
        policy = RestartPolicy("on-failure", max_restarts=2, delay=0, reset_after=10)
        launcher = FakeLauncher(default=Script(exit=1, after=60))
        with anyio.move_on_after(1000):
            async with Runner([Command(["c"], **options)], restart=policy, launcher=launcher):
                pass
        assert (len(launcher.launched) == 3) == gives_up

    @pytest.mark.parametrize(("healthy_for", "gives_up"), [(5, True), (100, False)])
    async def test_a_hanging_command_was_up_until_the_last_check_that_it_passed(
        self, healthy_for: float, *, gives_up: bool
    ) -> None:
        """The time in which `alive` fails does not count."""
        policy = RestartPolicy("on-failure", max_restarts=2, delay=0, reset_after=20)
        launcher = FakeLauncher(default=Script(exit=None))

        def is_healthy() -> bool:
            return anyio.current_time() - began < healthy_for

        began = anyio.current_time()
        probe = ready.when(is_healthy, interval=2)
        runner = Runner(
            [Command(["c"], alive=probe, failure_threshold=20)], restart=policy, launcher=launcher
        )
        with anyio.move_on_after(1000):
            async with runner:
                async for message in runner:
                    if isinstance(message, Started):
                        began = anyio.current_time()
        assert (len(launcher.launched) == 3) == gives_up

    async def test_a_restart_by_hand_counts_from_the_last_attempt_that_stayed_up(self) -> None:
        """Restarts of a service that works do not use up the limit."""
        policy = RestartPolicy("on-failure", max_restarts=2, delay=0)
        launcher = FakeLauncher({"c": [*[Script(exit=None)] * 5, Script(exit=1)]})
        async with Runner(["c"], restart=policy, launcher=launcher) as runner:
            for _ in range(5):
                await anyio.sleep(60)
                await runner["c"].restart()
        assert runner.results["c"].attempts == 7  # two restarts after the last that stayed up
