"""`leftovers`: the processes that a leader leaves behind are stopped, waited for, or left alone."""

from __future__ import annotations

import os
import subprocess
import sys
from math import inf
from signal import SIGKILL, SIGTERM
from typing import TYPE_CHECKING, Any

import pytest
from anyio import fail_after, to_thread, wait_all_tasks_blocked

import currant
from currant import Command, CommandError, Exit, RestartPolicy, Runner, ready, run_process
from currant.testing import FakeLauncher, Script
from tests.system import needs_proc
from tests.waiting import EXEC_FOREVER, FOREVER, HOURS, LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from currant._values.launch_spec import Leftovers
    from tests.lifeline import Gate, Lifeline

pytestmark = pytest.mark.anyio


# ---- wait ----


async def test_attempt_lasts_until_its_last_process_has_written(gate: Gate) -> None:
    """The leader exits first; the output of its child is complete."""
    line = f"({gate.wait}; echo late) & echo done"
    async with Runner({"c": Command.shell(line, leftovers="wait", capture=True)}) as runner:
        async for message in runner.batches():
            if isinstance(message, currant.Batch) and message.data == b"done\n":
                assert runner["c"].state == "running"
                gate.open()
    result = runner.results["c"]
    assert (result.status, result.stdout) == ("succeeded", b"done\nlate\n")


async def test_waiting_ends_with_a_kill(lifeline: Lifeline) -> None:
    """The leftover is stopped; the command counts as stopped, though its leader succeeded."""
    line = f"{lifeline.hold('tree')}; {FOREVER} & exit 0"
    with fail_after(LIMIT):
        async with Runner({"c": Command.shell(line)}, leftovers="wait") as runner:
            await to_thread.run_sync(lifeline.wait_for, "tree")
            runner.kill()
    assert lifeline.ended() == {"tree"}
    assert runner.results["c"].status == "stopped"


async def test_waiting_ends_with_the_time_limit(lifeline: Lifeline) -> None:
    """The leader has exited long before, and the attempt has failed nevertheless."""
    line = f"{lifeline.hold('tree')}; {FOREVER} & exit 0"
    with fail_after(LIMIT):
        result = await run_process(["sh", "-c", line], leftovers="wait", timeout=0.3, check=False)
    assert result.status == "failed"
    assert "time limit" in str(result.error)
    assert lifeline.ended() <= {"tree"}  # A slow machine may not have come so far.


async def test_failed_leader_stays_failed_after_a_kill() -> None:
    """The kill only stopped what the leader had left behind."""
    fake = FakeLauncher({"c": Script(exit=3, leftovers=inf)})
    with fail_after(LIMIT):
        async with Runner({"c": "c"}, leftovers="wait", launcher=fake) as runner:
            await runner["c"].until_started()
            await fake["c"].wait()
            runner.kill()
    assert (runner.results["c"].status, fake["c"].signals[0]) == ("failed", SIGTERM)


async def test_stop_command_runs_for_what_the_leader_has_left(tmp_path: Path) -> None:
    """The leader has exited long before, as that of a server that goes to the background."""
    stop = Command.shell("touch asked; exit 1", cwd=tmp_path)
    command = Command.shell(f"{FOREVER} & exit 0", name="c", leftovers="wait", stop_command=stop)
    with fail_after(LIMIT):
        async with Runner([command]) as runner:
            await runner["c"].until_started()
            process = runner["c"]._life.attempt.process
            assert process is not None
            await process.wait()
            runner.kill()
    assert (tmp_path / "asked").exists()


async def test_restart_comes_after_the_leftovers() -> None:
    """Two attempts never overlap."""
    fake = FakeLauncher({"c": [Script(exit=1, leftovers=0.05), Script(exit=0)]})
    policy = RestartPolicy("on-failure", delay=0)
    with fail_after(LIMIT):
        async with Runner({"c": Command(["c"], restart=policy)}, leftovers="wait", launcher=fake):
            pass
    assert [process.signals for process in fake.launched] == [[], []]


# ---- leave ----


class Daemons:
    """Daemons that commands have left behind; all are killed at the end."""

    def __init__(self, folder: Path, lifeline: Lifeline) -> None:
        self._fifo = folder / "pid"
        os.mkfifo(self._fifo)
        self._lifeline = lifeline
        self._pids: list[int] = []

    def start(self, prefix: str = "") -> str:
        """Return shell code that starts a daemon, and prints its pid when it runs.

        `prefix` is a program that starts the daemon, such as setsid.
        """
        daemon = f"{prefix} sh -c 'echo $$ >{self._fifo}; {EXEC_FOREVER}' <&- >&- 2>&- &"
        return f"{self._lifeline.hold('tree')}; {daemon} read pid <{self._fifo}; echo $pid"

    def note(self, result: currant.Result) -> None:
        """Take the pid from the output of the command."""
        assert result.stdout is not None
        self._pids.append(int(result.stdout))

    def are_alive(self) -> bool:
        """Return whether a process of the commands still runs."""
        try:
            self._lifeline.ended()
        except AssertionError:
            return True
        return False

    def kill(self) -> None:
        """End them."""
        for pid in self._pids:
            os.kill(pid, SIGKILL)


@pytest.fixture
def daemons(tmp_path: Path, lifeline: Lifeline) -> Iterator[Daemons]:
    """What starts daemons."""
    daemons = Daemons(tmp_path, lifeline)
    yield daemons
    daemons.kill()


@pytest.mark.parametrize("prefix", ["", "setsid"])
async def test_daemon_lives_on_after_a_success(prefix: str, daemons: Daemons) -> None:
    """It is neither stopped nor searched for, whether it left the group or not."""
    command = Command.shell(daemons.start(prefix), name="c", leftovers="leave")
    with fail_after(LIMIT):
        async with Runner([command], capture=True) as runner:
            result = await runner["c"].wait()
            daemons.note(result)
            assert daemons.are_alive()
            assert (await runner.start("true")).name == "true"
            runner.kill()
    assert result.status == "succeeded"
    assert daemons.are_alive()


async def test_daemon_of_an_earlier_attempt_lives_on(daemons: Daemons) -> None:
    """A restart sweeps the escapees of other commands only."""
    command = Command.shell(daemons.start("setsid"), name="c", leftovers="leave", capture=True)
    with fail_after(LIMIT):
        async with Runner([command], on_exit="stop") as runner:
            daemons.note(await runner["c"].wait())
            await runner["c"].restart()
            daemons.note(await runner["c"].wait())
    daemons.kill()
    daemons._pids.clear()


async def test_output_that_a_daemon_holds_delays_nothing(daemons: Daemons) -> None:
    """What came before the exit is read; then the pipe is closed."""
    line = daemons.start().replace("<&- >&- 2>&-", "<&- 2>&-")
    with fail_after(LIMIT):
        result = await run_process(["sh", "-c", line], leftovers="leave")
    daemons.note(result)
    assert daemons.are_alive()


@pytest.mark.parametrize("end", ["exit 3", EXEC_FOREVER])
async def test_failure_and_kill_stop_the_group(
    end: str, daemons: Daemons, lifeline: Lifeline
) -> None:
    """Only a success leaves something behind."""
    line = f"{daemons.start()}; {lifeline.say('started')}; {end}"
    with fail_after(LIMIT):
        async with Runner({"c": Command.shell(line)}, leftovers="leave") as runner:
            await to_thread.run_sync(lifeline.wait_for, "started")
            if end == EXEC_FOREVER:
                runner.kill()
    assert runner.results["c"].status in ("failed", "stopped")
    assert not daemons.are_alive()


HOST = """
import sys
import anyio
import currant

async def main():
    command = currant.Command.shell(sys.argv[1], leftovers="leave", capture=True)
    async with currant.Runner({"c": command}, keep_open=True) as runner:
        print((await runner["c"].wait()).stdout.decode(), flush=True)

anyio.run(main)
"""


@needs_proc
@pytest.mark.parametrize("prefix", ["", "setsid"])
def test_guard_does_not_know_what_was_left(prefix: str, daemons: Daemons) -> None:
    """The daemon outlives a host that is killed with SIGKILL."""
    argv = [sys.executable, "-c", HOST, daemons.start(prefix)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as host:
        assert host.stdout is not None
        daemons._pids.append(int(host.stdout.readline()))
        host.kill()
        host.stdout.read()  # The guard holds no copy of it.
    assert daemons.are_alive()


# ---- in all modes ----


@pytest.mark.parametrize(
    ("leftovers", "signals", "was_left"),
    [("stop", [SIGTERM], False), ("wait", [], False), ("leave", [], True)],
)
async def test_fake_process_shows_what_happened_to_its_leftovers(
    leftovers: Leftovers, signals: list[int], was_left: bool
) -> None:
    """`Script.leftovers` plays a process of the group that outlives the leader."""
    fake = FakeLauncher({"c": Script(leftovers=0.05 if leftovers == "wait" else HOURS)})
    with fail_after(LIMIT):
        async with Runner({"c": "c"}, leftovers=leftovers, launcher=fake) as runner:
            pass
    assert runner.results["c"].exit == Exit(0, None)
    assert (fake["c"].signals, fake["c"].was_left) == (signals, was_left)


async def test_command_overrides_the_runner(gate: Gate) -> None:
    """As for every policy."""
    line = f"({gate.wait}; echo late) & echo done"
    commands = {"a": Command.shell(line), "b": Command.shell("exit 0", leftovers="leave")}
    async with Runner(commands, leftovers="wait", capture=True) as runner:
        await runner["b"].wait()
        gate.open()
    assert runner.results["a"].stdout == b"done\nlate\n"


def test_wrong_value_is_an_error_when_built() -> None:
    """It names the option, and the command if it is the command's."""
    wrong: Any = "keep"
    with pytest.raises(CommandError, match="command 'a': leftovers must be 'stop', 'wait' or"):
        Command(["a"], leftovers=wrong)
    with pytest.raises(CommandError, match="leftovers must be 'stop', 'wait' or 'leave', not"):
        Runner(leftovers=wrong)
    with pytest.raises(CommandError, match=r"Runner's own .* leftovers cannot be None"):
        Runner(leftovers=None)  # type: ignore[arg-type]
    with pytest.raises(CommandError, match="command 'a': leftovers cannot be 'leave' if pty"):
        Command(["a"], leftovers="leave", pty=True)


async def test_daemon_lives_on_if_the_last_output_decides() -> None:
    """With `max_output` or a readiness line, the status is known only after the exit."""
    fake = FakeLauncher({"c": Script(stdout=b"up\n", leftovers=HOURS)})
    limited = Command(["c"], leftovers="leave", max_output=100)
    probed = Command(["c"], leftovers="leave", ready=ready.line("up"))
    with fail_after(LIMIT):
        for command in (limited, probed):
            assert (await run_process(command, launcher=fake)).status == "succeeded"
    assert [process.signals for process in fake.launched] == [[], []]


async def test_failure_in_the_last_output_stops_the_group() -> None:
    """The command has written too much, whatever its exit code."""
    fake = FakeLauncher({"c": Script(stdout=b"too much", leftovers=HOURS)})
    command = Command(["c"], leftovers="leave", max_output=1)
    with fail_after(LIMIT):
        result = await run_process(command, launcher=fake, check=False)
    assert result.status == "failed"
    assert fake["c"].signals[0] == SIGTERM


async def test_exit_says_that_a_command_was_stopped_while_it_waited() -> None:
    """The leader had exited before; status and exit agree."""
    fake = FakeLauncher({"c": Script(leftovers=HOURS)})
    with fail_after(LIMIT):
        async with Runner({"c": "c"}, leftovers="wait", launcher=fake) as runner:
            await runner["c"].until_started()
            await fake["c"].wait()
            await wait_all_tasks_blocked()
            runner.kill()
    assert runner.results["c"].exit == Exit(0, None, stopped=True)


def test_terminal_cannot_be_left_by_default_either() -> None:
    """The Runner's default is checked for each command."""
    with pytest.raises(CommandError, match="command 'a': leftovers cannot be 'leave' if pty"):
        Runner([Command(["a"], pty=True)], leftovers="leave")
