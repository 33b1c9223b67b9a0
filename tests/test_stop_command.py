"""Test `Command.stop_command`: it runs before the signal, within the grace of the command."""

from __future__ import annotations

from signal import SIGKILL, SIGTERM
from typing import TYPE_CHECKING

import anyio
import pytest

import currant
from currant import Command, CommandNotFoundError, Line, Runner, ready
from currant.testing import FakeLauncher, Script
from tests.waiting import EXEC_FOREVER, HOURS, LIMIT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.lifeline import Gate, Lifeline

pytestmark = pytest.mark.anyio


async def test_command_that_the_stop_command_ends_gets_no_signal(
    lifeline: Lifeline, gate: Gate
) -> None:
    """The stop command knows the pid and the variables; the exit that follows is a stop."""
    server = (
        f"{lifeline.hold('a')}; trap 'echo signal' TERM; echo $$ up; read -r pid <{gate.path}; "
    )
    command = Command.shell(
        f"{server} echo $pid; exit 3",
        name="a",
        env={"PLACE": str(gate.path)},
        stop_command=Command.shell('echo "$CURRANT_PID" >"$PLACE"'),
        ready=ready.line("up"),
        grace=HOURS,
        capture=True,
    )
    with anyio.fail_after(LIMIT):
        async with Runner() as runner:
            job = await runner.start(command)
            pid = job.pid
            runner.kill()
            result = await job.wait()
    assert result.stdout == f"{pid} up\n{pid}\n".encode()
    assert (result.status, str(result.exit)) == ("stopped", "stopped (exit code 3)")
    assert lifeline.ended() == {"a"}


async def test_signal_follows_at_once_if_the_stop_command_fails() -> None:
    """A stop command that fails does not use up the grace."""
    command = Command.parse("sleep 9999", stop_command="false", grace=HOURS)
    with anyio.fail_after(LIMIT):
        async with Runner([command]) as runner:
            await runner["sleep"].ready()
            runner.kill()
    assert str(runner.results["sleep"].exit) == "stopped (SIGTERM)"


async def test_second_kill_ends_a_stop_command_that_hangs(lifeline: Lifeline) -> None:
    """The second kill skips what is left of the grace, and leaves no process."""
    hangs = Command.shell(f"{lifeline.hold('stop')}; {EXEC_FOREVER}")
    hold = f"{lifeline.hold('a')}; trap '' TERM; echo up; while :; do sleep 9999; done"
    command = Command.shell(hold, name="a", stop_command=hangs, grace=HOURS)
    with anyio.fail_after(LIMIT):
        async with Runner([command]) as runner:
            async for message in runner:
                if isinstance(message, Line):
                    runner.kill()
                    await anyio.to_thread.run_sync(lifeline.wait_for, "stop")
                    runner.kill()
    assert lifeline.ended() == {"a", "stop"}


async def test_restart_runs_the_stop_command(gate: Gate) -> None:
    """A restart on request stops the process in the same way."""
    ends = Command.shell(f"echo >{gate.path}")
    command = Command.shell(
        f"trap 'echo signal' TERM; echo up; read -r _ <{gate.path}",
        stop_command=ends,
        ready=ready.line("up"),
        grace=HOURS,
    )
    with anyio.fail_after(LIMIT):
        async with Runner() as runner:
            job = await runner.start(command)
            await job.restart()
            await job.ready()
            assert job.attempts == 2
            assert [line.text for line in job.tail] == ["up"]
            runner.kill()
    assert str(runner.results["sh"].exit) == "stopped (exit code 0)"


async def test_missing_stop_command_starts_nothing() -> None:
    """The program of a stop command is looked up on entry."""
    launcher_error = "'true:stop': there is no program 'no-such-program'"
    with pytest.raises(CommandNotFoundError, match=launcher_error):
        async with Runner([Command(["true"], stop_command="no-such-program")]):
            pytest.fail("the block was entered")


class TestWithMockClock:
    """The times of the steps."""

    @pytest.fixture
    def anyio_backend(self) -> tuple[str, Mapping[str, object]]:
        """Trio with a `MockClock`."""
        trio_testing = pytest.importorskip("trio.testing")
        return "trio", {"clock": trio_testing.MockClock(autojump_threshold=0)}

    @pytest.mark.parametrize(
        ("stop", "signal_at"),
        [(Script(after=1), 5), (Script(exit=None), 5), (Script(exit=1, after=2), 2)],
        ids=["succeeds", "hangs", "fails"],
    )
    async def test_signal_comes_within_half_of_the_grace(
        self, stop: Script, signal_at: float
    ) -> None:
        """The stop command and the exit have half of the grace, and the signal has the rest."""
        deaf = Script(exit=None, ignores={SIGTERM})
        launcher = FakeLauncher({"a": deaf, "a:stop": stop})
        command = Command(["a"], stop_command="stop", grace=10)
        async with Runner([command], launcher=launcher) as runner:
            await runner["a"].ready()
            began = anyio.current_time()
            runner.kill()
            while SIGTERM not in launcher["a"].signals:  # noqa: ASYNC110 - on a clock that jumps
                await anyio.sleep(0.01)
            assert anyio.current_time() - began == pytest.approx(signal_at, abs=0.05)
            await runner.join()
            assert anyio.current_time() - began == pytest.approx(10, abs=0.05)
        assert launcher["a"].signals[-1] == SIGKILL


def test_command_that_ends_by_itself_runs_no_stop_command() -> None:
    """A stop command is for a stop."""
    assert currant.run(Command(["true"], stop_command="false"))["true"].status == "succeeded"
