"""Stopping: the barrier, the kill path on real process trees, and the causes of a kill."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import anyio
import pytest

from currant import (
    Aborted,
    Command,
    CurrantError,
    Exit,
    Exited,
    JobEndedError,
    Line,
    LocalLauncher,
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
    from tests.lifeline import Lifeline

pytestmark = pytest.mark.anyio

DEAF = "trap '' TERM; echo ready; while :; do sleep 9999; done"
LONG = 3600.0  # A grace that no test waits for.


async def test_kill_stops_all_and_returns_at_once() -> None:
    """kill only throws the barrier, and join waits; the stopped commands have not failed."""
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


async def test_a_command_that_ignores_sigterm_is_killed_after_its_grace() -> None:
    """SIGKILL goes to the group after the grace, and the exit is marked as forced."""
    async with Runner({"deaf": Command.shell(DEAF, grace=0.05)}) as runner:
        await first_line(runner, "deaf")
        runner.kill()
    assert runner.results["deaf"].exit == Exit(None, signal.SIGKILL, stopped=True, forced=True)


async def test_a_second_kill_skips_the_rest_of_the_grace() -> None:
    """The first call sends the request, a second sends SIGKILL; both for a Runner and a job."""
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


async def test_the_first_kill_after_an_automatic_one_keeps_the_grace() -> None:
    """kill_others_on throws the barrier; the first kill() after that sends no SIGKILL."""
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


async def test_a_grandchild_that_ignores_sigterm_is_killed_after_the_grace() -> None:
    """The grace applies to the whole group, not only to its leader."""
    # The leader has to get so far within the grace that SIGTERM ends it.
    script = "(trap '' TERM; echo $(exec sh -c 'echo $PPID'); while :; do sleep 9999; done) & wait"
    async with Runner({"c": Command.shell(script)}, grace=0.5) as runner:
        grandchild = int((await first_line(runner, "c")).data)
        assert is_alive(grandchild)
        runner.kill()
    assert not is_alive(grandchild)
    assert runner.results["c"].exit == Exit(None, signal.SIGTERM, stopped=True, forced=True)


async def test_leftover_processes_end_before_exited_is_sent() -> None:
    """No process outlives its attempt; the exit is the leader's own."""
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
    """The exit is known at once and the output is delivered, although the pipe is still open."""
    script = "(trap '' TERM; exec sleep 9999) & echo hi; exit 3"
    async with Runner({"c": Command.shell(script)}, grace=0.05) as runner:
        with anyio.fail_after(30):
            messages = await messages_of(runner)
    assert [message.text for message in messages if isinstance(message, Line)] == ["hi"]
    assert runner.results["c"].exit == Exit(3, None)


async def test_an_escapee_that_holds_the_output_open_does_not_block_the_runner() -> None:
    """Draining is bounded once the group is gone, and all output of the group is delivered."""
    escapee = (
        "import os, time\n"
        "away, tell = os.pipe()\n"
        "if os.fork(): os.read(away, 1); os._exit(0)\n"
        "os.setsid(); os.write(1, b'%d\\n' % os.getpid()); os.write(tell, b'.')\n"
        "time.sleep(9999)\n"
    )
    launcher = LocalLauncher(_limits=ShutdownLimits(drain=0.05))
    async with Runner({"c": [sys.executable, "-c", escapee]}, launcher=launcher) as runner:
        with anyio.fail_after(30):
            messages = await messages_of(runner)
    lines = [message for message in messages if isinstance(message, Line)]
    try:
        assert len(lines) == 1
        assert runner.results["c"].exit == Exit(0, None)
    finally:
        if is_alive(int(lines[0].data)):
            os.kill(int(lines[0].data), signal.SIGKILL)


async def test_a_command_that_closed_its_output_runs_until_it_is_killed() -> None:
    """The end of output is not an exit."""
    async with Runner({"c": Command.shell("echo ready; exec >&- 2>&-; exec sleep 9999")}) as runner:
        await first_line(runner, "c")
        assert runner["c"].state == "running"
        runner.kill()
    assert runner.results["c"].exit == Exit(None, signal.SIGTERM, stopped=True)


async def test_a_suspended_command_is_continued_to_receive_its_stop_signal() -> None:
    """SIGCONT follows SIGTERM, so a suspended process ends before its grace is over."""
    async with Runner(
        {"c": Command.shell("echo ready; kill -STOP $$; echo on")}, grace=LONG
    ) as runner:
        await first_line(runner, "c")
        with anyio.fail_after(30):
            runner.kill()
            await runner.join()
    assert runner.results["c"].exit == Exit(None, signal.SIGTERM, stopped=True)


async def test_stop_signal_is_sent_first() -> None:
    """The command's stop_signal asks the group to stop; any exit after that is a stop."""
    script = "trap 'echo bye; exit 0' INT; echo ready; while :; do sleep 0.01; done"
    async with Runner({"c": Command.shell(script, stop_signal=signal.SIGINT)}) as runner:
        await first_line(runner, "c")
        runner.kill()
        messages = await messages_of(runner)
    assert any(isinstance(message, Line) and message.text == "bye" for message in messages)
    assert runner.results["c"].exit == Exit(0, None, stopped=True)
    assert runner.results["c"].status == "stopped"


async def test_the_output_of_a_command_that_is_being_stopped_is_not_lost() -> None:
    """Lines that a command writes while it is being stopped arrive in full, before its Exited."""
    script = "trap 'seq 100000; exit 0' TERM; echo ready; while :; do sleep 0.01; done"
    async with Runner({"c": Command.shell(script)}, grace=LONG) as runner:
        await first_line(runner, "c")
        runner.kill()
        messages = await messages_of(runner)
    output = [m.data for m in messages if isinstance(m, Line) and m.stream == "stdout"]
    assert output == [b"%d" % number for number in range(1, 100_001)]
    assert isinstance(messages[-1], Exited)


async def test_a_kill_stops_all_commands_at_the_same_time() -> None:
    """The kill takes as long as the slowest command, not the sum of all."""
    launcher = FakeLauncher(default=Script(exit=None, ignores={signal.SIGTERM}))
    async with Runner([f"c{n}" for n in range(200)], launcher=launcher, grace=0.5) as runner:
        await anyio.wait_all_tasks_blocked()
        began = anyio.current_time()
        runner.kill()
        await runner.join()
        assert anyio.current_time() - began < 0.5 * 200 / 10
    assert all(process.signals[-1] == signal.SIGKILL for process in launcher.launched)


async def test_no_process_is_started_after_a_kill() -> None:
    """A command that is queued, or started after the kill, ends as stopped without a process."""
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


async def test_a_kill_during_a_start_ends_the_start_or_the_process() -> None:
    """The kill cancels the start, or ends the process as soon as the start is complete."""
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
    """Job.kill ends a queued job without a start; the other jobs keep their places."""
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
    """The barrier is public: throwing it stops all commands, including queued ones."""
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
async def test_kill_others_on_selects_the_end_that_stops_the_others(
    kill_others_on: str | None, code: int, killed: bool
) -> None:
    """A final end of the selected kind throws the barrier; any other end does not."""
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


async def test_a_failing_exit_stops_the_others_before_its_output_has_ended() -> None:
    """The barrier is thrown as soon as the exit is known; here, output cannot end before that."""
    script = "sleep 9999 & exit 3"
    async with Runner(
        {"bad": Command.shell("trap '' TERM; " + script, grace=LONG), "other": FOREVER},
        kill_others_on="failure",
    ) as runner:
        with anyio.fail_after(30):
            assert (await runner["other"].wait()).status == "stopped"
        assert runner.barrier.reason == "'bad' ended: exit code 3"
        runner.kill()
        runner.kill()
    assert runner.results["bad"].exit == Exit(3, None)


async def test_kill_others_on_waits_for_the_final_end() -> None:
    """Under a restart policy, only the last failure stops the others."""
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


async def test_a_command_that_cannot_start_stops_the_others() -> None:
    """A final failure to start throws the barrier, as a failing exit does."""
    launcher = FakeLauncher({"bad": Script(error="no such thing"), "other": Script(exit=None)})
    async with Runner(["bad", "other"], launcher=launcher, kill_others_on="failure") as runner:
        with anyio.fail_after(30):
            await runner.join()
    assert runner.results["bad"].status == "failed"
    assert runner.barrier.reason == "cannot start 'bad': no such thing"


async def test_a_process_that_survives_sigkill_does_not_hang_the_runner() -> None:
    """The wait is bounded, and the result has an error that mentions SIGKILL."""
    immortal = Script(exit=None, ignores={signal.SIGTERM, signal.SIGKILL})
    launcher = FakeLauncher({"d": immortal}, _limits=ShutdownLimits(reap=0.05))
    async with Runner(["d"], launcher=launcher, grace=0) as runner:
        await runner["d"].until_started()
        runner.kill()
        with anyio.fail_after(30):
            result: Result = await runner["d"].wait()
    assert result.status == "failed"
    assert result.exit is None
    assert "SIGKILL" in str(result.error)


async def test_a_process_that_survives_sigkill_stops_the_others() -> None:
    """The command has failed, and the message Aborted takes the place of Exited."""
    limits = ShutdownLimits(reap=0.05)
    immortal = Script(exit=None, ignores={signal.SIGTERM, signal.SIGKILL})
    launcher = FakeLauncher({"d": immortal}, Script(exit=None), _limits=limits)
    with anyio.fail_after(30):
        async with Runner(
            ["d", "other"], launcher=launcher, grace=0, kill_others_on="failure"
        ) as runner:
            await runner["d"].until_started()
            runner["d"].kill()
            messages = await messages_of(runner)
    assert {name: result.status for name, result in runner.results.items()} == {
        "d": "failed",
        "other": "stopped",
    }
    assert [type(message) for message in messages if message.command == "d"] == [Started, Aborted]


async def test_stops_that_race_with_exits_raise_no_error() -> None:
    """Each of 1,000 commands ends as either succeeded or stopped."""
    async with Runner(max_processes=50) as runner:
        for number in range(1000):
            runner.start_soon(Command(["true"], name=str(number)))
        async for message in runner.batches():
            if isinstance(message, Started):
                runner[message.command].kill()
    assert {result.status for result in runner.results.values()} <= {"succeeded", "stopped"}
    assert len(runner.results) == 1000


async def test_an_escapee_that_holds_stdin_open_does_not_block_the_runner() -> None:
    """Unread bytes for stdin are dropped when the group is gone."""
    escapee = (
        "import os, time\n"
        "away, tell = os.pipe()\n"
        "if os.fork(): os.read(away, 1); os._exit(0)\n"
        "os.setsid(); os.close(1); os.close(2)\n"
        "os.write(tell, b'.')\n"
        "time.sleep(9999)\n"
    )
    command = Command([sys.executable, "-c", escapee], stdin=b"x" * 1_000_000)
    with anyio.fail_after(30):
        async with Runner({"c": command}) as runner:
            await runner["c"].wait()
    assert runner.results["c"].exit == Exit(0, None)


async def test_a_process_that_survives_sigkill_is_not_restarted() -> None:
    """No second process is started next to it, neither by restart() nor by the policy."""
    immortal = Script(exit=None, ignores={signal.SIGTERM, signal.SIGKILL})
    launcher = FakeLauncher({"d": immortal}, _limits=ShutdownLimits(reap=0.05))
    async with Runner(["d"], launcher=launcher, grace=0, restart="always") as runner:
        await runner["d"].until_started()
        with anyio.fail_after(30), pytest.raises(JobEndedError):
            await runner["d"].restart()
    assert len(launcher.launched) == 1
    assert "SIGKILL" in str(runner.results["d"].error)


async def test_hurrying_a_command_that_is_not_stopping_does_nothing() -> None:
    """Only the grace of a stop that has begun can be skipped."""
    launcher = FakeLauncher({"c": Script(exit=None)})
    async with Runner(["c"], launcher=launcher) as runner:
        await runner["c"].until_started()
        runner["c"]._life.hurry()
        await anyio.wait_all_tasks_blocked()
        assert launcher["c"].running
        runner.kill()


async def test_a_host_program_that_ignores_sigchld_is_rejected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If SIGCHLD is ignored, the system forgets how children exit: entering raises an error."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with pytest.raises(CurrantError, match="SIGCHLD"):
            async with Runner(["true"]):
                pytest.fail("the body was entered")
    finally:
        signal.signal(signal.SIGCHLD, before)


async def test_a_process_that_is_gone_has_no_pid_however_slow_its_reader_is(
    lifeline: Lifeline,
) -> None:
    """Job.pid is None as soon as the group is gone: another process may have that PID by then."""
    # The output is larger than the pipe (64 KiB).  So when the command has written all of it, the
    # Runner has read a part, and that part fills the channel.
    script = f"{lifeline.hold('c')}; seq 13000; {lifeline.say('written')}; exec sleep 9999"
    async with Runner({"c": Command.shell(script)}, buffer_size=1) as runner:
        reader = aiter(runner.batches())
        assert isinstance(await anext(reader), Started)
        await anyio.to_thread.run_sync(lifeline.wait_for, "written")
        runner.kill()
        with anyio.fail_after(30):
            while runner["c"].pid is not None:  # noqa: ASYNC110 - no event reports this
                await anyio.sleep(0.001)
        assert not await runner["c"].send_signal(0)
        assert runner["c"].result is None
        async for _ in reader:
            pass
