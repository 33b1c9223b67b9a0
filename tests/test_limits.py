"""Time limits, Runners that stay open, long queues, and requests in every state."""

from __future__ import annotations

import os
import resource
from signal import SIGKILL, SIGTERM, SIGURG, SIGUSR1
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio import fail_after

from currant import (
    Aborted,
    Command,
    CommandError,
    Exit,
    Exited,
    RestartPolicy,
    Runner,
    Started,
    TimeLimitError,
    ready,
)
from currant.testing import FakeLauncher, FakeProcess, Script
from tests.reading import messages_of
from tests.waiting import HOURS, LIMIT

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

pytestmark = [pytest.mark.anyio, pytest.mark.backends("asyncio", "trio")]

RUNS = ["sleep", "9999"]


# ---- time limits ----


async def test_an_attempt_that_exceeds_its_time_limit_fails() -> None:
    """The limit applies to each attempt; the exit, the result and a message have the reason."""
    policy = RestartPolicy("on-failure", max_restarts=1, delay=0)
    with fail_after(LIMIT):
        async with Runner([Command(RUNS, timeout=0.05, restart=policy)]) as runner:
            messages = await messages_of(runner)
    result = runner.results["sleep"]
    assert (result.status, result.attempts) == ("failed", 2)
    assert result.exit is not None
    assert result.exit.timed_out
    assert str(result.exit) == "timed out (SIGTERM)"
    assert isinstance(result.error, TimeLimitError)
    errors = [message.error for message in messages if isinstance(message, Aborted)]
    assert [str(error) for error in errors] == [str(result.error)] * 2
    with pytest.raises(ExceptionGroup, match="1 of 1 commands failed"):
        runner.results.check()


async def test_a_command_that_ends_in_time_is_not_affected_by_its_limit() -> None:
    """An unused limit delays nothing."""
    with fail_after(LIMIT):
        async with Runner([Command(["true"], timeout=HOURS)]) as runner:
            pass
    result = runner.results["true"]
    assert result.status == "succeeded"
    assert result.error is None


async def test_the_grace_follows_the_time_limit() -> None:
    """After its time limit, a group is stopped as usual: a request, the grace, then SIGKILL."""
    # SIGURG does nothing by default.  A trap in the shell could be set too late.
    deaf = Command.shell("sleep 9999 & wait", stop_signal=SIGURG, timeout=0.05, grace=0.05)
    with fail_after(LIMIT):
        async with Runner({"deaf": deaf}) as runner:
            result = await runner["deaf"].wait()
    assert result.exit is not None
    assert result.exit.forced
    assert result.exit.timed_out


async def test_an_exit_that_races_with_the_time_limit_matches_its_messages() -> None:
    """If the message Aborted was sent, the result says failed, and otherwise succeeded."""
    for _ in range(30):
        with fail_after(LIMIT):
            async with Runner([Command(["sleep", "0.01"], timeout=0.011)]) as runner:
                messages = await messages_of(runner)
        aborted = any(isinstance(message, Aborted) for message in messages)
        result = runner.results["sleep"]
        assert result.status == ("failed" if aborted else "succeeded")
        assert result.exit is not None
        assert result.exit.timed_out == aborted


class TestOnTheClock:
    """Tests on trio's mock clock, which jumps to the next deadline."""

    @pytest.fixture
    def anyio_backend(self) -> tuple[str, dict[str, object]]:
        """Use trio with that clock."""
        trio_testing = pytest.importorskip("trio.testing")
        return "trio", {"clock": trio_testing.MockClock(autojump_threshold=0)}

    async def test_a_runner_time_limit_after_the_exit_changes_nothing(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The leader has exited; only the stop of its leftover processes takes longer."""
        stop = FakeProcess.stop

        async def stop_late(process: FakeProcess, signal: int, grace: float) -> Exit:
            await runner.barrier.wait()
            return await stop(process, signal, grace)

        monkeypatch.setattr(FakeProcess, "stop", stop_late)
        runner = Runner(["true"], timeout=5, launcher=FakeLauncher())
        async with runner:
            messages = await messages_of(runner)
        assert [type(message) for message in messages] == [Started, Exited]
        assert runner.results["true"].exit == Exit(0, None)
        assert runner.results["true"].status == "succeeded"

    @pytest.mark.parametrize("code", [0, 1])
    async def test_a_command_that_waits_for_its_restart_exceeds_the_time_limit(
        self, code: int
    ) -> None:
        """The command would run again, so it fails as a running command does."""
        policy = RestartPolicy("always", delay=HOURS, max_delay=HOURS)
        launcher = FakeLauncher(default=Script(exit=code))
        async with Runner(["true"], restart=policy, timeout=5, launcher=launcher) as runner:
            pass
        result = runner.results["true"]
        assert (result.status, result.attempts) == ("failed", 1)
        assert isinstance(result.error, TimeLimitError)

    async def test_a_time_limit_during_a_stop_has_no_effect(self) -> None:
        """The command was stopped first, so it has not failed."""
        launcher = FakeLauncher({"deaf": Script(exit=None, ignores={SIGTERM})})
        command = Command(["deaf"], timeout=2)
        async with Runner([command], grace=5, launcher=launcher) as runner:
            await runner["deaf"].until_started()
            await anyio.sleep(1)  # The time limit runs.
            runner.kill()
        result = runner.results["deaf"]
        assert result.status == "stopped"
        assert result.exit == Exit(None, SIGKILL, stopped=True, forced=True)

    async def test_the_time_limit_of_a_runner_applies_to_all_commands(self) -> None:
        """Running commands fail, waiting commands are stopped, and the barrier has the reason."""
        commands = {
            "done": "true",
            "a": Command(["a"]),
            "b": Command(["b"], after="a", grace=1),
            "never": Command(["never"], after={"a": "succeeded"}),
        }
        # If both were asked to stop at the same time, b would end last.
        scripts = {"a": Script(exit=None), "b": Script(exit=None, ignores={SIGTERM})}
        launcher = FakeLauncher(scripts)
        async with Runner(commands, timeout=5, restart="on-failure", launcher=launcher) as runner:
            messages = await messages_of(runner)
        results = runner.results
        assert runner.barrier.reason == "the time limit of 5 s is over"
        statuses = {name: result.status for name, result in results.items()}
        assert statuses == {"done": "succeeded", "a": "failed", "b": "failed", "never": "stopped"}
        assert str(results["a"].error) == "'a' exceeded the Runner's time limit of 5 s"
        assert results["a"].exit is not None
        assert results["a"].exit.timed_out
        assert [message.command for message in messages if isinstance(message, Exited)][1:] == [
            "b",
            "a",
        ]


@pytest.mark.parametrize("limited", ["command", "runner"])
class TestOnAClockThatIsSet:
    """Tests on trio's mock clock, which the test sets forward."""

    @pytest.fixture
    def anyio_backend(self) -> tuple[str, dict[str, object]]:
        """Use trio with that clock."""
        trio_testing = pytest.importorskip("trio.testing")
        return "trio", {"clock": trio_testing.MockClock(rate=1)}

    async def test_an_exit_in_time_counts_although_the_loop_was_busy_until_the_limit(
        self, limited: str
    ) -> None:
        """The loop learns of both at once, and trio lets either task run first."""
        import trio  # noqa: PLC0415 - optional

        clock: Any = trio.lowlevel.current_clock()
        own, others = (5, None) if limited == "command" else (None, 5)
        for _ in range(10):
            async with Runner([Command(RUNS, timeout=own)], timeout=others) as runner:
                await runner["sleep"].until_started()
                await anyio.wait_all_tasks_blocked()
                pid = runner["sleep"].pid
                assert pid is not None
                os.kill(pid, SIGKILL)
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222 - the loop is busy
                clock.jump(5)
            result = runner.results["sleep"]
            assert (result.exit, result.error) == (Exit(None, SIGKILL), None)


@pytest.mark.parametrize("timeout", [0, -1, "5", float("inf")])
def test_an_invalid_time_limit_is_rejected(timeout: Any) -> None:
    """The constructor of the Runner raises."""
    with pytest.raises(CommandError, match="timeout"):
        Runner(timeout=timeout)


# ---- a Runner that stays open ----


async def test_a_runner_with_keep_open_ends_when_it_is_killed() -> None:
    """join and iteration continue when no command is left."""
    with fail_after(LIMIT):
        async with Runner(["true"], keep_open=True) as runner, anyio.create_task_group() as tasks:
            names: list[str] = []

            async def read() -> None:
                names.extend([m.command async for m in runner if isinstance(m, Started)])

            tasks.start_soon(read)
            await runner["true"].wait()
            await anyio.wait_all_tasks_blocked()
            for _ in range(3):
                job = await runner.start("true")
                await job.wait()
            with anyio.move_on_after(0.05) as waiting:
                await runner.join()
            assert waiting.cancelled_caught
            runner.kill()
    assert names == ["true", "true#2", "true#3", "true#4"]
    assert runner.results.ok


@pytest.mark.parametrize("way", ["exception", "cancellation"])
async def test_a_runner_with_keep_open_ends_if_its_body_fails(way: str) -> None:
    """An exception or a cancellation of the body ends the Runner, as without keep_open."""
    with fail_after(LIMIT), pytest.raises(LookupError):
        with anyio.CancelScope() as scope:
            async with Runner(keep_open=True):
                if way == "exception":
                    raise LookupError
                scope.cancel()
                await anyio.sleep_forever()
        raise LookupError


# ---- long queues ----


async def test_a_queued_command_needs_little_memory_and_no_file_descriptor() -> None:
    """Five thousand commands wait behind eight; each takes a few kilobytes."""
    commands = [Command(RUNS, name=f"job {number}") for number in range(5_000)]

    def used() -> tuple[int, int]:
        """Return the memory in bytes and the number of open files."""
        with open("/proc/self/statm", encoding="ascii") as file:
            pages = int(file.read().split()[1])
        return pages * resource.getpagesize(), len(os.listdir("/proc/self/fd"))

    before = used()
    with fail_after(LIMIT * 5):
        async with Runner(commands, max_processes=8) as runner:
            for number in range(8):
                await runner[f"job {number}"].until_started()
            after = used()
            assert runner["job 8"].state == "queued"
            runner.kill()
    assert (after[0] - before[0]) / len(commands) <= 10_000
    assert after[1] - before[1] <= 8 * 6 + 10
    assert {result.status for result in runner.results.values()} == {"stopped"}


# ---- requests in every state ----


async def test_requests_are_harmless_in_every_state() -> None:
    """The states are queued, waiting for another command, running, stopping and ended."""
    commands = {
        "runs": RUNS,
        "queued": RUNS,
        "waits": Command(RUNS, after={"runs": "succeeded"}),
        "slow": Command(RUNS, ready=ready.delay(HOURS)),
    }
    with fail_after(LIMIT):
        async with Runner(commands, max_processes=1) as runner:
            await runner["runs"].until_started()
            for name in ("queued", "waits", "slow"):
                assert not await runner[name].send_signal(SIGUSR1)
                runner[name]._life.hurry()
            for name in ("queued", "waits", "slow", "runs"):
                for _ in range(3):
                    runner[name].kill()
                result = await runner[name].wait()
                assert result.status == "stopped"
                runner[name].kill()
                assert not await runner[name].send_signal(SIGUSR1)
    assert runner.results.ok


async def test_a_restart_waits_until_the_old_group_is_empty(tmp_path: Path) -> None:
    """Two processes of one command never run at the same time."""
    lock = tmp_path / "lock"
    text = (
        f"mkdir {lock} || exit 7; trap 'sleep 0.1; rmdir {lock}; exit' TERM; echo up; "
        "while :; do sleep 0.01; done"
    )
    with fail_after(LIMIT):
        async with Runner({"c": Command.shell(text, ready=ready.line("up"))}) as runner:
            job = runner["c"]
            await job.ready()
            for _ in range(3):
                await job.restart()
                await job.ready()
            assert job.restarts == 3
            runner.kill()
    assert runner.results["c"].status == "stopped"
