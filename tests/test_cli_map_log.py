"""The job log of `currant map`: complete after any end, and a run that goes on with it."""

from __future__ import annotations

import fcntl
import os
import random
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.clis import CURRANT, environment
from tests.maps import logged, run_map
from tests.waiting import EXEC_FOREVER, LIMIT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.clis import Start
    from tests.lifeline import Gate, Lifeline

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("preloaded")]


def test_log_has_each_job_that_has_ended(tmp_path: Path) -> None:
    """Bytes in and out, exit, signal, and the command with its values; only once with retries."""
    log = tmp_path / "log"
    ended = run_map(
        *("--joblog", str(log), "-j", "1", "--retries", "1", "--timeout", "5"),
        *("{}", ":::", "printf abc", "exit 3", "kill -9 $$", "no-such-program; : a\nb"),
    )
    assert ended.status == 4  # The values are programs, not scripts.
    log.unlink()
    lines = b"printf abc; echo de >&2\nexit 3\nkill -9 $$\nno-such-program\n"
    ended = run_map("--joblog", str(log), "-j", "1", stdin=lines)
    assert ended.status == 3
    found = [(job.seq, job.received, job.exitval, job.signal, job.command) for job in logged(log)]
    assert found[:3] == [
        (1, 6, 0, 0, "printf abc; echo de >&2"),
        (2, 0, 3, 0, "exit 3"),
        (3, 0, 0, 9, "kill -9 $$"),
    ]
    assert found[3][2:] == (127, 0, "no-such-program")
    assert {job.host for job in logged(log)} == {":"}


def test_log_is_complete_after_sigkill(start: Start, tmp_path: Path) -> None:
    """The log has what has ended, and not what ran: that runs again, as the next job runs."""
    log = tmp_path / "log"
    script = f"echo done {{}}; test {{}} != 3 || test -e go || {EXEC_FOREVER}"
    arguments = ("--joblog", str(log), "-j", "1", script, ":::", *"12345")
    cli = start("--line", *arguments, subcommand="map", cwd=tmp_path)
    cli.read_until(b"done 3")
    cli.process.kill()
    cli.wait()
    assert [job.seq for job in logged(log)] == [1, 2]
    (tmp_path / "go").touch()
    ended = run_map("--resume", *arguments, cwd=tmp_path)
    assert ended == (0, b"done 3\ndone 4\ndone 5\n", b"")
    assert [job.seq for job in logged(log)] == [1, 2, 3, 4, 5]


def test_resume_and_what_has_failed(tmp_path: Path) -> None:
    """``--resume`` skips all that the log has, ``--resume-failed`` and ``--retry-failed`` do not.

    The slot of a job is no part of its command in the log.
    """
    log = str(tmp_path / "log")
    arguments = ("--joblog", log, "-j", "2", "-k", "echo {} slot {%} >> out; test -e {}")
    values = (":::", "a", "b", "c")
    (tmp_path / "b").touch()
    assert run_map("-q", *arguments, *values, cwd=tmp_path).status == 2
    assert run_map("-q", "--resume", *arguments, *values, cwd=tmp_path) == (0, b"", b"")
    again = run_map("--resume", *arguments, *values, cwd=tmp_path)
    told = b"skipped 3 jobs in the job log, of which 2 failed; --resume-failed runs failed jobs"
    assert again == (0, b"", b"currant: " + told + b" again\n")
    torn = (tmp_path / "log").read_bytes() + b"4\t:"
    (tmp_path / "log").write_bytes(torn)
    dry = run_map("--dry-run", "--retry-failed", log, cwd=tmp_path)
    assert dry.out == b"echo a slot 1 >> out; test -e a\necho c slot 1 >> out; test -e c\n"
    dry = run_map("--dry-run", "--resume-failed", *arguments, *values, cwd=tmp_path)
    assert [line.split()[1] for line in dry.out.splitlines()] == [b"a", b"c"]
    assert (tmp_path / "log").read_bytes() == torn
    (tmp_path / "a").touch()
    assert run_map("-q", "--resume-failed", *arguments, *values, cwd=tmp_path).status == 1
    (tmp_path / "c").touch()
    assert run_map("-q", "--retry-failed", log, cwd=tmp_path).status == 0
    assert run_map("--retry-failed", log, cwd=tmp_path) == (0, b"", b"")
    ran = [line.split()[0] for line in (tmp_path / "out").read_text().splitlines()]
    assert sorted(ran) == ["a", "a", "b", "c", "c", "c"]
    assert sorted(job.seq for job in logged(tmp_path / "log")) == [1, 1, 2, 3, 3, 3]


@pytest.mark.parametrize("option", ["--retry-failed", "--resume-failed"])
def test_dry_run_looks_at_the_log_of_another_run(option: str, tmp_path: Path) -> None:
    """It writes nothing, so it needs neither the lock of the log nor permission to write."""
    assert run_map("-q", "--joblog", "log", "test -e {}", ":::", "a", cwd=tmp_path).status == 1
    rest = ["log"] if option == "--retry-failed" else ["--joblog", "log", "test -e {}", ":::", "a"]
    with (tmp_path / "log").open("rb") as log:
        fcntl.flock(log, fcntl.LOCK_EX)
        (tmp_path / "log").chmod(0o444)
        ended = run_map("--dry-run", option, *rest, cwd=tmp_path)
    assert ended == (0, b"test -e a\n", b"")


def test_values_that_do_not_fit_are_never_run(tmp_path: Path) -> None:
    """Their job fails, and has no line in the log."""
    arguments = ("--joblog", "log", "-n", "2", "echo", "{1}", "{2}", ":::", "a", "b", "touch pwned")
    assert run_map("-q", *arguments, cwd=tmp_path) == (1, b"a b\n", b"")
    assert run_map("-q", "--resume", *arguments, cwd=tmp_path) == (1, b"", b"")  # not at the start
    assert run_map("--retry-failed", "log", cwd=tmp_path) == (0, b"", b"")
    assert run_map("--dry-run", *arguments, cwd=tmp_path).status == 2
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_resumed_run_looks_up_its_program_first(tmp_path: Path) -> None:
    """Otherwise the log would have a failure for each value, and the next run would skip them."""
    log, tool = tmp_path / "log", tmp_path / "tool"
    arguments = ("--joblog", "log", "--resume", "./tool", ":::", "a", "b")
    ended = run_map(*arguments, cwd=tmp_path)
    assert (ended.status, ended.out, log.read_bytes()) == (2, b"", b"")
    assert len(ended.err.splitlines()) == 1
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    assert run_map(*arguments, cwd=tmp_path) == (0, b"", b"")
    tool.unlink()
    assert run_map(*arguments, cwd=tmp_path) == (0, b"", b"")  # nothing is left to run
    assert run_map(*arguments, "c", cwd=tmp_path).status == 2
    assert sorted(job.seq for job in logged(log)) == [1, 2]


def test_first_run_with_resume_checks_the_first_values(tmp_path: Path) -> None:
    """A column that no line has is a mistake of the command line, as it is without the option."""
    arguments = ("--joblog", "log", "--resume", "--csv", "echo", "{9}")
    ended = run_map(*arguments, stdin=b"a,b\nc,d\n", cwd=tmp_path)
    assert (ended.status, ended.out) == (2, b"")
    assert b"job 1 has no value for {9}" in ended.err
    assert (tmp_path / "log").read_bytes() == b""


def test_log_of_another_command_starts_nothing(tmp_path: Path) -> None:
    """A job log that has other commands, or is no job log, is refused and left unchanged."""
    log = tmp_path / "log"
    assert run_map("--joblog", str(log), "true", ":::", "a").status == 0
    before = log.read_bytes()
    for command in (["touch", ":::", "a"], ["true", ":::", "b", "a"]):
        ended = run_map("--resume", "--joblog", str(log), *command, cwd=tmp_path)
        assert (ended.status, ended.out) == (2, b"")
        assert b"line 2 has another command for job 1" in ended.err
        assert len(ended.err.splitlines()) == 1
    assert log.read_bytes() == before
    log.write_text("precious\n")
    ended = run_map("--joblog", str(log), "touch", ":::", "a", cwd=tmp_path)
    assert (ended.status, log.read_text()) == (2, "precious\n")
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_log_of_a_run_that_goes_on_is_locked(start: Start, gate: Gate, tmp_path: Path) -> None:
    """A second run with the same log is refused."""
    log = str(tmp_path / "log")
    cli = start("--line", "--joblog", log, f"echo {{}}; {gate.wait}", ":::", "a", subcommand="map")
    cli.read_until(b"a\n")
    ended = run_map("--joblog", log, "--resume", "touch", ":::", "b", cwd=tmp_path)
    assert ended.status == 2
    assert b"another run of currant writes to the file" in ended.err
    gate.open()
    assert cli.end().status == 0


# ---- interruptions at any moment ----

PIECE = """
sleep 0.03
trap '' TERM INT
echo {} >> {#}.out
"""
"""A job that a request to stop ends before its only act, or not at all.

It takes a moment before, so that a run can be interrupted often.
"""

MORE = 5
"""Jobs that are left when the last run begins."""


def _interrupt_and_finish(
    folder: Path, seed: int, times: int, signals: list[signal.Signals]
) -> None:
    """Interrupt a map at random moments, resume it each time, and let the last run end.

    A job that was asked to stop in the instant between its act and its exit is not in the log, so
    it may act again.  But what the log has never runs again.
    """
    chance = random.Random(seed)
    log, values = folder / "log", folder / "values"
    values.write_text(_numbers(10_000))
    acts: dict[int, str] = {}
    for _ in range(times):
        with _resumed(folder) as process:
            try:
                _wait_for_lines(log, chance.randrange(1, 4), process)
                time.sleep(chance.random() / 100)  # any moment is right
                number = chance.choice(signals)
                process.send_signal(number)
                assert process.wait(LIMIT) == -number
            finally:
                process.kill()
        acts |= {job.seq: _acts(folder, job.seq) for job in logged(log) if job.seq not in acts}
    values.write_text(_numbers(max(acts) + MORE))
    with _resumed(folder) as process:
        assert process.wait(LIMIT) == 0
    jobs = logged(log)
    assert sorted(job.seq for job in jobs) == list(range(1, max(acts) + MORE + 1))
    assert {(job.exitval, job.signal) for job in jobs} == {(0, 0)}
    assert all(set(_acts(folder, job.seq).split()) == {str(job.seq)} for job in jobs)
    assert {number: _acts(folder, number) for number in acts} == acts


def _resumed(folder: Path) -> subprocess.Popen[bytes]:
    options = ["-q", "-j", "2", "--joblog", "log", "--resume", "-a", "values"]
    return subprocess.Popen([*CURRANT, "map", *options, PIECE], cwd=folder, env=environment())


def _numbers(count: int) -> str:
    return "".join(f"{number}\n" for number in range(1, count + 1))


def _acts(folder: Path, number: int) -> str:
    return (folder / f"{number}.out").read_text()


def _wait_for_lines(log: Path, more: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until a log has so many lines more."""
    before = _lines(log)
    deadline = time.monotonic() + LIMIT
    while _lines(log) < before + more:
        assert process.poll() is None
        assert time.monotonic() < deadline, "no job ends"
        time.sleep(0.002)


def _lines(log: Path) -> int:
    return log.read_bytes().count(b"\n") if log.exists() else 0


def test_interrupted_run_goes_on_where_it_was(tmp_path: Path) -> None:
    """However often a run is interrupted, each job is in the log once, and not run after that."""
    requests = [signal.SIGINT, signal.SIGINT, signal.SIGINT, signal.SIGTERM]
    _interrupt_and_finish(tmp_path, 1, 35, requests)


def test_killed_run_misses_no_item(tmp_path: Path) -> None:
    """After SIGKILL, a job whose end is not in the log runs again, and no item is missing."""
    _interrupt_and_finish(tmp_path, 2, 15, [signal.SIGKILL])


def test_job_in_the_log_has_its_results(start: Start, lifeline: Lifeline, tmp_path: Path) -> None:
    """A job is in the log as soon as its files are complete, even if nobody reads stdout."""
    script = (
        "case {} in 1) head -c 3000000 /dev/zero;; 2) echo two;; "
        f"*) {lifeline.hold('on')}; {EXEC_FOREVER};; esac"
    )
    options = ("-j", "1", "--joblog", "log", "--results", "out")
    cli = start(*options, script, ":::", *"123", subcommand="map", cwd=tmp_path)
    lifeline.wait_for("on")
    deadline = time.monotonic() + LIMIT
    while len(logged(tmp_path / "log")) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    cli.signal(signal.SIGKILL)
    cli.wait()
    lifeline.wait_for_end()
    assert [job.seq for job in logged(tmp_path / "log")] == [1, 2]
    for number, size in (("1", 3_000_000), ("2", 4)):
        folder = tmp_path / "out" / "1" / number
        assert (folder / "exit").read_text() == "0\n"
        assert (folder / "stdout").stat().st_size == size


def test_log_that_cannot_take_the_first_line_is_an_error_after_the_start(
    start: Start, tmp_path: Path
) -> None:
    """The status is not that of a mistake, after which nothing has run."""
    limited = ("sh", "-c", 'ulimit -f 1; exec "$@"', "sh")
    arguments = ("--joblog", "log", "true", ":::", "x" * 2000)
    ended = start(*arguments, subcommand="map", cwd=tmp_path, before=limited).end()
    assert ended.status == 255
    assert b"cannot write the job log log" in ended.err


def test_log_may_be_the_pipe_of_stdout(start: Start) -> None:
    """The run ends if the reader is gone: currant itself does not read its log."""
    script = f"test {{}} = a || {EXEC_FOREVER}"
    words = ("-j", "1", "--joblog", "/dev/stdout", script, ":::", "a", "b")
    cli = start(*words, subcommand="map")
    cli.read_until(b"test a = a")
    cli.close()
    assert cli.wait() == 141


def test_log_that_nobody_reads_is_an_error(tmp_path: Path) -> None:
    """A pipe without a reader would fill up, and then hold up all."""
    os.mkfifo(tmp_path / "log")
    status, _, err = run_map("--joblog", "log", "touch", ":::", "pwned", cwd=tmp_path)
    assert (status, os.listdir(tmp_path)) == (2, ["log"])
    assert b"no program reads the pipe" in err


def test_log_that_is_stuck_does_not_hold_up_the_commands(
    start: Start, lifeline: Lifeline, tmp_path: Path
) -> None:
    """If its pipe is full, commands still start, and a second signal still ends currant."""
    os.mkfifo(tmp_path / "log")
    reader = os.open(tmp_path / "log", os.O_RDONLY | os.O_NONBLOCK)
    script = f": {{}}; test {{#}} = 1 && exit; {lifeline.hold('on')}; {EXEC_FOREVER}"
    words = ("-j", "1", "--joblog", "log", script, ":::", "x" * 70_000, "y")
    cli = start(*words, subcommand="map", cwd=tmp_path)
    lifeline.wait_for("on")
    cli.signal(signal.SIGTERM)
    lifeline.wait_for_end()
    cli.signal(signal.SIGTERM)
    assert cli.wait() == 143
    os.close(reader)


def test_stopped_job_is_not_in_the_log(start: Start, tmp_path: Path) -> None:
    """A job that Ctrl-C stops has not ended by itself, so it runs again."""
    log = str(tmp_path / "log")
    arguments = ("--line", "--joblog", log, "-j", "1", f"echo {{}}; test -e go || {EXEC_FOREVER}")
    cli = start(*arguments, ":::", "a", subcommand="map", cwd=tmp_path)
    cli.read_until(b"a\n")
    cli.signal(signal.SIGINT)
    assert cli.end().status == 130
    assert logged(tmp_path / "log") == []
    (tmp_path / "go").touch()
    assert run_map("--resume", *arguments, ":::", "a", cwd=tmp_path).status == 0


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (("--junit", "file", "echo", "::::", "./file"), ":::: and --junit"),
        (("--trace", "file", "-a", "file", "echo"), ":::: and --trace"),
        (("--junit", "file", "--retry-failed", "file"), "--retry-failed and --junit"),
        (("--joblog", "new", "--trace", "new", "echo", ":::", "a"), "--joblog and --trace"),
    ],
)
def test_log_or_report_takes_the_place_of_no_other_file(
    arguments: Sequence[str], names: str, tmp_path: Path
) -> None:
    """The mistake would cost the file of values, or mix two files."""
    (tmp_path / "file").write_text("a\n")
    status, out, err = run_map(*arguments, cwd=tmp_path)
    assert (status, out) == (2, b"")
    assert err.decode() == f"currant: {names} name the same file, {arguments[1]}\n"
    assert (os.listdir(tmp_path), (tmp_path / "file").read_text()) == (["file"], "a\n")


@pytest.mark.parametrize(
    "arguments",
    [("echo {typo}", ":::", "a"), ("no-such-program", ":::", "a"), ("echo", "::::", "x")],
)
def test_mistake_leaves_an_older_log_as_it_is(arguments: Sequence[str], tmp_path: Path) -> None:
    """A log is emptied when the first job of another run starts."""
    assert run_map("--joblog", "log", "true", ":::", "a", cwd=tmp_path).status == 0
    before = (tmp_path / "log").read_bytes()
    assert run_map("--joblog", "log", *arguments, cwd=tmp_path).status == 2
    assert (tmp_path / "log").read_bytes() == before
    assert run_map("--joblog", "log", "true", ":::", cwd=tmp_path).status == 0
    assert len((tmp_path / "log").read_bytes().splitlines()) == 1
