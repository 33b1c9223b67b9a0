"""Escapees: a process that leaves its group is found by its environment, and ended like the rest.

Each process of a test holds a lifeline, whose end proves that no process is left.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from math import inf
from pathlib import Path
from signal import SIGKILL, SIGTERM, SIGUSR1
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio import fail_after, to_thread
from anyio.lowlevel import checkpoint

from currant import (
    CannotStopError,
    Command,
    Exit,
    JobEndedError,
    Line,
    LocalLauncher,
    RestartPolicy,
    Runner,
    Started,
)
from currant._process import escapees as _escapees
from currant._process.escapees import Escapees
from currant._process.stop import StopSpec
from currant._system import proc
from currant._system.groups import ProcessGroup
from currant._system.marks import command_of, mark
from currant._values.shutdown_limits import ShutdownLimits
from currant.testing import FakeLauncher, Script
from tests.headless import headless
from tests.lifeline import Gate
from tests.reading import first_line, messages_of, read_until
from tests.system import hide_proc
from tests.waiting import HOURS, LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.kills import Kills
    from tests.lifeline import Lifeline

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(
        not proc.has_proc(), reason="only Linux shows the environment of other processes, in /proc"
    ),
]

ROOT = Path(__file__).parents[1]
AT_ONCE = RestartPolicy("on-failure", delay=0)


STAYS = "echo out >&9; exec sleep 9999"
IGNORES = f"trap '' TERM; {STAYS}"


def escaping(lifeline: Lifeline, gate: Gate, body: str = STAYS, rest: str = "exit 0") -> Command:
    """Return a command that starts `body` in another session, without a file of ours.

    Args:
        lifeline: the lifeline that all processes hold; the escapee has to say ``out`` there.
        gate: the gate at which the leader waits before `rest`, so that it does not exit first.
        body: the escapee's program: Python if it imports a module, else shell.
        rest: the leader's last shell command.
    """
    shell = "setsid sh" if not body.startswith("import") else f"{sys.executable} -IS"
    script = f'{lifeline.hold("leader")}; {shell} -c "$BODY" <&- >&- 2>&- & {gate.wait}; {rest}'
    return Command.shell(script, name="c", env={"BODY": body})


def daemon(lifeline: Lifeline, gate: Gate) -> Command:
    """Return a command that starts a daemon: two forks, with a new session in between."""
    daemon = f"setsid sh -c '({STAYS}) & exit 0' <&- >&- 2>&-"
    return Command.shell(f"{lifeline.hold('leader')}; {daemon}; {gate.wait}", name="c")


async def until_out(lifeline: Lifeline, gate: Gate) -> None:
    """Wait until the escapee has left its group, then let the leader go on."""
    await to_thread.run_sync(lifeline.wait_for, "out")
    gate.open()


async def test_escapee_whose_exec_ends_between_two_looks_is_found(
    lifeline: Lifeline, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process without an environment, but with arguments by now, is looked at again."""
    missed: set[int] = set()

    def environment_of(pid: int) -> bytes | None:
        environment = proc.environment_of(pid)
        if not environment or pid in missed:
            return environment
        missed.add(pid)
        return b""

    monkeypatch.setattr(_escapees, "environment_of", environment_of)
    with fail_after(LIMIT):
        async with Runner([daemon(lifeline, gate)]) as runner:
            await until_out(lifeline, gate)
    assert lifeline.ended() == {"leader", "out"}
    assert runner.results.ok


# ---- the mark ----


def test_mark_names_the_run_the_command_and_the_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable reads <run>/<command>/<attempt>."""
    monkeypatch.delenv("CURRANT_ID", raising=False)
    assert mark("f00", "web", 2) == "f00/web/2"
    assert mark("f00", "web#2", 1) == "f00/web#2/1"


def test_mark_is_appended_to_the_mark_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside another Runner there are two marks, so that the outer Runner finds the process."""
    monkeypatch.setenv("CURRANT_ID", "outer/host/1")
    assert mark("f00", "web", 2) == "outer/host/1:f00/web/2"


@pytest.mark.parametrize("name", ["a/b", "a:b", "ü", "a b\n", os.fsdecode(b"\xff"), "%2F", "."])
def test_name_of_any_kind_is_read_back_from_its_mark(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name may contain the separators of a mark."""
    monkeypatch.setenv("CURRANT_ID", "outer/host/1")
    environment = b"A=f00/x/1\0CURRANT_ID=" + os.fsencode(mark("f00", name, 1)) + b"\0B=1\0"
    assert command_of(environment, "f00") == name
    assert command_of(environment, "f") is None


async def test_each_attempt_has_a_mark_in_its_environment() -> None:
    """CURRANT_ID shows a command its name and attempt; the run is the same for all commands."""
    command = Command.shell('echo "$CURRANT_ID"; exit 1', env={"CURRANT_ID": "mine"})
    policy = RestartPolicy("on-failure", delay=0, max_restarts=1)
    async with Runner({"a/b": command, "c": command}, restart=policy) as runner:
        messages = await messages_of(runner)
    lines = [message.text for message in messages if isinstance(message, Line)]
    runs, names, attempts = zip(*(line.rsplit("/", 2) for line in lines), strict=True)
    assert len(set(runs)) == 1
    assert sorted(zip(names, attempts, strict=True)) == [
        ("a%2Fb", "1"),
        ("a%2Fb", "2"),
        ("c", "1"),
        ("c", "2"),
    ]


# ---- the end of the Runner ----


@pytest.mark.parametrize("escape", [escaping, daemon])
async def test_escapee_does_not_outlive_the_block(
    escape: Callable[[Lifeline, Gate], Command], lifeline: Lifeline, gate: Gate
) -> None:
    """A process that left its group by setsid or a double fork ends before the block does."""
    with fail_after(LIMIT):
        async with Runner([escape(lifeline, gate)]) as runner:
            await until_out(lifeline, gate)
    assert lifeline.ended() == {"leader", "out"}
    assert runner.results["c"].status == "succeeded"


@pytest.mark.parametrize("escape", [escaping, daemon])
async def test_escapee_of_an_old_run_does_not_outlive_the_block(
    monkeypatch: pytest.MonkeyPatch,
    escape: Callable[[Lifeline, Gate], Command],
    lifeline: Lifeline,
    gate: Gate,
) -> None:
    """After a while an escapee may have any number, since the numbers begin again."""
    monkeypatch.setattr(_escapees, "YOUNG", 0.0)
    with fail_after(LIMIT):
        async with Runner([escape(lifeline, gate)]):
            await until_out(lifeline, gate)
    assert lifeline.ended() == {"leader", "out"}


@pytest.mark.parametrize("way", ["kill", "exception", "cancellation"])
async def test_escapee_does_not_outlive_a_block_that_is_left_early(
    way: str, lifeline: Lifeline, gate: Gate
) -> None:
    """Each way of leaving the block ends the escapees too."""
    with fail_after(LIMIT), anyio.CancelScope() as scope, suppress(LookupError):
        async with Runner([escaping(lifeline, gate, rest="exec sleep 9999")]) as runner:
            await until_out(lifeline, gate)
            match way:
                case "kill":
                    runner.kill()
                case "exception":
                    raise LookupError
                case _:
                    scope.cancel()
                    await anyio.sleep_forever()
    assert lifeline.ended() == {"leader", "out"}
    assert runner.results["c"].status == "stopped"


async def test_escapee_gets_the_stop_signal_of_its_command(lifeline: Lifeline, gate: Gate) -> None:
    """It can handle the signal and clean up."""
    # Not a `read`: dash misses a signal that comes right before the system call.
    loop = "while :; do sleep 0.01; done"
    body = f"trap 'echo bye >&9; exit' USR1; echo out >&9; {loop}"
    command = replace(escaping(lifeline, gate, body), stop_signal=SIGUSR1, grace=HOURS)
    with fail_after(LIMIT):
        async with Runner([command]):
            await until_out(lifeline, gate)
    assert lifeline.ended() == {"leader", "out", "bye"}


async def test_escapee_that_ignores_the_signal_is_killed_after_the_grace(
    lifeline: Lifeline, gate: Gate
) -> None:
    """The grace is the command's, and starts with the stop signal."""
    with fail_after(LIMIT):
        async with Runner([escaping(lifeline, gate, IGNORES)], grace=0.2) as runner:
            await until_out(lifeline, gate)
            await runner["c"].wait()
            began = anyio.current_time()
    assert lifeline.ended() == {"leader", "out"}
    # To the hundredth: uvloop's clock counts milliseconds, and floats do not add up.
    assert round(anyio.current_time() - began, 2) >= 0.2


async def test_second_kill_skips_the_grace_of_an_escapee(
    lifeline: Lifeline, gate: Gate, kills: Kills
) -> None:
    """A second kill affects all processes that are left."""
    with fail_after(LIMIT):
        async with anyio.create_task_group() as tasks:

            async def hurry() -> None:
                while not kills.any(SIGTERM):
                    await checkpoint()
                runner.kill()
                runner.kill()

            async with Runner([escaping(lifeline, gate, IGNORES)], grace=HOURS) as runner:
                await until_out(lifeline, gate)
                tasks.start_soon(hurry)
    assert lifeline.ended() == {"leader", "out"}


async def test_process_started_by_a_stopping_escapee_is_found(
    lifeline: Lifeline, gate: Gate
) -> None:
    """An escapee that forks when it gets the stop signal does not save its child."""
    body = """import os, signal
def again(*_):
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # until the child has written
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.setsid()
        os.write(9, b"second\\n")
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        signal.pause()
    os._exit(0)
signal.signal(signal.SIGTERM, again)
os.setsid()
os.write(9, b"out\\n")
while True:
    signal.pause()
"""
    with fail_after(LIMIT):
        async with Runner([escaping(lifeline, gate, body)], grace=LIMIT / 2):
            await until_out(lifeline, gate)
    assert lifeline.ended() == {"leader", "out", "second"}


async def test_endless_chain_of_escapees_is_broken(lifeline: Lifeline, gate: Gate) -> None:
    """Each process in the chain starts the next in another session, and exits soon."""
    body = """import os, time
os.setsid()
os.write(9, b"out\\n")
while True:
    if os.fork():
        os._exit(0)
    os.setsid()
    time.sleep(0.02)
"""
    with fail_after(LIMIT):
        async with Runner([escaping(lifeline, gate, body)], grace=0.2):
            await until_out(lifeline, gate)
    assert lifeline.ended() == {"leader", "out"}


async def test_escapee_that_holds_the_output_does_not_block_join(
    lifeline: Lifeline, gate: Gate
) -> None:
    """join returns, and output that was written before is delivered."""
    script = f"{lifeline.hold('leader')}; setsid sh -c '{STAYS}' & {gate.wait}; echo hi; exit 3"
    command = Command.shell(script, name="c")
    launcher = LocalLauncher(_limits=ShutdownLimits(drain=0.05))
    with fail_after(LIMIT):
        async with Runner([command], capture=True, launcher=launcher) as runner:
            await until_out(lifeline, gate)
            results = await runner.join()
            assert results["c"].stdout == b"hi\n"
            assert results["c"].exit == Exit(3, None)
    assert lifeline.ended() == {"leader", "out"}


@pytest.mark.parametrize("escapes", [False, True])
async def test_escapee_without_its_first_thread_is_ended(lifeline: Lifeline, escapes: bool) -> None:
    """It looks like a zombie without an environment, but its other threads still run."""
    command = Command.shell(f"{lifeline.hold('a')}; {headless(escapes=escapes)}", name="c")
    with fail_after(LIMIT):
        async with Runner([command], grace=0.3) as runner:
            await to_thread.run_sync(lifeline.wait_for, "headless")
            runner.kill()
    assert lifeline.ended() == {"a", "headless"}
    assert runner.results["c"].status == "stopped"


async def test_outer_runner_finds_processes_of_an_inner_runner(
    lifeline: Lifeline,
) -> None:
    """A command that runs commands itself leaves none, even after SIGKILL."""
    line = f"{lifeline.hold('out')}; exec sleep 9999"
    program = f"""
import anyio
from currant import Command, Runner
async def main():
    async with Runner([Command.shell({line!r})], orphan_guard=False):
        await anyio.sleep_forever()
anyio.run(main)
"""
    script = f'{lifeline.hold("host")}; exec "$PYTHON" -c "$PROGRAM"'
    env = {"PYTHON": sys.executable, "PROGRAM": program, "PYTHONPATH": str(ROOT)}
    command = Command.shell(script, env=env, stop_signal=SIGKILL)
    with fail_after(LIMIT):
        async with Runner({"c": command}) as runner:
            await to_thread.run_sync(lifeline.wait_for, "out")
            runner.kill()
    assert lifeline.ended() == {"host", "out"}


async def test_kill_with_a_deaf_escapee_takes_one_grace(lifeline: Lifeline, gate: Gate) -> None:
    """Escapees get the rest of the grace, so that graces do not add up."""
    deaf = escaping(lifeline, gate, IGNORES, "trap '' TERM; echo ready; while :; do sleep 9; done")
    with fail_after(LIMIT):
        async with Runner([deaf], grace=1) as runner:
            await until_out(lifeline, gate)
            await first_line(runner, "c")
            began = anyio.current_time()
            runner.kill()
            await runner.join()
            joined = anyio.current_time()
    assert lifeline.ended() == {"leader", "out"}
    assert round(joined - began, 2) >= 1


async def test_command_may_end_its_escapees_itself(lifeline: Lifeline, tmp_path: Path) -> None:
    """PostgreSQL does so: its processes get no signal from us before it is gone."""
    with Gate(tmp_path / "up") as up, Gate(tmp_path / "asked") as asked:
        escapee = f"trap 'echo interfered >&9' TERM; echo out >&9; {asked.wait}; echo bye >&9"
        leader = (
            f'setsid sh -c "$BODY" & trap "echo >{asked.path}; wait; exit 0" TERM; {up.wait}; wait'
        )
        command = Command.shell(f"{lifeline.hold('leader')}; {leader}", env={"BODY": escapee})
        with fail_after(LIMIT):
            async with Runner({"c": command}, grace=HOURS) as runner:
                await until_out(lifeline, up)
                runner.kill()
    assert lifeline.ended() == {"leader", "out", "bye"}
    assert runner.results["c"].exit == Exit(0, None, stopped=True)


async def test_escapee_that_holds_the_output_does_not_delay_a_kill(
    lifeline: Lifeline, gate: Gate
) -> None:
    """If output goes on after the group is gone, escapees are searched for at once."""
    launcher = LocalLauncher(_limits=ShutdownLimits(drain=HOURS))
    script = f"{lifeline.hold('leader')}; setsid sh -c '{STAYS}' & {gate.wait}; exec sleep 9999"
    with fail_after(LIMIT):
        async with Runner({"c": Command.shell(script)}, grace=HOURS, launcher=launcher) as runner:
            await until_out(lifeline, gate)
            runner.kill()
    assert lifeline.ended() == {"leader", "out"}
    assert runner.results["c"].status == "stopped"


async def test_escapee_that_holds_the_output_does_not_delay_a_restart(
    lifeline: Lifeline, gate: Gate
) -> None:
    """The same for a restart by hand."""
    launcher = LocalLauncher(_limits=ShutdownLimits(drain=HOURS))
    first = f"{lifeline.hold('leader')}; setsid sh -c '{STAYS}' & {gate.wait}; exec sleep 9999"
    script = f'case "$CURRANT_ID" in */2) exec sleep 9999;; esac; {first}'
    with fail_after(LIMIT):
        async with Runner(grace=HOURS, launcher=launcher) as runner:
            job = await runner.start(Command.shell(script, name="c"))
            await until_out(lifeline, gate)
            await job.restart()
            assert lifeline.ended() == {"leader", "out"}
            runner.kill()
    assert runner.results["c"].attempts == 2


class TestOnTheClock:
    """When a Runner has its launcher sweep, to the second: the clock is trio's, and jumps."""

    @pytest.fixture
    def anyio_backend(self) -> object:
        """An event loop whose clock jumps to the next thing to do."""
        trio_testing = pytest.importorskip("trio.testing")
        return "trio", {"clock": trio_testing.MockClock(autojump_threshold=0)}

    async def test_kill_sweeps_twice(self) -> None:
        """A kill sweeps after half of the grace, and with the rest of the grace at the end."""
        launcher = Sweeping({"deaf": Script(exit=None, ignores={SIGTERM})})
        async with Runner(["deaf", "c"], launcher=launcher, grace=10) as runner:
            await runner["c"].wait()
            runner.kill()
        assert launcher.sweeps == [(5, None, 5), (10, None, 0.2)]

    async def test_final_sweep_gets_the_rest_of_the_grace(self) -> None:
        """If all commands obey, that is nearly the whole grace."""
        launcher = Sweeping({"slow": Script(exit=0, after=3, ignores={SIGTERM})})
        async with Runner(["slow"], launcher=launcher, grace=10) as runner:
            await runner["slow"].until_started()
            runner.kill()
        assert launcher.sweeps == [(3, None, 7)]

    async def test_second_kill_sweeps_without_grace(self) -> None:
        """The sweep after half of the grace happens at once, and the last sweep has no grace."""
        launcher = Sweeping({"deaf": Script(exit=None, ignores={SIGTERM})})
        async with Runner(["deaf"], launcher=launcher, grace=10) as runner:
            await runner["deaf"].until_started()
            runner.kill()
            await anyio.sleep(1)
            runner.kill()
        assert launcher.sweeps == [(1, None, 0), (1, None, 0)]

    async def test_escapees_have_their_whole_grace_without_a_kill(self) -> None:
        """A block that ends by itself sets no bound."""
        launcher = Sweeping()
        async with Runner(["c"], launcher=launcher, grace=10):
            pass
        assert launcher.sweeps == [(0, None, inf)]


class Sweeping(FakeLauncher):
    """A launcher that records when it sweeps, and with which grace."""

    def __init__(self, scripts: Mapping[str, Script] | None = None) -> None:
        super().__init__(scripts)
        self.sweeps: list[tuple[float, str | None, float]] = []

    async def sweep(self, name: str | None = None, grace: float = inf) -> None:
        """Record the call."""
        self.sweeps.append((round(anyio.current_time(), 3), name, round(grace, 3)))


# ---- before a restart ----


@pytest.mark.parametrize("by", ["policy", "hand"])
async def test_escapee_is_gone_before_its_command_restarts(
    by: str, lifeline: Lifeline, gate: Gate
) -> None:
    """No process of an attempt is left when the next attempt starts, whatever the reason."""
    rest = "exit 1" if by == "policy" else "exec sleep 9999"
    first = escaping(lifeline, gate, rest=rest)
    # The second attempt does not hold the lifeline, so any holder is left from the first.
    script = f'case "$CURRANT_ID" in */2) echo second; exec sleep 9999;; esac; {first.argv[-1]}'
    command = Command.shell(script, env=first.env, name="c")
    with fail_after(LIMIT):
        async with Runner(restart=AT_ONCE) as runner:
            job = await runner.start(command)
            await until_out(lifeline, gate)
            if by == "hand":
                await job.restart()
            await read_until(runner, ("c", "second"))
            assert lifeline.ended() == {"leader", "out"}
            runner.kill()
    assert runner.results["c"].attempts == 2


async def test_sweep_before_a_restart_leaves_other_commands_alone(
    lifeline: Lifeline, gate: Gate
) -> None:
    """Only escapees of the command that restarts are ended."""
    other = replace(escaping(lifeline, gate, rest="exec sleep 9999"), name="other")
    with fail_after(LIMIT):
        async with Runner([other], grace=HOURS) as runner:
            job = await runner.start(["sleep", "9999"])
            await until_out(lifeline, gate)
            await job.restart()
            with pytest.raises(AssertionError, match="a process still holds the pipe"):
                lifeline.ended()
            assert runner["other"].state == "running"
            runner.kill()
    assert lifeline.ended() == {"leader", "out"}


async def test_kill_does_not_wait_for_the_sweep_before_a_restart(
    lifeline: Lifeline, gate: Gate, kills: Kills
) -> None:
    """A stop beats a restart that waits for an escapee's grace."""
    command = escaping(lifeline, gate, IGNORES, "exit 1")
    with fail_after(LIMIT):
        async with Runner([command], restart=AT_ONCE, grace=HOURS) as runner:
            await until_out(lifeline, gate)
            while not kills.any(SIGTERM):
                await checkpoint()
            assert runner["c"].state == "restarting"
            runner.kill()
            assert (await runner["c"].wait()).status == "stopped"
            runner.kill()
    assert lifeline.ended() == {"leader", "out"}
    assert runner.results["c"].attempts == 1


async def test_escapee_that_cannot_be_ended_prevents_a_restart() -> None:
    """An escapee that outlives SIGKILL makes the command fail for good."""
    swept: list[str | None] = []

    class GivesUpOnce(LocalLauncher):
        async def sweep(self, name: str | None = None, grace: float = inf) -> None:
            swept.append(name)
            if len(swept) == 1:
                raise CannotStopError("c", 4711, 2.0)
            await super().sweep(name, grace)

    with fail_after(LIMIT):
        async with Runner({"c": "sleep 9999"}, launcher=GivesUpOnce()) as runner:
            await runner["c"].until_started()
            with pytest.raises(JobEndedError):
                await runner["c"].restart()
    assert swept[:2] == ["c", None]
    assert runner.results["c"].attempts == 1
    assert runner.results["c"].status == "failed"
    assert "4711" in str(runner.results["c"].error)


async def test_escapee_that_cannot_be_ended_at_the_end_raises(
    lifeline: Lifeline, gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the process that outlived SIGKILL."""
    launcher = LocalLauncher(_limits=ShutdownLimits(reap=0.05))
    monkeypatch.setattr(ProcessGroup, "send", lambda group, *signals: True)
    with Gate(tmp_path / "second gate") as second:
        command = escaping(lifeline, gate, f"echo out >&9; {second.wait}")
        with fail_after(LIMIT), pytest.raises(CannotStopError, match="SIGKILL"):
            async with Runner([command], grace=0, launcher=launcher):
                await until_out(lifeline, gate)
        with pytest.raises(AssertionError, match="a process still holds the pipe"):
            lifeline.ended()
        second.open()
        lifeline.wait_for_end()


# ---- other processes, and the cost of a search ----


async def test_processes_of_other_programs_are_left_alone(
    kills: Kills, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program's process is no escapee, whatever its environment contains."""
    monkeypatch.delenv("CURRANT_ID", raising=False)
    marks = ["deadbeef/c/1", "c/1", "/c/1", ":", "", "deadbeef"]
    others = [
        subprocess.Popen(  # noqa: ASYNC220 - it blocks nothing that is measured
            ["sleep", "9999"], env={"CURRANT_ID": mark}, start_new_session=True
        )
        for mark in marks
    ]
    pids: set[int] = set()
    try:
        async with Runner({"c": "true"}) as runner:
            async for message in runner:
                if isinstance(message, Started):
                    pids.add(message.pid)
        assert {group for group, _ in kills.sent} == pids
        assert [other.poll() for other in others] == [None] * len(marks)
    finally:
        for other in others:
            other.kill()
            other.wait()


async def test_known_groups_are_no_escapees(lifeline: Lifeline, gate: Gate) -> None:
    """A search skips the processes that run, and those that could not be ended."""
    async with LocalLauncher() as launcher:
        process = await launcher.launch(Command(["sleep", "9999"], name="runs"))
        await launcher.launch(escaping(lifeline, gate, rest="exec sleep 9999"))
        await until_out(lifeline, gate)
        ((escapee, name),) = (await launcher._escapees.find()).items()
        assert name == "c"
        launcher._unstoppable.add(escapee)
        assert await launcher._escapees.find() == {}
        launcher._unstoppable.clear()
        await launcher.sweep("runs", 0)
        assert await process.send_signal(0)
    assert lifeline.ended() == {"leader", "out"}


async def test_escapee_is_killed_on_sight_after_the_grace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After the search it would be too late: it may have forked and exited by then."""
    child = subprocess.Popen(["sleep", "9999"], start_new_session=True)  # noqa: ASYNC220
    steps = iter(["at the first look", "after the grace", "none left"])

    async def look(escapees: Escapees, report: Callable[[int, str], None]) -> None:
        await anyio.sleep(0.001)  # the grace is over then
        match next(steps):
            case "at the first look":
                report(2**31 - 1, "c")  # a group that is gone already
            case "after the grace":
                report(child.pid, "c")
                assert child.wait(LIMIT) == -SIGKILL

    monkeypatch.setattr(Escapees, "_scan_all", look)
    try:
        await Escapees("f00", set, set, ShutdownLimits()).end({"c": StopSpec(SIGTERM, 0)}, 0)
    finally:
        child.kill()
        child.wait()
    assert not list(steps)


@pytest.mark.parametrize("grace", [HOURS, 0.0])
async def test_command_that_starts_during_a_sweep_keeps_its_descendants(
    grace: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have the same name in their mark as the escapees of the attempt before."""
    child = subprocess.Popen(  # noqa: ASYNC220
        ["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    running: set[str] = set()
    groups = iter([2**31 - 1, child.pid])  # an escapee that is gone by now, and the descendant

    async def look(escapees: Escapees, report: Callable[[int, str], None]) -> None:
        if (group := next(groups, None)) is None:
            return
        if group == child.pid:
            running.add("c")
        report(group, "c")

    monkeypatch.setattr(Escapees, "_scan_all", look)
    try:
        escapees = Escapees("f00", set, lambda: running, ShutdownLimits())
        await escapees.end({"c": StopSpec(SIGTERM, grace)}, grace)
        assert child.communicate(b"alive")[0] == b"alive"
    finally:
        child.kill()
        child.wait()
    assert not list(groups)


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """One entry for each search of all processes."""
    searches: list[None] = []
    scan_all = Escapees._scan_all

    async def count(escapees: Escapees, report: Callable[[int, str], None]) -> None:
        searches.append(None)
        await scan_all(escapees, report)

    monkeypatch.setattr(Escapees, "_scan_all", count)
    return searches


async def test_many_commands_share_one_search_at_the_end(
    searches: list[None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exit of a command that is not restarted costs no search."""
    monkeypatch.setattr("currant._process.escapees.YOUNG", 0.0)  # Otherwise a quick run needs none.
    async with Runner([["true"]] * 200, max_processes=20):
        pass
    assert len(searches) == 1


async def test_simultaneous_restarts_share_a_search(searches: list[None]) -> None:
    """Requests during a search share the next one."""
    escapees = Escapees("f00", set, set, ShutdownLimits())
    async with anyio.create_task_group() as tasks:
        for _ in range(100):
            tasks.start_soon(escapees.find)
    # uvloop's clock counts whole milliseconds, so a quick search cannot be shared there.
    assert 1 <= len(searches) <= 10


async def test_launcher_that_started_nothing_does_not_search(searches: list[None]) -> None:
    """A Runner without commands costs no scan of all processes."""
    async with Runner():
        pass
    assert not searches


async def test_process_in_the_middle_of_an_exec_is_looked_at_again(
    monkeypatch: pytest.MonkeyPatch, lifeline: Lifeline, gate: Gate
) -> None:
    """During an exec a process shows no environment, however long that takes."""
    looks: Counter[str] = Counter()
    read = proc._read

    def blank_at_first(path: str) -> bytes | None:
        content = read(path)
        if path.endswith(("/environ", "/cmdline")):
            looks[path] += 1
            if content and looks[path] <= 5:
                return b""
        return content

    monkeypatch.setattr(proc, "_read", blank_at_first)
    # On a busy machine a single search may take as long as searches are repeated by default.
    launcher = LocalLauncher(_limits=ShutdownLimits(search=inf))
    with fail_after(LIMIT):
        async with Runner([escaping(lifeline, gate)], launcher=launcher):
            await until_out(lifeline, gate)
    assert lifeline.ended() == {"leader", "out"}


@pytest.fixture
def without_environment() -> Iterator[None]:
    """A zombie, and a program that was started without variables."""
    zombie = subprocess.Popen(["true"], start_new_session=True)
    bare = subprocess.Popen(["sleep", "9999"], env={}, start_new_session=True)
    try:
        os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
        yield
    finally:
        bare.kill()
        for child in (zombie, bare):
            child.wait()


@pytest.mark.usefixtures("without_environment")
async def test_search_does_not_wait_for_processes_without_an_environment(
    searches: list[None],
) -> None:
    """A zombie, or a program without variables, is not in the middle of an exec."""
    with fail_after(LIMIT):
        await Escapees("f00", set, set, ShutdownLimits(search=inf)).find()
    assert len(searches) == 1


async def test_only_groups_are_ended_without_proc(
    monkeypatch: pytest.MonkeyPatch, lifeline: Lifeline, gate: Gate, tmp_path: Path
) -> None:
    """Without a usable /proc no escapee is searched for, and no other process is signalled."""
    hide_proc(monkeypatch)
    with Gate(tmp_path / "second gate") as second:
        command = escaping(lifeline, gate, f"echo out >&9; {second.wait}")
        with fail_after(LIMIT):
            async with Runner([command]) as runner:
                await until_out(lifeline, gate)
        assert runner.results.ok
        with pytest.raises(AssertionError, match="a process still holds the pipe"):
            lifeline.ended()
        second.open()
        assert lifeline.wait_for_end() == {"leader", "out"}
