"""Test the exit status of `currant run`, `--kill-others-on`, `--max-processes` and restarts."""

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
from tests.clis import (
    CURRANT,
    ROOT,
    STUBBORN,
    environment,
)
from tests.waiting import EXEC_FOREVER, LIMIT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.clis import Run, Start
    from tests.lifeline import Gate

pytestmark = pytest.mark.slow  # Each test starts a Python interpreter.

STOPPING = b"currant: a ended: exit code %d; stopping the other commands\n"
"""The line about the command whose end stops the others."""


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
            ["-k", "failure"],
            ["exit 3", EXEC_FOREVER],
            3,
            b"currant: a: exit code 3\n" + STOPPING % 3,
        ),
        (["--kill-others-on", "success"], ["true", EXEC_FOREVER], 0, STOPPING % 0),
        (["-k", "exit", "--grace", "0"], ["true", EXEC_FOREVER, STUBBORN], 0, STOPPING % 0),
        (["-k", "exit"], ["exit 4", EXEC_FOREVER], 4, b"currant: a: exit code 4\n" + STOPPING % 4),
        (
            ["-k", "exit", "-m", "1"],
            ["exit 4", "exit 5"],
            4,
            b"currant: a: exit code 4\n" + STOPPING % 4,
        ),
        (["-k", "exit"], ["exit 4"], 4, b"currant: a: exit code 4\n"),
        (["-k", "exit", "-q"], ["true", EXEC_FOREVER], 0, b""),
        (
            ["--idle-timeout", "0.1"],
            [EXEC_FOREVER],
            143,
            b"currant: 'a' wrote nothing for 0.1 s, the limit of its idle_timeout\n",
        ),
        (
            ["--max-output", "1", "--hide", "a"],
            ["echo hi"],
            1,
            b"currant: 'a' wrote more than 1 bytes, the limit of its max_output\n",
        ),
        *(
            (
                ["--max-output", size, "--hide", "a"],
                [f"head -c 1048577 /dev/zero; {EXEC_FOREVER}"],
                143,
                b"currant: 'a' wrote more than 1048576 bytes, the limit of its max_output\n",
            )
            for size in ("1M", "1m", "1024k", "1048576")
        ),
    ],
)
def test_exit_status_reports_the_first_failure(
    run: Run, options: list[str], commands: list[str], status: int, note: bytes
) -> None:
    """The status is 0, or a failure's code or 128 + its signal; a stop is not a failure."""
    names = ",".join("abc"[: len(commands)])
    assert run("--names", names, *options, *commands) == (status, b"", note)


@pytest.mark.parametrize(
    ("success", "status"),
    [
        *(("all", 3), ("first", 3), ("last", 0), ("a", 3), ("b", 0), ("c", 4)),
        *(("!a", 4), ("!c", 3), ("!command-a", 4), ("!command-0", 4), ("command-c", 4)),
        *(("command-2", 4), ("command-3", 0)),
    ],
)
def test_success_option_selects_the_commands_whose_failure_counts(
    run: Run, success: str, status: int
) -> None:
    """`--success` selects the commands that count: all, the first or last to exit, or by name."""
    commands = ("exit 3", "true", "exit 4", "true")
    assert run("-m", "1", "-n", "a,b,c,d", "--success", success, *commands).status == status


def test_stopped_command_has_not_failed(run: Run) -> None:
    """A command that currant stopped counts as status 0, although a signal killed its process."""
    assert run("-n", "a,b", "-k", "exit", "-s", "b", "exit 3", EXEC_FOREVER).status == 0


def test_earliest_failure_gives_the_status(start: Start, gate: Gate) -> None:
    """If several commands fail, the earliest failure counts, not the order of the arguments."""
    cli = start("-n", "late,early", f"{gate.wait}; exit 4", "exit 5")
    cli.read_until(b"currant: early: exit code 5\n")
    gate.open()
    assert cli.end().status == 5


def test_wall_clock_does_not_decide_the_first_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Setting the wall clock back between two failures does not change their order."""
    times = count(10**9, -3600)
    monkeypatch.setattr(time, "time", lambda: float(next(times)))
    scripts = {"late": Script(exit=4), "early": Script(exit=5)}
    late = Command(["x"], after={"early": "ended"})
    runner = Runner({"early": "x", "late": late}, launcher=FakeLauncher(scripts))
    assert run_commands(runner) == 5


def test_exit_of_the_other_kind_stops_no_command(start: Start, gate: Gate) -> None:
    """With `--kill-others-on success`, a failure does not stop the other commands."""
    commands = (f"{gate.wait}; echo goes on", "exit 3")
    cli = start("-n", "a,b", "--kill-others-on", "success", *commands)
    cli.read_until(b"currant: b: exit code 3\n")
    gate.open()
    assert cli.end() == (3, b"a | goes on\n", b"currant: b: exit code 3\n")


def test_shell_that_cannot_start_gives_status_126() -> None:
    """If no file descriptors are left, each error is one line and the status is 126."""
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


# ---- concurrency and restarts ----


def test_commands_run_at_the_same_time(run: Run, tmp_path: Path) -> None:
    """Without `--max-processes`, all commands run at once and can wait for each other."""
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


def test_max_processes_limits_how_many_commands_run_at_once(run: Run, tmp_path: Path) -> None:
    """With `-m 1`, one command runs at a time, in the order of the arguments."""
    alone = f"mkdir '{tmp_path}/lock' && echo in && rmdir '{tmp_path}/lock'"
    ended = run("-n", "a,b,c,d", "--max-processes", "1", *[alone] * 4)
    assert ended == (0, b"a | in\nb | in\nc | in\nd | in\n", b"")


@pytest.mark.parametrize(
    ("restart", "status", "runs"), [("never", 1, 1), ("on-failure", 0, 3), ("always", 143, 4)]
)
def test_restart_option_decides_which_exits_restart_a_command(
    start: Start, gate: Gate, tmp_path: Path, restart: str, status: int, runs: int
) -> None:
    """`never`, `on-failure` (until a success) and `always` (until a signal) report each delay."""
    fail_twice = f"echo x >>'{tmp_path}/runs'; case $(wc -l <'{tmp_path}/runs') in *[12]) exit 1;; "
    wait_in_the_fourth_run = f"*4) echo fourth; {gate.wait};; esac"
    cli = start("-n", "a", "--restart", restart, fail_twice + wait_in_the_fourth_run)
    if restart == "always":
        cli.read_until(b"a | fourth\n")
        cli.signal(signal.SIGTERM)
    ended = cli.end()
    assert ended.status == status
    assert (tmp_path / "runs").read_text().count("x") == runs
    assert ended.err.count(b"currant: a: exit code 1\n") == min(2, runs)
    assert len(re.findall(rb"currant: a: restarting in \d+\.\d s\n", ended.err)) == runs - 1


def test_signal_during_the_restart_delay_prevents_the_restart(start: Start) -> None:
    """A signal to currant takes precedence over a restart: no command restarts after a signal."""
    cli = start("-n", "a", "--restart", "always", "echo run; exit 1")
    cli.read_until(b"restarting in 0.4 s")
    cli.signal(signal.SIGINT)
    ended = cli.end()
    assert ended.status == 130
    assert ended.out.count(b"a | run\n") - ended.err.count(b"exit code 1") in (0, 1)
