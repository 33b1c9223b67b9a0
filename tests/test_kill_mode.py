"""`kill_mode="mixed"`, and signals to the leader: the command itself stops its workers."""

from __future__ import annotations

import shlex
import sys
from signal import SIGTERM, SIGUSR1
from typing import TYPE_CHECKING

import anyio
import pytest

import currant
from currant import Command, CommandError, Exit, Line, Runner
from currant._values.plan import Plan
from currant._values.policies import Policies
from currant._values.restart import RestartPolicy
from currant.testing import FakeLauncher, Script
from tests.waiting import EXEC_FOREVER, HOURS, LIMIT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from currant._values.launch_spec import KillMode
    from tests.clis import Start
    from tests.lifeline import Gate, Lifeline

pytestmark = pytest.mark.anyio

POOL = """
import signal, sys
from concurrent.futures import ProcessPoolExecutor

def work(gate):
    print("working", flush=True)
    with open(gate) as file:
        file.readline()
    return "finished"

def stop(*_):
    print("asked", flush=True)

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    default = (signal.SIGTERM, signal.SIG_DFL)
    with ProcessPoolExecutor(1, initializer=signal.signal, initargs=default) as pool:
        task = pool.submit(work, sys.argv[1])
        print(task.result(), flush=True)
"""
"""A parent that waits for the task of its worker; SIGTERM would end the worker."""

WORKER = """
import signal
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
print("worker", flush=True)
signal.sigwait({signal.SIGTERM})
print("worker was asked\\n", end="", flush=True)
"""
"""A worker that misses no SIGTERM after its first line.

The parent may write at the same time as the worker, so the worker writes its last line at once.
"""

PARENT = f"""
trap 'echo parent was signalled' USR1
trap 'echo parent was asked; exit 5' TERM
{shlex.join([sys.executable, "-c", WORKER])} &
while :; do wait; done
"""
"""A parent with a worker; each prints the signals that it gets."""


async def lines_of(runner: Runner) -> AsyncIterator[str]:
    """Yield the text of each line."""
    async for message in runner:
        if isinstance(message, Line):
            yield message.text


async def test_running_task_of_a_process_pool_is_completed(gate: Gate) -> None:
    """In mixed mode SIGTERM reaches the parent alone, which lets its worker finish."""
    command = Command([sys.executable, "-c", POOL, str(gate.path)], kill_mode="mixed")
    seen = list[str]()
    with anyio.fail_after(LIMIT):
        async with Runner({"pool": command}, grace=HOURS) as runner:
            async for text in lines_of(runner):
                seen.append(text)
                if text == "working":
                    runner.kill()
                elif text == "asked":
                    gate.open()
    assert seen == ["working", "asked", "finished"]
    assert runner.results["pool"].exit == Exit(0, None, stopped=True)


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("mixed", {"worker", "parent was asked"}),
        ("group", {"worker", "parent was asked", "worker was asked"}),
    ],
)
async def test_mode_decides_whether_workers_are_asked(mode: KillMode, said: set[str]) -> None:
    """The rest of the group is asked, or killed as soon as the leader has exited."""
    with anyio.fail_after(LIMIT):
        async with Runner({"p": Command.shell(PARENT)}, grace=HOURS, kill_mode=mode) as runner:
            seen = set[str]()
            async for text in lines_of(runner):
                seen.add(text)
                if text == "worker":
                    runner.kill()
    assert seen == said
    assert runner.results["p"].exit == Exit(5, None, stopped=True)


async def test_leftover_of_a_leader_that_exited_is_killed_at_once_in_mixed_mode(
    lifeline: Lifeline,
) -> None:
    """The process that could ask it is gone, so not even an endless grace delays SIGKILL."""
    line = f"{lifeline.hold('c')}; (trap '' TERM; {lifeline.say('left')}; {EXEC_FOREVER}) & exit 3"
    with anyio.fail_after(LIMIT):
        async with Runner({"c": Command.shell(line, kill_mode="mixed")}, grace=HOURS) as runner:
            pass
    assert lifeline.ended() >= {"c"}
    assert runner.results["c"].exit == Exit(3, None)


async def test_signal_may_go_to_the_leader_alone() -> None:
    """Both Job and Runner send a signal to the group or to the leader."""
    with anyio.fail_after(LIMIT):
        async with Runner({"p": Command.shell(PARENT)}, grace=0) as runner:
            seen = list[str]()
            async for text in lines_of(runner):
                seen.append(text)
                if text == "worker":
                    assert await runner["p"].send_signal(SIGUSR1, to="leader")
                elif text == "parent was signalled":
                    assert await runner.send_signal(SIGTERM, to="leader") == 1
        assert seen[:3] == ["worker", "parent was signalled", "parent was asked"]
        assert not await runner["p"].send_signal(SIGTERM, to="leader")


async def test_signal_to_an_unknown_target_is_refused() -> None:
    """A wrong `to` raises before any signal is sent."""
    launcher = FakeLauncher(default=Script(exit=None))
    async with Runner({"c": "c"}, launcher=launcher) as runner:
        await runner["c"].until_started()
        with pytest.raises(CommandError, match="to must be 'group' or 'leader', not 'all'"):
            await runner["c"].send_signal(SIGTERM, to="all")  # type: ignore[arg-type]
        assert launcher["c"].signals == []
        runner.kill()


async def test_mode_of_the_command_comes_before_the_mode_of_the_runner() -> None:
    """None is the Runner's mode; the launcher gets the mode that holds."""
    launcher = FakeLauncher()
    commands = {"own": Command(["c"], kill_mode="group"), "default": Command(["c"])}
    async with Runner(commands, launcher=launcher, kill_mode="mixed"):
        pass
    assert launcher["own"].command.kill_mode == "group"
    assert launcher["default"].command.kill_mode == "mixed"


@pytest.mark.parametrize("mode", ["process", "none", None, True])
def test_unknown_mode_of_a_runner_is_refused(mode: object) -> None:
    """A Runner has a mode of its own."""
    with pytest.raises(CommandError, match="kill_mode"):
        Runner(kill_mode=mode)  # type: ignore[arg-type]
    with pytest.raises(CommandError, match="kill_mode"):
        currant.run("true", kill_mode=mode)  # type: ignore[arg-type]


def test_plan_fills_in_the_mode() -> None:
    """A mode alone makes a command's policies differ from the defaults."""
    defaults = Policies(RestartPolicy("never"), None, 1.0, capture=False)
    command = Command(["c"], kill_mode="mixed")
    assert Plan([command], defaults).policies_of(command).kill_mode == "mixed"


def test_command_line_has_the_option(start: Start) -> None:
    """`--kill-mode mixed` leaves the workers to the command."""
    cli = start("--kill-mode", "mixed", "--raw", PARENT)
    cli.read_until(b"worker\n")
    cli.signal(SIGTERM)
    assert b"worker was asked" not in cli.end().out


def test_command_line_asks_the_program_of_a_simple_line(start: Start, gate: Gate) -> None:
    """The first process of a line with a single command is the program, and not a shell."""
    line = shlex.join([sys.executable, "-c", POOL, str(gate.path)])
    cli = start("--kill-mode", "mixed", "--raw", line)
    cli.read_until(b"working\n")
    cli.signal(SIGTERM)
    cli.read_until(b"asked\n")
    gate.open()
    assert cli.end() == (143, b"working\nasked\nfinished\n", b"")
