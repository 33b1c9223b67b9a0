"""Stopping: the barrier, the kill path on real process trees, and what leads to a kill."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio.lowlevel import checkpoint

from currant import (
    Aborted,
    Command,
    CurrantError,
    Exit,
    Exited,
    JobEndedError,
    Line,
    RestartPolicy,
    Runner,
    Started,
)
from currant._values.shutdown_limits import ShutdownLimits
from currant.testing import FakeLauncher, Script
from tests.reading import first_line, messages_of, read_until
from tests.waiting import FOREVER, is_alive

if TYPE_CHECKING:
    from currant import Result

pytestmark = pytest.mark.anyio

DEAF = "trap '' TERM; echo ready; while :; do sleep 9999; done"
LONG = 3600.0  # a grace that no test waits for


async def test_kill_stops_all_and_returns_at_once() -> None:
    """kill only throws the barrier; join waits; what we stopped is stopped, never failed."""
    async with Runner([FOREVER, FOREVER]) as runner:
        job = await runner.start(FOREVER)
        runner.kill("enough")
        assert runner.barrier.thrown
        assert runner.barrier.reason == "enough"
        assert job.state == "stopping"
        assert job.pid is not None
        results = await runner.join()
    assert {result.status for result in results.values()} == {"stopped"}
    assert results.ok
    assert results["sleep#3"].exit == Exit(None, signal.SIGTERM, stopped=True)


async def test_what_ignores_the_signal_is_killed_after_its_grace() -> None:
    """SIGKILL to the group after the grace, told as forced."""
    async with Runner({"deaf": Command.shell(DEAF, grace=0.05)}) as runner:
        await first_line(runner, "deaf")
        runner.kill()
    assert runner.results["deaf"].exit == Exit(None, signal.SIGKILL, stopped=True, forced=True)


async def test_a_second_kill_skips_what_is_left_of_the_grace() -> None:
    """The first call asks, a second one ends at once, for the Runner and for one job."""
    async with Runner({"a": Command.shell(DEAF), "b": Command.shell(DEAF)}, grace=LONG) as runner:
        await read_until(runner, ("a", "ready"), ("b", "ready"))
        runner["a"].kill()
        runner["a"].kill()
        with anyio.fail_after(30):
            assert (await runner["a"].wait()).exit == Exit(
                None, signal.SIGKILL, stopped=True, forced=True
            )
        assert runner["b"].state == "running"
        runner.kill()
        await anyio.wait_all_tasks_blocked()
        assert runner["b"].state == "stopping"
        runner.kill()
        with anyio.fail_after(30):
            await runner.join()


async def test_a_kill_of_ours_after_an_automatic_one_asks_first() -> None:
    """kill_others_on throws the barrier; the first kill() after that does not force."""
    launcher = FakeLauncher(
        {"bad": Script(exit=1), "deaf": Script(exit=None, ignores={signal.SIGTERM})}
    )
    async with Runner(
        ["bad", "deaf"], launcher=launcher, kill_others_on="failure", grace=LONG
    ) as runner:
        await runner["bad"].wait()
        await anyio.wait_all_tasks_blocked()
        runner.kill()
        await anyio.wait_all_tasks_blocked()
        assert launcher["deaf"].running
        runner.kill()


async def test_a_grandchild_that_ignores_the_signal_is_given_the_grace_and_killed() -> None:
    """The grace counts for the group, not for its leader."""
    script = "(trap '' TERM; echo $(exec sh -c 'echo $PPID'); while :; do sleep 9999; done) & wait"
    async with Runner({"c": Command.shell(script)}, grace=0.05) as runner:
        grandchild = int((await first_line(runner, "c")).data)
        assert is_alive(grandchild)
        runner.kill()
    assert not is_alive(grandchild)
    assert runner.results["c"].exit == Exit(None, signal.SIGTERM, stopped=True, forced=True)


async def test_what_a_leader_leaves_behind_is_ended_before_its_exit_is_told() -> None:
    """Nothing outlives its attempt; the exit is the leader's own."""
    async with Runner({"c": Command.shell("sleep 9999 & echo $!; exit 3")}, grace=LONG) as runner:
        async for message in runner:
            match message:
                case Line(data=data):
                    grandchild = int(data)
                case Exited(exit=end):
                    assert not is_alive(grandchild)
                    assert end == Exit(3, None)
    assert runner.results["c"].status == "failed"


async def test_a_grandchild_that_holds_the_pipe_does_not_delay_the_exit() -> None:
    """The exit is known at once and the output is delivered, whoever holds the pipe."""
    script = "(trap '' TERM; exec sleep 9999) & echo hi; exit 3"
    async with Runner({"c": Command.shell(script)}, grace=0.05) as runner:
        with anyio.fail_after(30):
            messages = await messages_of(runner)
    assert [message.text for message in messages if isinstance(message, Line)] == ["hi"]
    assert runner.results["c"].exit == Exit(3, None)


async def test_a_stranger_that_holds_the_pipe_cannot_keep_the_runner() -> None:
    """Once the group is gone, draining is bounded, and what the group wrote is delivered."""
    stranger = (
        "import os, time\n"
        "away, tell = os.pipe()\n"
        "if os.fork(): os.read(away, 1); os._exit(0)\n"
        "os.setsid(); os.write(1, b'%d\\n' % os.getpid()); os.write(tell, b'.')\n"
        "time.sleep(9999)\n"
    )
    async with Runner({"c": [sys.executable, "-c", stranger]}) as runner:
        with anyio.fail_after(30):
            messages = await messages_of(runner)
    lines = [message for message in messages if isinstance(message, Line)]
    try:
        assert len(lines) == 1
        assert runner.results["c"].exit == Exit(0, None)
    finally:
        if is_alive(int(lines[0].data)):
            os.kill(int(lines[0].data), signal.SIGKILL)


async def test_a_command_that_closed_its_output_runs_on_until_it_is_killed() -> None:
    """End of output is not exit."""
    async with Runner({"c": Command.shell("echo ready; exec >&- 2>&-; exec sleep 9999")}) as runner:
        await first_line(runner, "c")
        assert runner["c"].state == "running"
        runner.kill()
    assert runner.results["c"].exit == Exit(None, signal.SIGTERM, stopped=True)


async def test_a_stopped_command_is_continued_so_that_it_can_end() -> None:
    """SIGTERM then SIGCONT: a process that was suspended gets the signal too."""
    async with Runner(
        {"c": Command.shell("echo ready; kill -STOP $$; echo on")}, grace=LONG
    ) as runner:
        await first_line(runner, "c")
        with anyio.fail_after(30):
            runner.kill()
            await runner.join()
    assert runner.results["c"].exit == Exit(None, signal.SIGTERM, stopped=True)


async def test_the_stop_signal_is_the_commands_own() -> None:
    """stop_signal is what the group is asked with; an exit of its own then is still a stop."""
    script = "trap 'echo bye; exit 0' INT; echo ready; while :; do sleep 0.01; done"
    async with Runner({"c": Command.shell(script, stop_signal=signal.SIGINT)}) as runner:
        await first_line(runner, "c")
        runner.kill()
        messages = await messages_of(runner)
    assert any(isinstance(message, Line) and message.text == "bye" for message in messages)
    assert runner.results["c"].exit == Exit(0, None, stopped=True)
    assert runner.results["c"].status == "stopped"


async def test_the_output_of_a_dying_command_is_not_lost() -> None:
    """What a command writes while it is being stopped arrives in full, before its Exited."""
    script = "trap 'seq 100000; exit 0' TERM; echo ready; while :; do sleep 0.01; done"
    async with Runner({"c": Command.shell(script)}, grace=LONG) as runner:
        await first_line(runner, "c")
        runner.kill()
        messages = await messages_of(runner)
    output = [m.data for m in messages if isinstance(m, Line) and m.stream == "stdout"]
    assert output == [b"%d" % number for number in range(1, 100_001)]
    assert isinstance(messages[-1], Exited)


async def test_a_kill_of_many_is_parallel() -> None:
    """Commands are stopped all at once: the whole takes as long as the slowest, not the sum."""
    launcher = FakeLauncher(default=Script(exit=None, ignores={signal.SIGTERM}))
    async with Runner([f"c{n}" for n in range(200)], launcher=launcher, grace=0.5) as runner:
        await anyio.wait_all_tasks_blocked()
        began = anyio.current_time()
        runner.kill()
        await runner.join()
        assert anyio.current_time() - began < 0.5 * 200 / 10
    assert all(process.signals[-1] == signal.SIGKILL for process in launcher.launched)


async def test_nothing_is_spawned_after_a_kill() -> None:
    """What is queued, or started after the kill, ends as stopped and never runs."""
    launcher = FakeLauncher(default=Script(exit=None))
    async with Runner(["a", "b"], max_processes=1, launcher=launcher) as runner:
        await runner["a"].until_started()
        runner.kill()
        late = runner.start_soon("late")
        assert (await runner.start("later")).state == "ended"
        assert (await late.wait()).status == "stopped"
    assert len(launcher.launched) == 1
    assert runner.results["b"].exit is None
    assert runner.results["b"].attempts == 0
    assert runner.results["b"].started_at is None


async def test_a_kill_while_a_process_is_being_started_ends_it_right_after() -> None:
    """The barrier ends the start itself, or the process as soon as it is there."""
    launcher = FakeLauncher({"slow": Script(exit=None, starting=3600)})
    async with Runner(["slow"], launcher=launcher) as runner:
        await anyio.wait_all_tasks_blocked()
        assert launcher.launched == []
        runner.kill()
        with anyio.fail_after(30):
            await runner.join()
    assert all(not process.running for process in launcher.launched)
    assert runner.results["slow"].status == "stopped"


async def test_a_killed_job_leaves_the_queue_at_once() -> None:
    """Job.kill of one that waits for its turn ends it there; the others keep theirs."""
    launcher = FakeLauncher(default=Script(exit=None))
    async with Runner(["a", "b", "c"], max_processes=1, launcher=launcher) as runner:
        await anyio.wait_all_tasks_blocked()
        runner["b"].kill()
        assert (await runner["b"].wait()).status == "stopped"
        launcher["a"].exit(0)
        await anyio.wait_all_tasks_blocked()
        assert runner["c"].state == "running"
        runner.kill()
    assert [process.command.name for process in launcher.launched] == ["a", "c"]


async def test_throwing_the_barrier_is_a_kill() -> None:
    """The barrier is public: whoever throws it stops all, the queue too."""
    launcher = FakeLauncher(default=Script(exit=None))
    async with Runner(["a", "b"], max_processes=1, launcher=launcher) as runner:
        await anyio.wait_all_tasks_blocked()
        runner.barrier.throw("by hand")
        with anyio.fail_after(30):
            await runner.join()
        await runner.barrier.wait()
    assert runner.barrier.reason == "by hand"
    assert [result.status for result in runner.results.values()] == ["stopped", "stopped"]


@pytest.mark.parametrize(
    ("kill_others_on", "code", "killed"),
    [
        ("failure", 1, True),
        ("failure", 0, False),
        ("success", 0, True),
        ("success", 1, False),
        ("exit", 0, True),
        ("exit", 1, True),
        (None, 1, False),
    ],
)
async def test_kill_others_on_decides_which_end_stops_the_others(
    kill_others_on: str | None, code: int, killed: bool
) -> None:
    """A command's end of the wanted kind throws the barrier; any other leaves the rest running."""
    launcher = FakeLauncher({"first": Script(exit=code), "other": Script(exit=None)})
    async with Runner(
        ["first", "other"],
        launcher=launcher,
        kill_others_on=kill_others_on,  # type: ignore[arg-type]
    ) as runner:
        await runner["first"].wait()
        await anyio.wait_all_tasks_blocked()
        assert runner.barrier.thrown is killed
        assert launcher["other"].running is not killed
        runner.kill()
    assert runner.results["other"].status == "stopped"


async def test_the_others_are_stopped_as_soon_as_the_failing_exit_is_known() -> None:
    """The barrier is thrown before the output has ended: here it cannot end before that."""
    script = "sleep 9999 & exit 3"
    async with Runner(
        {"bad": Command.shell("trap '' TERM; " + script, grace=LONG), "other": FOREVER},
        kill_others_on="failure",
    ) as runner:
        with anyio.fail_after(30):
            assert (await runner["other"].wait()).status == "stopped"
        assert "bad" in (runner.barrier.reason or "")
        assert "exit code 3" in (runner.barrier.reason or "")
        runner.kill()
        runner.kill()
    assert runner.results["bad"].exit == Exit(3, None)


async def test_kill_others_on_waits_for_the_final_end() -> None:
    """With restarts, only giving up counts as the failure."""
    launcher = FakeLauncher({"bad": Script(exit=1), "other": Script(exit=None)})
    async with Runner(
        ["bad", "other"],
        launcher=launcher,
        kill_others_on="failure",
        restart=RestartPolicy("on-failure", max_restarts=2, delay=0),
    ) as runner:
        await runner.join()
    assert runner.results["bad"].attempts == 3
    assert runner.results["other"].attempts == 1
    assert runner.results["other"].status == "stopped"


async def test_a_command_that_cannot_start_counts_as_a_failure_for_the_others() -> None:
    """A failed launch that is final throws the barrier as a failed exit does."""
    launcher = FakeLauncher({"bad": Script(error="no such thing"), "other": Script(exit=None)})
    async with Runner(["bad", "other"], launcher=launcher, kill_others_on="failure") as runner:
        with anyio.fail_after(30):
            await runner.join()
    assert runner.results["bad"].status == "failed"
    assert "no such thing" in str(runner.barrier.reason)


async def test_what_outlives_sigkill_is_told_and_does_not_hang() -> None:
    """A process that cannot be ended gives a bounded wait and a clear error in the result."""
    immortal = Script(exit=None, ignores={signal.SIGTERM, signal.SIGKILL})
    launcher = FakeLauncher({"d": immortal})
    async with Runner(["d"], launcher=launcher, grace=0) as runner:
        await runner["d"].until_started()
        runner.kill()
        with anyio.fail_after(30):
            result: Result = await runner["d"].wait()
    assert result.status == "failed"
    assert result.exit is None
    assert "SIGKILL" in str(result.error)


async def test_what_outlives_sigkill_is_a_failure_for_the_others() -> None:
    """It is a final end like any other, and a message tells of it where no exit will."""
    limits = ShutdownLimits(reap=0.05)
    immortal = Script(exit=None, ignores={signal.SIGTERM, signal.SIGKILL})
    launcher = FakeLauncher({"d": immortal}, Script(exit=None), _limits=limits)
    with anyio.fail_after(30):
        async with Runner(
            ["d", "other"], launcher=launcher, grace=0, kill_others_on="failure"
        ) as runner:
            await runner["d"].until_started()
            runner["d"].kill()
            told = await messages_of(runner)
    assert {name: result.status for name, result in runner.results.items()} == {
        "d": "failed",
        "other": "stopped",
    }
    assert [type(message) for message in told if message.command == "d"] == [Started, Aborted]


async def test_a_thousand_stops_that_race_with_exits_raise_nothing() -> None:
    """An exit that races with a signal is no error, and each command ends as one of the two."""
    async with Runner(max_processes=50) as runner:
        for number in range(1000):
            runner.start_soon(Command(["true"], name=str(number)))
        async for message in runner.batches():
            if isinstance(message, Started):
                runner[message.command].kill()
    assert {result.status for result in runner.results.values()} <= {"succeeded", "stopped"}
    assert len(runner.results) == 1000


async def test_a_stranger_that_holds_stdin_cannot_keep_the_runner() -> None:
    """Bytes that a command left unread are given up with its group, whoever holds the pipe."""
    stranger = (
        "import os, time\n"
        "away, tell = os.pipe()\n"
        "if os.fork(): os.read(away, 1); os._exit(0)\n"
        "os.setsid(); os.close(1); os.close(2)\n"
        "os.write(tell, b'.')\n"
        "time.sleep(9999)\n"
    )
    command = Command([sys.executable, "-c", stranger], stdin=b"x" * 1_000_000)
    with anyio.fail_after(30):
        async with Runner({"c": command}) as runner:
            await runner["c"].wait()
    assert runner.results["c"].exit == Exit(0, None)


async def test_a_restart_is_not_beside_what_outlived_sigkill() -> None:
    """What cannot be ended is not started again, neither by hand nor by policy."""
    immortal = Script(exit=None, ignores={signal.SIGTERM, signal.SIGKILL})
    launcher = FakeLauncher({"d": immortal})
    async with Runner(["d"], launcher=launcher, grace=0, restart="always") as runner:
        await runner["d"].until_started()
        with anyio.fail_after(30), pytest.raises(JobEndedError):
            await runner["d"].restart()
    assert len(launcher.launched) == 1
    assert "SIGKILL" in str(runner.results["d"].error)


async def test_hurrying_a_command_that_is_not_stopping_does_nothing() -> None:
    """Only the grace of a stop that is under way can be skipped."""
    launcher = FakeLauncher({"c": Script(exit=None)})
    async with Runner(["c"], launcher=launcher) as runner:
        await runner["c"].until_started()
        runner["c"]._life.hurry()
        await anyio.wait_all_tasks_blocked()
        assert launcher["c"].running
        runner.kill()


async def test_a_host_that_ignores_sigchld_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system forgets how children end, no exit could be trusted: a clear error."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with pytest.raises(CurrantError, match="SIGCHLD"):
            async with Runner(["true"]):
                pytest.fail("the body was entered")
    finally:
        signal.signal(signal.SIGCHLD, before)


async def test_a_process_that_is_gone_has_no_number_however_slow_its_reader_is() -> None:
    """Job.pid is None as soon as the group is gone: it may be a stranger's by then."""
    async with Runner({"c": ["seq", "300000"]}, buffer_size=1) as runner:
        async for message in runner.batches():
            if isinstance(message, Started):
                supervisor = runner._supervisor
                assert supervisor is not None
                with anyio.fail_after(30):
                    # Wait until the output fills the channel.
                    while not supervisor.channel.readers._waiting_senders:
                        await checkpoint()
                    runner.kill()
                    while runner["c"].pid is not None:  # noqa: ASYNC110 - what it looks for
                        await anyio.sleep(0.001)
                assert not await runner["c"].send_signal(0)
                assert runner["c"].result is None
