"""The exit status of `currant run`, and the options that stop, limit and restart commands."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from itertools import count
from typing import TYPE_CHECKING

import pytest

from currant import Command, Runner, ready
from currant.cli._run import run_commands
from currant.testing import FakeLauncher, Script
from tests.clis import CURRANT, ROOT, STUBBORN, environment
from tests.waiting import EXEC_FOREVER, LIMIT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.clis import Run, Start
    from tests.lifeline import Gate

pytestmark = pytest.mark.slow  # Most tests start their own Python process.


@pytest.mark.parametrize(
    ("options", "commands", "status", "note"),
    [
        ([], ["true"], 0, b""),
        ([], ["true", "exit 3", "true"], 3, b"currant: b: exit code 3\n"),
        ([], ["kill -SEGV $$"], 139, b"currant: a: SIGSEGV\n"),
        ([], ["kill -KILL $$"], 137, b"currant: a: SIGKILL\n"),
        ([], ["kill -INT $$"], 130, b"currant: a: SIGINT\n"),
        ([], ["exit 255"], 255, b"currant: a: exit code 255\n"),
        (
            ["--kill-others-on", "failure"],
            ["exit 3", EXEC_FOREVER],
            3,
            b"currant: a: exit code 3\n",
        ),
        (["--kill-others-on", "success"], ["true", EXEC_FOREVER], 0, b""),
        (["--kill-others-on", "exit", "--grace", "0"], ["true", EXEC_FOREVER, STUBBORN], 0, b""),
        (["--kill-others-on", "exit"], ["exit 4", EXEC_FOREVER], 4, b"currant: a: exit code 4\n"),
        (["-k", "exit", "-m", "1"], ["exit 4", "exit 5"], 4, b"currant: a: exit code 4\n"),
    ],
)
def test_exit_status_is_the_status_of_the_failure(
    run: Run, options: list[str], commands: list[str], status: int, note: bytes
) -> None:
    """The status is 0, or a failure's code or 128 + its signal; a stop is not a failure."""
    names = ",".join("abc"[: len(commands)])
    assert run("--names", names, *options, *commands) == (status, b"", note)


@pytest.mark.parametrize(
    ("success", "status"), [("all", 3), ("first", 3), ("last", 0), ("a", 3), ("b", 0), ("c", 4)]
)
def test_success_selects_the_command_that_sets_the_status(
    run: Run, success: str, status: int
) -> None:
    """--success selects a command by when it exits or by name, and its exit sets the status."""
    commands = ("exit 3", "true", "exit 4", "true")
    assert run("-m", "1", "-n", "a,b,c,d", "--success", success, *commands).status == status


def test_stopped_command_is_not_a_failure_for_success(run: Run) -> None:
    """A command that currant stopped counts as 0, though a signal ended it."""
    assert run("-n", "a,b", "-k", "exit", "-s", "b", "exit 3", EXEC_FOREVER).status == 0


def test_first_failure_in_time_sets_the_status(start: Start, gate: Gate) -> None:
    """If several commands fail, the first to fail sets the status, not the first that was named."""
    cli = start("-n", "late,early", f"{gate.wait}; exit 4", "exit 5")
    cli.read_until(b"currant: early: exit code 5\n")
    gate.open()
    assert cli.end().status == 5


def test_order_of_failures_does_not_depend_on_the_wall_clock(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A clock that is set back between two failures does not change their order."""
    back = count(10**9, -3600)
    monkeypatch.setattr(time, "time", lambda: float(next(back)))
    scripts = {"late": Script(exit=4, after=0.05), "early": Script(exit=5)}
    runner = Runner({"early": "x", "late": "x"}, launcher=FakeLauncher(scripts))
    assert run_commands(runner) == 5


def test_failure_does_not_stop_others_with_kill_others_on_success(start: Start, gate: Gate) -> None:
    """With --kill-others-on success, the other commands continue after a failure."""
    commands = (f"{gate.wait}; echo goes on", "exit 3")
    cli = start("-n", "a,b", "--kill-others-on", "success", *commands)
    cli.read_until(b"currant: b: exit code 3\n")
    gate.open()
    assert cli.end() == (3, b"a | goes on\n", b"currant: b: exit code 3\n")


def test_shell_that_cannot_start_gives_status_126() -> None:
    """Without free file descriptors, currant prints a line for each command; the status is 126."""
    limited = ["sh", "-c", 'ulimit -n 64; exec "$@"', "sh", *CURRANT, "run", "-k", "failure"]
    ended = subprocess.run(
        [*limited, *[EXEC_FOREVER] * 40],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        timeout=LIMIT,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (126, b"")
    assert b"no file descriptors left" in ended.stderr.splitlines()[0]
    assert all(line.startswith(b"currant: cannot start") for line in ended.stderr.splitlines())


def test_failure_with_exit_code_0_gives_status_1() -> None:
    """A command that exits with 0 before it is ready has failed."""
    command = Command(["a"], ready=ready.line("up"))
    assert run_commands(Runner([command], launcher=FakeLauncher())) == 1


# ---- restarts, and how many commands run ----


def test_commands_run_concurrently(run: Run, tmp_path: Path) -> None:
    """Without --max-processes all commands run at once, so two commands can wait for each other."""
    for name in "12":
        os.mkfifo(tmp_path / name)
    ended = run(
        "-n",
        "a,b",
        f"echo from a >{tmp_path}/1; cat {tmp_path}/2",
        f"cat {tmp_path}/1; echo from b >{tmp_path}/2",
    )
    assert ended.status == 0
    assert sorted(ended.out.splitlines()) == [b"a | from b", b"b | from a"]


def test_max_processes_limits_the_commands_that_run(run: Run, tmp_path: Path) -> None:
    """With -m 1 the commands run one at a time, in the order given."""
    alone = f"mkdir '{tmp_path}/lock' && echo in && rmdir '{tmp_path}/lock'"
    ended = run("-n", "a,b,c,d", "--max-processes", "1", *[alone] * 4)
    assert ended == (0, b"a | in\nb | in\nc | in\nd | in\n", b"")


@pytest.mark.parametrize(
    ("restart", "status", "runs"), [("never", 1, 1), ("on-failure", 0, 3), ("always", 143, 4)]
)
def test_restart_option_decides_which_exits_restart_a_command(
    start: Start, gate: Gate, tmp_path: Path, restart: str, status: int, runs: int
) -> None:
    """on-failure restarts until a success, and always until a signal; each delay is reported."""
    third_time = f"echo x >>'{tmp_path}/runs'; case $(wc -l <'{tmp_path}/runs') in *[12]) exit 1;; "
    wait_in_the_fourth = f"*4) echo fourth; {gate.wait};; esac"
    cli = start("-n", "a", "--restart", restart, third_time + wait_in_the_fourth)
    if restart == "always":
        cli.read_until(b"a | fourth\n")
        cli.signal(signal.SIGTERM)
    ended = cli.end()
    assert ended.status == status
    assert (tmp_path / "runs").read_text().count("x") == runs
    assert ended.err.count(b"currant: a: exit code 1\n") == min(2, runs)
    assert len(re.findall(rb"currant: a: restarting in \d+\.\d s\n", ended.err)) == runs - 1


def test_signal_during_the_delay_prevents_the_restart(start: Start) -> None:
    """Stop beats restart: no command starts after a signal."""
    cli = start("-n", "a", "--restart", "always", "echo run; exit 1")
    cli.read_until(b"restarting in 0.4 s")
    cli.signal(signal.SIGINT)
    ended = cli.end()
    assert ended.status == 130
    assert ended.out.count(b"a | run\n") - ended.err.count(b"exit code 1") in (0, 1)
