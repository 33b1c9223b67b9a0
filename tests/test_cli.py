"""The `currant` command, as a terminal and a shell see it: real processes, pipes, terminals, tmux.

Each step waits for something that is written or that ends, under a deadline.  What currant leaves
behind would hold the `Lifeline` open, which is looked at as soon as currant has ended.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable  # noqa: TC003 - NamedTuple looks at it
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from uuid import uuid4

import anyio
import pytest
from anyio.lowlevel import checkpoint

from currant import Command, Exit, Runner, ready
from currant.cli import _run
from currant.cli._run import _pause_and_resume, run_commands
from currant.testing import FakeLauncher, Script
from tests.clis import CURRANT, ROOT, Cli, environment, lines_of, numbers, plain, type_on
from tests.system import needs_proc
from tests.waiting import EXEC_FOREVER, LIMIT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
    from contextlib import ExitStack

    from anyio.abc import ObjectReceiveStream

    from currant import BatchMessage
    from tests.clis import Run, Start
    from tests.lifeline import Gate, Lifeline

pytestmark = pytest.mark.slow  # Each test starts Python at least once.

"""A command that only currant can end."""

STUBBORN = "trap '' TERM; while :; do sleep 9999; done"
"""A command that only SIGKILL can end."""

NO_FULL_DISK = pytest.mark.skipif(
    not os.path.exists("/dev/full"), reason="there is no /dev/full: it takes Linux"
)


def test_output_has_the_commands_names_and_stays_on_its_stream(run: Run) -> None:
    """Each line is shown after ``name | ``: stdout's on stdout, stderr's on stderr."""
    assert run("--names", "a", "echo out; echo err >&2") == (0, b"a | out\n", b"a | err\n")


def test_names_default_to_the_programs(run: Run) -> None:
    """Without --names, a command is called as its program, and #2 and so on where that is taken."""
    ended = run("-m", "1", "echo 1", "/bin/echo 2", "X=3 sh -c 'echo $X'")
    assert ended == (0, b"echo   | 1\necho#2 | 2\nsh     | 3\n", b"")


def test_a_command_is_a_line_for_the_shell(run: Run) -> None:
    """Pipes, variables and lists mean what the shell makes of them, in our folder and variables."""
    ended = run("-n", "a", 'echo "$WORD" | tr a b && pwd', env={"WORD": "banana"})
    assert ended == (0, b"a | bbnbnb\na | " + os.fsencode(ROOT) + b"\n", b"")


def test_a_command_reads_nothing_from_our_stdin(start: Start) -> None:
    """A command that reads gets end-of-file; it cannot take what is meant for others."""
    assert start("-n", "a", "cat; echo end").end() == (0, b"a | end\n", b"")


def test_python_m_currant_is_the_same_as_currant() -> None:
    """The function that the `currant` script calls does what ``python -m currant`` does."""
    script = "import sys; sys.argv[0] = 'currant'; from currant.cli import main; main()"
    arguments = ["run", "-n", "a", "echo out; echo err >&2; exit 7"]
    ended = [
        subprocess.run(
            [*words, *arguments],
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            timeout=LIMIT,
            check=False,
        )
        for words in (CURRANT, (sys.executable, "-c", script))
    ]
    shown = [(end.returncode, end.stdout, end.stderr) for end in ended]
    assert shown == [(7, b"a | out\n", b"a | err\ncurrant: a: exit code 7\n")] * 2


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_tells_every_option(run: Run, option: str) -> None:
    """--help names all options, says what the status means, and starts nothing."""
    status, out, err = run(option)
    assert (status, err) == (0, b"")
    for text in ("--names", "--restart", "--kill-others-on", "--max-processes", "--grace", "128"):
        assert text in out.decode()


def test_version_is_that_of_the_package() -> None:
    """--version tells the installed version."""
    try:
        expected = version("currant")
    except PackageNotFoundError:
        pytest.skip("currant is not installed: pip install -e .")
    command = [*CURRANT, "--version"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=LIMIT, check=True)
    assert expected in shown.stdout.decode()
    assert shown.stderr == b""


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        pytest.param(r"printf 'a\nb'", b"x | a\nx | b\n", id="last line without newline"),
        pytest.param(r"printf a; printf b >&2", b"x | a\n", id="only line without newline"),
        pytest.param(r"printf 'a\r\nb\r\n'", b"x | a\nx | b\n", id="CR LF"),
        pytest.param(r"printf '1%%\r2%%\r'", b"x | 1%\nx | 2%\n", id="progress bar"),
        pytest.param(r"printf '\n\na\n'", b"x | \nx | \nx | a\n", id="empty lines"),
        pytest.param(r"printf '\377\000\303\n'", b"x | \xff\0\xc3\n", id="no text"),
        pytest.param("true", b"", id="nothing"),
    ],
)
def test_lines_of_every_kind_are_shown_whole(run: Run, command: str, shown: bytes) -> None:
    """Whatever ends a line, it gets the prefix and a newline; its bytes stay as they are."""
    assert run("-n", "x", command)[:2] == (0, shown)


def test_a_command_line_that_is_no_text_arrives_as_it_is(run: Run) -> None:
    """Bytes that are no UTF-8 are passed on to the shell unchanged."""
    assert run("-n", "x", b"echo \xff\xfe") == (0, b"x | \xff\xfe\n", b"")


def test_a_long_line_stays_one_line(run: Run) -> None:
    """A line of a megabyte is shown as one line when nothing else comes in between."""
    status, out, err = run("-n", "x", "head -c 1000000 /dev/zero | tr '\\0' y; echo; echo end")
    assert (status, err) == (0, b"")
    assert out == b"x | " + b"y" * 1_000_000 + b"\nx | end\n"


def test_long_lines_of_two_commands_are_not_mixed(run: Run) -> None:
    """Where pieces of long lines alternate, each shown line is of one command; no byte is lost."""
    write = "head -c 1000000 /dev/zero | tr '\\0' "
    status, out, err = run("-n", "A,B", write + "a", write + "b")
    assert (status, err) == (0, b"")
    lines = out.splitlines()
    assert len(lines) == len(lines_of("A", out)) + len(lines_of("B", out))
    assert b"".join(lines_of("A", out)) == b"a" * 1_000_000
    assert b"".join(lines_of("B", out)) == b"b" * 1_000_000


@pytest.mark.parametrize("where", ["a pipe", "a terminal"])
@pytest.mark.parametrize(
    ("last", "shown"),
    [
        pytest.param("echo err >&2", b"b | err", id="line on stderr"),
        pytest.param("exit 3", b"currant: b: exit code 3", id="note"),
    ],
)
def test_an_unfinished_line_is_ended_before_another_stream_goes_on(
    start: Start, on_terminal: Start, gate: Gate, where: str, last: str, shown: bytes
) -> None:
    """Where stdout and stderr are one file, nothing is glued to an unfinished line of the other."""
    arguments = ("-n", "a,b", "printf unfinished", f"{gate.wait}; {last}")
    cli = on_terminal(*arguments) if where == "a terminal" else _with_one_pipe(start, arguments)
    cli.until(b"unfinished")
    gate.open()
    assert plain(cli.end().out) == b"a | unfinished\n" + shown + b"\n"


def _with_one_pipe(start: Start, arguments: Sequence[str]) -> Cli:
    """Start currant as ``2>&1`` does."""
    return start(*arguments, stderr=subprocess.STDOUT)


# ---- nothing is lost ----


@pytest.mark.parametrize("where", ["a file", "a pipe", "a slow pipe"])
def test_no_line_of_four_commands_is_lost_or_glued(
    start: Start, tmp_path: Path, where: str
) -> None:
    """All lines of all commands arrive, in order, however fast they are taken."""
    arguments = ("-n", "a,b,c,d", *["seq 50000"] * 4)
    if where == "a file":
        with open(tmp_path / "out", "wb") as file:
            ended = start(*arguments, stdout=file.fileno()).end()
        out = (tmp_path / "out").read_bytes()
    elif where == "a pipe":
        ended = start(*arguments).end()
        out = ended.out
    else:
        ours, theirs = os.pipe()
        _make_small(ours)
        cli = start(*arguments, stdout=theirs)
        os.close(theirs)
        with open(ours, "rb", buffering=0) as pipe:
            out = b"".join(iter(lambda: pipe.read(509), b""))
        ended = cli.end()
    assert (ended.status, ended.err) == (0, b"")
    assert out.count(b"\n") == 200_000
    for name in "abcd":
        assert lines_of(name, out) == numbers(50_000)


def _make_small(pipe: int) -> None:
    """Have `pipe` hold no more than a page, where the system can do that."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 4096)


HELD = 20_000
"""Lines of ``seq`` that find room though nobody reads what currant shows.

That is 106 KiB, and 185 KiB with prefixes, of which currant's own pipe takes 64 KiB.  The rest is
in currant and in the command's pipe: 64 KiB each at the least, where each read finds one page only.
"""


def test_what_was_written_while_nobody_read_is_all_there(start: Start, lifeline: Lifeline) -> None:
    """Output waits for a reader who begins only when the commands have ended."""
    cli = start("-n", "a", f"{lifeline.hold('begun')}; seq {HELD}; {lifeline.say('done')}")
    lifeline.wait_for("done")
    lifeline.wait_for_end()
    status, out, err = cli.end()
    assert (status, err) == (0, b"")
    assert lines_of("a", out) == numbers(HELD)


def test_stdout_and_stderr_of_a_command_are_both_complete(run: Run) -> None:
    """Both streams at once: each is complete, in order, and has nothing of the other."""
    status, out, err = run("-n", "a", "seq 50000 & seq 50000 | sed s/^/e/ >&2; wait")
    assert status == 0
    assert out == b"".join(b"a | %s\n" % number for number in numbers(50_000))
    assert err == b"".join(b"a | e%s\n" % number for number in numbers(50_000))


def test_lines_of_both_streams_are_whole_in_one_pipe(start: Start) -> None:
    """With ``2>&1`` every line has one prefix and one number, and none is missing."""
    both = "seq 20000 & seq 20000 >&2; wait"
    status, out, _ = _with_one_pipe(start, ("-n", "a,b", both, both)).end()
    assert status == 0
    for name in "ab":
        assert sorted(lines_of(name, out)) == sorted(numbers(20_000) * 2)
    assert out.count(b"\n") == 80_000


def test_nothing_that_was_written_before_a_signal_is_lost(start: Start, lifeline: Lifeline) -> None:
    """What a command had written when it was stopped is shown, though nobody had read it yet."""
    write = f"{lifeline.hold('begun')}; seq {HELD}; {lifeline.say('done')}; {EXEC_FOREVER}"
    cli = start("-n", "a", write)
    lifeline.wait_for("done")
    cli.signal(signal.SIGTERM)
    lifeline.wait_for_end()
    status, out, err = cli.end()
    assert (status, err) == (143, b"")
    assert lines_of("a", out) == numbers(HELD)


# ---- the exit status, and who is stopped ----


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
def test_the_exit_status_is_that_of_the_failure(
    run: Run, options: list[str], commands: list[str], status: int, note: bytes
) -> None:
    """0 without a failure, else its code, or 128 and its signal; what currant stops is none."""
    names = ",".join("abc"[: len(commands)])
    assert run("--names", names, *options, *commands) == (status, b"", note)


@pytest.mark.parametrize(
    ("success", "status"), [("all", 3), ("first", 3), ("last", 0), ("a", 3), ("b", 0), ("c", 4)]
)
def test_success_says_whose_failure_counts(run: Run, success: str, status: int) -> None:
    """The status is that of the command that is asked for, by when it ends or by name."""
    commands = ("exit 3", "true", "exit 4", "true")
    assert run("-m", "1", "-n", "a,b,c,d", "--success", success, *commands).status == status


def test_what_was_stopped_has_not_failed_whoever_counts(run: Run) -> None:
    """A command that currant stopped gives 0, though its own end is by a signal."""
    assert run("-n", "a,b", "-k", "exit", "-s", "b", "exit 3", EXEC_FOREVER).status == 0


def test_the_first_failure_in_time_gives_the_status(start: Start, gate: Gate) -> None:
    """Where several fail, the one that failed first counts, not the one that is named first."""
    cli = start("-n", "late,early", f"{gate.wait}; exit 4", "exit 5")
    cli.until(b"currant: early: exit code 5\n")
    gate.open()
    assert cli.end().status == 5


def test_the_first_failure_is_the_first_whatever_the_wall_clock_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A clock that is set back between two failures does not change their order."""
    back = count(10**9, -3600)
    monkeypatch.setattr(time, "time", lambda: float(next(back)))
    scripts = {"late": Script(exit=4, after=0.05), "early": Script(exit=5)}
    runner = Runner({"early": "x", "late": "x"}, launcher=FakeLauncher(scripts))
    assert run_commands(runner) == 5


def test_an_end_of_another_kind_stops_nobody(start: Start, gate: Gate) -> None:
    """With --kill-others-on success, a failure lets the others go on."""
    commands = (f"{gate.wait}; echo goes on", "exit 3")
    cli = start("-n", "a,b", "--kill-others-on", "success", *commands)
    cli.until(b"currant: b: exit code 3\n")
    gate.open()
    assert cli.end() == (3, b"a | goes on\n", b"currant: b: exit code 3\n")


def test_a_shell_that_cannot_be_started_gives_126() -> None:
    """Without file descriptors left, one line says so for the command, and the status is 126."""
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


# ---- restarts, and how many run ----


def test_commands_run_at_the_same_time(run: Run, tmp_path: Path) -> None:
    """Without --max-processes all run at once: two commands can wait for each other."""
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


def test_max_processes_lets_the_others_wait_their_turn(run: Run, tmp_path: Path) -> None:
    """With -m 1 no two run at once, and they run in the order given."""
    alone = f"mkdir '{tmp_path}/lock' && echo in && rmdir '{tmp_path}/lock'"
    ended = run("-n", "a,b,c,d", "--max-processes", "1", *[alone] * 4)
    assert ended == (0, b"a | in\nb | in\nc | in\nd | in\n", b"")


@pytest.mark.parametrize(
    ("restart", "status", "runs"), [("never", 1, 1), ("on-failure", 0, 3), ("always", 143, 4)]
)
def test_restart_starts_a_command_again(
    start: Start, gate: Gate, tmp_path: Path, restart: str, status: int, runs: int
) -> None:
    """never, on-failure (until it succeeds), always (until a signal): told with each wait."""
    third_time = f"echo x >>'{tmp_path}/runs'; case $(wc -l <'{tmp_path}/runs') in *[12]) exit 1;; "
    wait_in_the_fourth = f"*4) echo fourth; {gate.wait};; esac"
    cli = start("-n", "a", "--restart", restart, third_time + wait_in_the_fourth)
    if restart == "always":
        cli.until(b"a | fourth\n")
        cli.signal(signal.SIGTERM)
    ended = cli.end()
    assert ended.status == status
    assert (tmp_path / "runs").read_text().count("x") == runs
    assert ended.err.count(b"currant: a: exit code 1\n") == min(2, runs)
    assert len(re.findall(rb"currant: a: restarting in \d+\.\d s\n", ended.err)) == runs - 1


def test_a_signal_ends_the_wait_for_a_restart(start: Start) -> None:
    """Stop beats restart: nothing is started again after a signal."""
    cli = start("-n", "a", "--restart", "always", "echo run; exit 1")
    cli.until(b"restarting in 0.4 s")
    cli.signal(signal.SIGINT)
    ended = cli.end()
    assert ended.status == 130
    assert ended.out.count(b"a | run\n") - ended.err.count(b"exit code 1") in (0, 1)


# ---- signals ----

SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_stops_everything_gracefully(
    start: Start, lifeline: Lifeline, gate: Gate, number: signal.Signals
) -> None:
    """SIGINT, SIGTERM and SIGHUP ask each command to end, show its last words, and give 128 + n."""
    tidy = f"trap 'echo bye; exit 3' TERM; trap 'echo wrong' INT HUP; echo ready; {gate.wait}"
    cli = start("-n", "a,b", *[f"{lifeline.hold(name)}; {tidy}" for name in "ab"])
    cli.until(b"a | ready\n", b"b | ready\n")
    cli.signal(number)
    status, out, err = cli.end()
    assert lifeline.ended() == {"a", "b"}
    assert (status, err) == (SIGNALS[number], b"")
    assert sorted(out.splitlines()[2:]) == [b"a | bye", b"b | bye"]


def test_after_one_signal_a_command_has_its_grace(
    start: Start, lifeline: Lifeline, gate: Gate
) -> None:
    """A command that was asked to end may take its time, and is shown meanwhile."""
    slow = f"trap 'echo asked' TERM; echo ready; {gate.wait}; echo done"
    cli = start("-n", "a", "--grace", "60", f"{lifeline.hold('a')}; {slow}")
    cli.until(b"a | ready\n")
    cli.signal(signal.SIGINT)
    cli.until(b"a | asked\n")
    gate.open()
    assert cli.end() == (130, b"a | ready\na | asked\na | done\n", b"")
    assert lifeline.ended() == {"a"}


@pytest.mark.parametrize("second", SIGNALS)
def test_a_second_signal_ends_everything_at_once(
    start: Start, lifeline: Lifeline, gate: Gate, second: signal.Signals
) -> None:
    """The second one does not wait for the grace; the status is that of the first."""
    stubborn = f"{lifeline.hold('a')}; trap 'echo asked' TERM; echo ready; {gate.wait}"
    cli = start("-n", "a", "--grace", "9999", stubborn)
    cli.until(b"a | ready\n")
    cli.signal(signal.SIGTERM)
    cli.until(b"a | asked\n")
    cli.signal(second)
    assert cli.end() == (143, b"a | ready\na | asked\n", b"")
    assert lifeline.ended() == {"a"}


@pytest.mark.parametrize("grace", ["0", "0.2"])
def test_after_the_grace_a_command_is_killed(start: Start, lifeline: Lifeline, grace: str) -> None:
    """A command that ignores the question ends after --grace seconds, without a second signal."""
    cli = start("-n", "a", "--grace", grace, f"{lifeline.hold('a')}; echo ready; {STUBBORN}")
    cli.until(b"a | ready\n")
    cli.signal(signal.SIGTERM)
    assert cli.end() == (143, b"a | ready\n", b"")
    assert lifeline.ended() == {"a"}


@pytest.mark.parametrize("then", ["exit", "true"])
def test_two_signals_end_it_though_nobody_reads_its_output(
    start: Start, lifeline: Lifeline, then: str
) -> None:
    """A reader that has stopped (a pager, a stopped process) cannot keep currant from ending."""
    listens = f"trap '{lifeline.say('asked')}; {then}' TERM; {lifeline.say('done')}"
    write = f"{lifeline.hold('begun')}; seq {HELD}; {listens}; while :; do sleep 0.01; done"
    cli = start("-n", "a", "--grace", "9999", write)
    lifeline.wait_for("done")
    cli.signal(signal.SIGTERM)
    lifeline.wait_for("asked")
    cli.signal(signal.SIGINT)
    assert cli.wait() == 143
    assert lifeline.ended() == {"begun", "done", "asked"}


def test_a_request_that_comes_twice_at_once_is_one(
    start: Start, lifeline: Lifeline, gate: Gate
) -> None:
    """As that of `timeout`, or of npm beside the terminal: it does not cut the grace short."""
    slow = f"trap 'echo asked' TERM; echo ready; {gate.wait}; echo done"
    cli = start("-n", "a", "--grace", "9999", f"{lifeline.hold('a')}; {slow}")
    cli.until(b"a | ready\n")
    for number in (signal.SIGSTOP, signal.SIGINT, signal.SIGTERM, signal.SIGCONT):
        cli.signal(number)  # both come when it goes on
    cli.until(b"a | asked\n")
    gate.open()
    status, out, err = cli.end()
    assert status in (130, 143)  # whichever the system hands over first
    assert (out, err) == (b"a | ready\na | asked\na | done\n", b"")
    assert lifeline.ended() == {"a"}


def test_a_signal_that_is_ignored_stays_so(
    processes_of_currant: ExitStack, lifeline: Lifeline, gate: Gate
) -> None:
    """As below ``nohup``: what was ignored when currant was started does not stop it."""
    commands = (f"{lifeline.hold('a')}; {EXEC_FOREVER}", f"{gate.wait}; {lifeline.hold('b')}")
    process = subprocess.Popen(
        ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *CURRANT, "run", "-n", "a,b", *commands],
        stdin=subprocess.DEVNULL,
        cwd=ROOT,
        env=environment(),
    )
    cli = processes_of_currant.enter_context(Cli(process, {}))
    lifeline.wait_for("a")
    cli.signal(signal.SIGHUP)
    gate.open()
    lifeline.wait_for("b")
    cli.signal(signal.SIGTERM)
    assert cli.wait() == 143
    assert lifeline.ended() == {"a", "b"}


# ---- paused ----


PAUSES = """
trap 'echo resumed' CONT
echo $$
sleep 9999 &
while :; do wait; done
"""


@needs_proc
def test_tstp_pauses_the_commands_and_cont_resumes_them(start: Start) -> None:
    """Whoever ignores SIGTSTP is stopped nevertheless; all go on when currant does."""
    cli = start("-n", "a,b", PAUSES, "trap '' TSTP; echo $$; exec sleep 9999")
    cli.until(b"a | ", b"b | ")
    cli.signal(signal.SIGTSTP)
    _, status = os.waitpid(cli.process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    cli.until(b"\n")
    for name in ("a", "b"):
        (number,) = lines_of(name, cli.written("stdout"))
        _until_state(int(number), "T")
    cli.signal(signal.SIGCONT)
    cli.until(b"a | resumed\n")
    cli.signal(signal.SIGTERM)
    assert cli.end().status == 143


def _until_state(pid: int, state: str) -> None:
    """Wait until a process is in a state; nothing announces that it is stopped."""
    deadline = time.monotonic() + LIMIT
    path = f"/proc/{pid}/stat"
    while (now := Path(path).read_text().rpartition(")")[2].split()[0]) != state:
        assert time.monotonic() < deadline, f"{pid} is in state {now}"


@pytest.mark.anyio
async def test_tstp_reaches_the_commands_before_they_are_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They get SIGTSTP, which they may handle, then SIGSTOP; currant is the last to be stopped."""
    launcher = FakeLauncher({"a": Script(exit=None)})
    ours: list[tuple[int, int, list[int]]] = []
    monkeypatch.setattr(
        os, "kill", lambda pid, number: ours.append((pid, number, [*launcher["a"].signals]))
    )

    async def arriving() -> AsyncIterator[signal.Signals]:
        yield signal.SIGTSTP
        yield signal.SIGCONT

    async with Runner(["a"], launcher=launcher) as runner:
        await runner["a"].until_started()
        began = anyio.current_time()
        await _pause_and_resume(runner, arriving())
        assert anyio.current_time() - began > _run.PAUSE_GRACE / 2  # clocks are coarse
        assert launcher["a"].signals == [signal.SIGTSTP, signal.SIGSTOP, signal.SIGCONT]
        runner.kill()
    assert ours == [(os.getpid(), signal.SIGSTOP, [signal.SIGTSTP, signal.SIGSTOP])]


def test_a_signal_ends_what_is_paused(start: Start, lifeline: Lifeline) -> None:
    """As a shell does for a job that it stops: SIGTERM, then SIGCONT."""
    cli = start("-n", "a", f"{lifeline.hold('a')}; {EXEC_FOREVER}")
    lifeline.wait_for("a")
    cli.signal(signal.SIGTSTP)
    os.waitpid(cli.process.pid, os.WUNTRACED)
    cli.signal(signal.SIGTERM)
    cli.signal(signal.SIGCONT)
    assert cli.end().status == 143
    assert lifeline.ended() == {"a"}


# ---- nothing is left, however it ends ----

TREE = """
sh -c 'trap "" TERM; {child}; sleep 9999 & {grandchild}; : >"{up}"; wait' 2>/dev/null &
: <"{up}"
echo ready
{gate}
echo more
{then}
"""
"""A command with a child and a grandchild that ignore SIGTERM."""


def _open_gate(cli: Cli, gate: Gate) -> None:
    gate.open()


def _interrupt(cli: Cli, gate: Gate) -> None:
    cli.signal(signal.SIGINT)


def _interrupt_twice(cli: Cli, gate: Gate) -> None:
    cli.signal(signal.SIGINT)
    cli.until(b"b | asked\n")
    cli.signal(signal.SIGINT)


def _terminate(cli: Cli, gate: Gate) -> None:
    cli.signal(signal.SIGTERM)


def _hang_up(cli: Cli, gate: Gate) -> None:
    cli.signal(signal.SIGHUP)


def _close_stdout(cli: Cli, gate: Gate) -> None:
    cli.close()
    gate.open()


def _close_stderr(cli: Cli, gate: Gate) -> None:
    cli.close("stderr")
    gate.open()


class Way(NamedTuple):
    """A way in which currant ends.

    Attributes:
        end: what brings the end about, when all runs.
        status: the exit status.
        options: options of currant's.
        then: what the command with the tree does when the gate is open.
        other: what another command does; ``GATE`` in it waits at the gate instead of the first.
    """

    end: Callable[[Cli, Gate], None]
    status: int
    options: tuple[str, ...] = ("--grace", "0.2")
    then: str = EXEC_FOREVER
    other: str = "echo ready; exec sleep 9999"


WAYS = {
    "its leader exits": Way(_open_gate, 3, then="exit 3", other="echo ready"),
    "another fails": Way(
        _open_gate, 5, ("--grace", "0.2", "-k", "failure"), other="echo ready; GATE; exit 5"
    ),
    "restart and SIGTERM": Way(_terminate, 143, ("--grace", "0.2", "--restart", "always")),
    "SIGINT": Way(_interrupt, 130),
    "SIGTERM": Way(_terminate, 143),
    "SIGHUP": Way(_hang_up, 129),
    "two signals": Way(
        _interrupt_twice,
        130,
        ("--grace", "9999"),
        other="trap 'echo asked' TERM; echo ready; while :; do GATE; done",
    ),
    "nobody reads stdout": Way(_close_stdout, 141),
    "nobody reads stderr": Way(_close_stderr, 141, then=f"echo more >&2; {EXEC_FOREVER}"),
}


@pytest.mark.parametrize("way", WAYS)
def test_neither_child_nor_grandchild_is_left(
    start: Start, lifeline: Lifeline, gate: Gate, tmp_path: Path, way: str
) -> None:
    """When currant has ended, in whichever way, all that its commands started has ended too."""
    end, status, options, then, other = WAYS[way]
    os.mkfifo(tmp_path / "up")
    tree = TREE.format(
        child=lifeline.hold("child").replace("'", ""),
        grandchild=lifeline.say("grandchild"),
        up=tmp_path / "up",
        gate=":" if "GATE" in other else gate.wait,
        then=then,
    )
    commands = (f"{lifeline.hold('leader')}; {tree}", other.replace("GATE", gate.wait))
    cli = start("-n", "a,b", *options, *commands)
    cli.until(b"a | ready\n", b"b | ready\n")
    end(cli, gate)
    assert cli.end().status == status
    assert lifeline.ended() == {"leader", "child", "grandchild"}


# ---- output that cannot be written ----


def test_when_nobody_reads_stdout_all_is_stopped_quietly(start: Start, lifeline: Lifeline) -> None:
    """As in ``currant run … | head -1``: stop everything, status 141, nothing on stderr."""
    endless = f"{lifeline.hold('a')}; while :; do echo line; done"
    cli = start("-n", "a,b", "--grace", "60", endless, f"{lifeline.hold('b')}; {EXEC_FOREVER}")
    lifeline.wait_for("a", "b")
    cli.until(b"a | line\n")
    cli.close()
    assert cli.wait() == 141
    assert lifeline.ended() == {"a", "b"}
    assert cli.end().err == b""


def test_head_gets_its_line_in_a_shells_pipeline() -> None:
    """The pipeline of row 17: head has its line, currant's status is 141, nobody complains."""
    pipeline = '{ "$@"; echo "status=$?" >&2; } | head -1'
    ended = subprocess.run(
        ["sh", "-c", pipeline, "sh", *CURRANT, "run", "-n", "a,b", "seq 1000000", EXEC_FOREVER],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        timeout=LIMIT,
        check=False,
    )
    assert ended.stdout == b"a | 1\n"
    assert ended.stderr == b"status=141\n"


def test_a_closed_pipe_is_noticed_though_the_commands_are_silent(
    start: Start, lifeline: Lifeline
) -> None:
    """Nothing has to be written for it: status 141, nothing on stderr, everything stopped."""
    cli = start("-n", "a,b", *(f"{lifeline.hold(name)}; {EXEC_FOREVER}" for name in "ab"))
    lifeline.wait_for("a", "b")
    cli.close()
    assert cli.wait() == 141
    assert lifeline.ended() == {"a", "b"}
    assert cli.end().err == b""


def test_a_closed_pipe_is_one_reason_and_a_signal_another(
    start: Start, lifeline: Lifeline, gate: Gate
) -> None:
    """While commands stop since nobody reads, one signal does not cut their grace short."""
    leave = f"{lifeline.say('asked')}; {gate.wait}; {lifeline.say('bye')}; exit"
    listens = f"trap '{leave}' TERM; {lifeline.hold('a')}; while :; do sleep 0.01; done"
    cli = start("-n", "a", "--grace", "60", listens)
    lifeline.wait_for("a")
    cli.close()
    lifeline.wait_for("asked")
    cli.signal(signal.SIGTERM)
    gate.open()
    assert cli.wait() == 141
    assert lifeline.ended() == {"a", "asked", "bye"}


def test_a_failure_is_told_whatever_the_exit_code() -> None:
    """One that ends with 0 before it is ready, say."""
    command = Command(["a"], ready=ready.line("up"))
    assert run_commands(Runner([command], launcher=FakeLauncher())) == 1


@pytest.mark.parametrize("order", ["signal first", "pipe first"])
def test_a_signal_and_a_closed_pipe_together_leave_the_grace(
    monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    """As Ctrl-C does with ``| tee log``, which ends both: commands have their time; one status."""
    launcher = FakeLauncher(default=Script(exit=None, ignores={signal.SIGTERM}))
    received: list[str | None] = []
    kill = Runner.kill

    def note(runner: Runner, reason: str | None = None) -> None:
        kill(runner, reason)
        received.append(reason)

    async def read_until_killed(pipe: int) -> None:
        if order == "signal first":
            await runner.barrier.wait()

    async def interrupt(messages: ObjectReceiveStream[BatchMessage]) -> None:
        await messages.receive()
        if order == "pipe first":
            await runner.barrier.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        while not received:
            await checkpoint()
        for _ in range(10):  # what the other one leads to is done, too
            await checkpoint()
        launcher["a"].exit(0)

    monkeypatch.setattr(_run, "_is_pipe", lambda fd: True)
    monkeypatch.setattr(_run, "_wait_reader_gone", read_until_killed)
    monkeypatch.setattr(Runner, "kill", note)
    runner = Runner(["a"], launcher=launcher, sinks=[interrupt], grace=9999)
    assert run_commands(runner) == (143 if order == "signal first" else 141)
    assert runner.results["a"].exit == Exit(0, None, stopped=True)


@NO_FULL_DISK
@pytest.mark.parametrize("command", ["echo hi", f"echo hi; {EXEC_FOREVER}", "seq 100000"])
def test_a_full_disk_is_told_in_one_line(start: Start, lifeline: Lifeline, command: str) -> None:
    """Output that the disk does not take: one clear line, no traceback, nothing left."""
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        commands = [f"{lifeline.hold('a')}; {command}", f"{lifeline.hold('b')}; {STUBBORN}"]
        status, _, err = start("--grace", "0.2", *commands, stdout=full).end()
    finally:
        os.close(full)
    assert status == 1
    assert err == b"currant: cannot write the output: No space left on device\n"
    assert "a" in lifeline.ended()


@NO_FULL_DISK
def test_a_full_disk_for_stderr_ends_it_too(start: Start, lifeline: Lifeline) -> None:
    """Where the line itself cannot be written, the status tells; nothing is left."""
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        command = f"{lifeline.hold('a')}; echo err >&2; {EXEC_FOREVER}"
        ended = start("-n", "a", command, stderr=full).end()
    finally:
        os.close(full)
    assert ended == (1, b"", b"")
    assert lifeline.ended() == {"a"}


@NO_FULL_DISK
@pytest.mark.parametrize("arguments", [("run", "--help"), ("check",)])
def test_a_full_disk_for_a_help_or_a_list_is_told_in_one_line(
    start: Start, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """No traceback, whatever is written."""
    (tmp_path / "Procfile").write_text("web: true\n")
    full = os.open("/dev/full", os.O_WRONLY)
    subcommand, *options = arguments
    try:
        status, _, err = start(*options, subcommand=subcommand, cwd=tmp_path, stdout=full).end()
    finally:
        os.close(full)
    assert status == 1
    assert err == b"currant: cannot write the output: No space left on device\n"


def test_one_signal_ends_a_summary_that_nobody_takes(start: Start) -> None:
    """All commands have ended by then, so there is nothing to wait for."""
    names = ",".join(f"{'long' * 100}{number}" for number in range(200))
    cli = start("-q", "-m", "20", "--summary", "-n", names, *["true"] * 200)
    cli.until_full("stderr")
    cli.signal(signal.SIGINT)
    assert cli.wait() == 130


@NO_FULL_DISK
def test_a_summary_that_cannot_be_written_changes_nothing(start: Start) -> None:
    """The status is that of the commands."""
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        ended = start("-q", "-n", "a", "--summary", "echo hi; exit 3", stderr=full).end()
    finally:
        os.close(full)
    assert ended == (3, b"a | hi\n", b"")


@pytest.mark.parametrize("closed", [">&-", "2>&-"])
def test_a_stream_that_was_never_open_gives_no_traceback(closed: str) -> None:
    """As ``currant run … >&-``: stderr is not missed, and of stdout one line says so at most."""
    ended = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *CURRANT, "run", "-n", "a", "echo hi; exit 7"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        timeout=LIMIT,
        check=False,
    )
    assert b"Traceback" not in ended.stderr
    if closed == ">&-":
        assert all(line.startswith(b"currant: ") for line in ended.stderr.splitlines())
        assert ended.returncode != 0
    else:
        assert ended.stdout == b"a | hi\n"
        assert ended.returncode in (7, 141)


# ---- options about what is shown ----


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (["-p", "[{name}] {stream}: "], b"[a] stdout: 1\n[a] stdout: 2\n"),
        (["--prefix", ""], b"1\n2\n"),
        (["--raw"], b"1\n2"),
        (["-g"], b"a | 1\na | 2\n"),
        (["-q"], b"a | 1\na | 2\n"),
        (["--color", "never"], b"a | 1\na | 2\n"),
        (["-c", "red"], b"a | 1\na | 2\n"),
    ],
)
def test_options_decide_how_output_is_shown(run: Run, options: list[str], shown: bytes) -> None:
    """Prefix, raw bytes, groups and colours are as asked for."""
    assert run("-n", "a", *options, r"printf '1\n2'") == (0, shown, b"")


def test_timestamps_stand_before_the_lines(run: Run) -> None:
    """Each line has the time of day at which it was read."""
    assert re.fullmatch(rb"\d\d:\d\d:\d\d a \| 1\n", run("-n", "a", "--timestamps", "echo 1").out)


def test_quiet_says_nothing_of_failures(run: Run) -> None:
    """The status still tells."""
    assert run("-q", "-n", "a", "echo err >&2; exit 3") == (3, b"", b"a | err\n")


def test_group_shows_one_command_after_the_other(start: Start, gate: Gate) -> None:
    """What ends first is shown first, in one block, whoever wrote first."""
    cli = start("-g", "-n", "a,b", f"echo 1; {gate.wait}; echo 2", "echo 3; echo 4")
    cli.until(b"b | 4\n")
    gate.open()
    assert cli.end() == (0, b"b | 3\nb | 4\na | 1\na | 2\n", b"")


def test_colours_can_be_given(run: Run) -> None:
    """--colors names rich's styles, in order; --color always shows them in a pipe too."""
    options = ("--color", "always", "-n", "a,b,c", "-m", "1", "-c", "magenta,auto")
    out = run(*options, "echo 1", "echo 2", "echo 3").out
    colors = [code.removeprefix(b"0;") for code, _ in COLOR.findall(out)]
    assert colors[0] == b"35"
    assert len(set(colors)) == 3


def test_json_is_one_object_for_each_message(run: Run) -> None:
    """Everything is on stdout, what commands write to stderr too; the status is the same."""
    status, out, err = run("--json", "-n", "a", "echo 1; echo 2 >&2; exit 3")
    objects = [json.loads(line) for line in out.splitlines()]
    assert (status, err) == (3, b"")
    assert sorted((o["stream"], o["text"]) for o in objects if o["type"] == "line") == [
        ("stderr", "2"),
        ("stdout", "1"),
    ]
    assert objects[-1]["exit"]["code"] == 3


def test_log_dir_has_the_bytes_of_each_command(run: Run, tmp_path: Path) -> None:
    """Beside the output on the terminal, in a directory that is made."""
    options = ("-n", "a,b", "--log-dir", str(tmp_path / "logs"))
    assert run(*options, r"printf '1\r\n'", "true").out == b"a | 1\n"
    files = {file.name: file.read_bytes() for file in (tmp_path / "logs").iterdir()}
    assert files == {"a.log": b"1\r\n", "b.log": b""}


def test_summary_is_a_table_of_how_commands_ended(
    start: Start, lifeline: Lifeline, gate: Gate
) -> None:
    """At the end, on stderr, in the order given: name, status, exit, attempts, duration."""
    fails, dies = f"{gate.wait}; exit 3", f"{gate.wait}; kill -SEGV $$"
    commands = (fails, lifeline.hold("works"), f"echo up; {EXEC_FOREVER}", dies)
    options = ("-q", "-n", "fails,works,stays,[dies]", "-m", "4", "--summary", "-s", "works")
    kill = ("--restart", "on-failure", "--max-restarts", "1", "--restart-delay", "0")
    cli = start(*options, *kill, "-k", "failure", *commands)
    # The success of "works" stops nothing; what fails for good stops the one that is up.
    lifeline.wait_for("works")
    lifeline.wait_for_end()
    cli.until(b"stays  | up\n")
    for _ in range(4):
        gate.open()
    status, out, err = cli.end()
    assert (status, out) == (0, b"stays  | up\n")
    table = [line.split() for line in err.decode().splitlines()]
    assert table[0] == ["name", "status", "exit", "attempts", "duration"]
    assert [row[0] for row in table[1:]] == ["fails", "works", "stays", "[dies]"]
    rows = {row[0]: row for row in table}
    assert rows["works"][1:-2] == ["succeeded", "exit", "code", "0", "1"]
    assert rows["stays"][1:-2] == ["stopped", "stopped", "(SIGTERM)", "1"]
    failed = {"fails": ["failed", "exit", "code", "3", "2"], "[dies]": ["failed", "SIGSEGV", "2"]}
    ended = {name: rows[name][1:-2] for name in failed}
    assert any(ended[name] == failed[name] for name in failed), ended


def test_summary_shows_names_of_any_kind_on_one_line(run: Run) -> None:
    """A newline or an escape in a name is shown and not obeyed; brackets are no markup."""
    names = "new\nline,\x1b[31mred,[bold]"
    err = run("-q", "-n", names, "--summary", *["true"] * 3, env={"FORCE_COLOR": ""}).err
    shown = [line.split()[0] for line in err.decode().splitlines()[1:]]
    assert shown == ["new\\nline", "\\x1b[31mred", "[bold]"]


def test_summary_is_shown_after_ctrl_c_too(on_terminal: Start, gate: Gate) -> None:
    """On a terminal it is coloured by the status, and stands below all output."""
    cli = on_terminal("-n", "a", "--summary", f"echo ready; {gate.wait}")
    cli.until(b"ready")
    type_on(cli, b"\x03")
    ended = cli.end()
    assert ended.status == 130
    assert re.search(rb"\x1b\[33mstopped", ended.out)
    assert plain(ended.out).splitlines()[-1].split()[:3] == [b"a", b"stopped", b"stopped"]


def test_variables_can_come_from_files(run: Run, tmp_path: Path) -> None:
    """With --env-file, given again for more; a later one wins, and all win over ours."""
    (tmp_path / "one").write_text("A=1\nB='b b'\nPYTHONUNBUFFERED=\n")
    (tmp_path / "two").write_text("A=2\n")
    files = [f"--env-file={tmp_path / name}" for name in ("one", "two")]
    command = 'echo "$A $B $C [$PYTHONUNBUFFERED]"'
    assert run("-r", *files, command, env={"A": "0", "C": "3"}).out == b"2 b b 3 []\n"


def test_more_commands_than_our_limit_of_files_allows(run: Run) -> None:
    """The limit is raised to what they need, where the system lets us."""
    ended = subprocess.run(
        ["sh", "-c", 'ulimit -S -n 64 && exec "$@"', "sh", *CURRANT, "run", *["echo $$"] * 100],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        timeout=LIMIT,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert len(ended.stdout.splitlines()) == 100


def test_a_log_dir_that_cannot_be_made_is_told(run: Run) -> None:
    """One line that names it; nothing is started."""
    status, _, err = run("-n", "a", "--log-dir", "/dev/null/logs", "echo 1")
    assert (status, err) == (2, b"currant: --log-dir /dev/null/logs: Not a directory\n")


def test_a_long_batch_shows_its_progress_on_a_terminal(on_terminal: Start, gate: Gate) -> None:
    """With more commands than may run at once; cleared at the end."""
    commands = ("echo 1", f"{gate.wait}; exit 3")
    cli = on_terminal("-m", "1", "--color", "never", "-n", "a,b", *commands)
    cli.until(b"currant: 1/2 done, 1 running, 0 failed")
    gate.open()
    out = cli.end().out
    assert b"currant: 2/2 done, 0 running, 1 failed\r\x1b[K" in out
    short = on_terminal("-m", "2", "-n", "a,b", "echo 1", "exit 3").end().out
    assert b"done" not in short


# ---- options about how commands run ----


def test_cwd_is_where_the_commands_run(run: Run, tmp_path: Path) -> None:
    """--cwd holds for all of them."""
    assert run("-n", "a", "--cwd", str(tmp_path), "pwd").out == b"a | %s\n" % bytes(tmp_path)


@pytest.mark.parametrize("name", ["INT", "sigint", "2"])
def test_the_stop_signal_can_be_chosen(start: Start, gate: Gate, name: str) -> None:
    """--stop-signal takes a name, with or without SIG, or a number."""
    cli = start("-n", "a", "--stop-signal", name, f"trap 'echo int' INT; echo go; {gate.wait}")
    cli.until(b"go\n")
    cli.signal(signal.SIGTERM)
    cli.until(b"int\n")
    gate.open()
    assert cli.end().status == 143


def test_restarts_are_counted_and_delayed(run: Run) -> None:
    """--max-restarts ends them, --restart-delay is the first wait."""
    options = ("--restart", "on-failure", "--max-restarts", "1", "--restart-delay", "0")
    status, out, err = run("-n", "a", *options, "echo 1; exit 3")
    assert (status, out) == (3, b"a | 1\na | 1\n")
    assert b"restarting in 0.0 s" in err


@pytest.mark.parametrize("share", ["1%", "100%"])
def test_max_processes_may_be_a_share_of_the_cpus(run: Run, share: str) -> None:
    """At least one runs, whatever the share."""
    assert run("-n", "a", "-m", share, "echo 1") == (0, b"a | 1\n", b"")


@pytest.mark.parametrize(
    ("env", "shown"),
    [({}, b"1"), ({"PYTHONUNBUFFERED": ""}, b""), ({"PYTHONUNBUFFERED": "x"}, b"x")],
)
def test_python_does_not_keep_output_to_itself(run: Run, env: dict[str, str], shown: bytes) -> None:
    """PYTHONUNBUFFERED is set for the commands, unless it is set already."""
    assert run("-n", "a", "echo $PYTHONUNBUFFERED", env=env).out == b"a | " + shown + b"\n"


@pytest.mark.parametrize(
    ("options", "env", "shown"),
    [
        ([], {}, b"1"),
        ([], {"NO_COLOR": "1"}, b""),
        ([], {"FORCE_COLOR": "3"}, b"3"),
        (["--color", "never"], {}, b""),
        (["--json"], {}, b""),
    ],
)
def test_commands_may_show_colours_where_we_are_on_a_terminal(
    on_terminal: Start, options: list[str], env: dict[str, str], shown: bytes
) -> None:
    """FORCE_COLOR is set for them on a terminal, unless colours are not wanted."""
    out = on_terminal("-n", "a", *options, "echo is=$FORCE_COLOR.", env=env).end().out
    assert b"is=%s." % shown in out


def test_commands_are_not_asked_for_colours_in_a_pipe(run: Run) -> None:
    """What is written to a file or pipe is for programs."""
    assert run("-n", "a", "echo $FORCE_COLOR").out == b"a | \n"


# ---- errors of use ----


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "COMMAND"),
        (["--no-such-option", "{}"], "--no-such-option"),
        (["--restart", "sometimes", "{}"], "sometimes"),
        (["--kill-others-on", "boredom", "{}"], "boredom"),
        (["--max-processes", "0", "{}"], "--max-processes"),
        (["--max-processes", "many", "{}"], "many"),
        (["--grace", "-1", "{}"], "--grace"),
        (["--grace", "soon", "{}"], "soon"),
        (["--grace", "nan", "{}"], "grace"),
        (["--names", "a,b", "{}"], "2 names for 1 command"),
        (["--names", "a", "{}", "{}"], "1 name"),
        (["--names", "a,a", "{}", "{}"], "'a'"),
        (["--names", "a,", "{}", "{}"], "name"),
        (["{}", ""], "blank"),
        (["{}", " "], "blank"),
        (["--prefix", "{nmae}", "{}"], "no field {nmae}"),
        (["--colors", "blurple", "{}"], "blurple"),
        (["--colors", "red,red", "{}"], "2 colours for 1 command"),
        (["--raw", "--group", "{}"], "--raw and --group"),
        (["--json", "--raw", "{}"], "--raw and --json"),
        (["--max-restarts", "3", "{}"], "--restart"),
        (["--restart-delay", "3", "{}"], "--restart"),
        (["--stop-signal", "FOO", "{}"], "unknown signal 'FOO'"),
        (["--max-processes", "0%", "{}"], "0%"),
        (["--success", "b", "-n", "a", "{}"], "--success b"),
        (["--cwd", "/no/such/folder", "{}"], "/no/such/folder"),
        (["--env-file", "/no/such/file", "{}"], "cannot read the variables in /no/such/file"),
    ],
)
def test_a_wrong_use_is_told_and_starts_nothing(
    run: Run, tmp_path: Path, arguments: list[str], told: str
) -> None:
    """Errors of use: one line that says what is wrong, status 2."""
    touch = f"touch '{tmp_path}/started'"
    status, out, err = run(*[argument.replace("{}", touch) for argument in arguments])
    assert (status, out) == (2, b"")
    lines = err.decode().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("currant: ")
    assert told in lines[0]
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("arguments", [["walk"], ["--no-such-option"]])
def test_an_unknown_subcommand_is_told(arguments: list[str]) -> None:
    """What is not ``run`` is an error of use as well."""
    ended = subprocess.run(
        [*CURRANT, *arguments, "true"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        timeout=LIMIT,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (2, b"")
    assert arguments[0] in ended.stderr.decode().splitlines()[-1]


def test_a_program_that_does_not_exist_is_told_by_the_shell(run: Run) -> None:
    """A COMMAND that the shell cannot find fails with the shell's 127, as a command does."""
    status, out, err = run("-n", "a", "no-such-program")
    assert (status, out) == (127, b"")
    assert b"a | " in err
    assert b"not found" in err
    assert err.endswith(b"currant: a: exit code 127\n")


# ---- on a terminal ----


def test_ctrl_c_stops_gracefully(on_terminal: Start, lifeline: Lifeline, gate: Gate) -> None:
    """Ctrl-C is for currant alone, which asks its commands to end; the status is 130."""
    tidy = f"trap 'echo wrong' INT; trap 'echo bye; exit 3' TERM; echo ready; {gate.wait}"
    cli = on_terminal("-n", "a", f"{lifeline.hold('a')}; {tidy}")
    cli.until(b"ready\r\n")
    type_on(cli, b"\x03")
    ended = cli.end()
    assert ended.status == 130
    assert lifeline.ended() == {"a"}
    assert plain(ended.out).replace(b"^C", b"") == b"a | ready\na | bye\n"


def test_ctrl_c_twice_ends_at_once(on_terminal: Start, lifeline: Lifeline, gate: Gate) -> None:
    """The second Ctrl-C kills what ignores SIGTERM, however long the grace."""
    stubborn = f"{lifeline.hold('a')}; trap 'echo asked' TERM; echo ready; {gate.wait}"
    cli = on_terminal("-n", "a", "--grace", "9999", stubborn)
    cli.until(b"ready\r\n")
    type_on(cli, b"\x03")
    cli.until(b"asked\r\n")
    type_on(cli, b"\x03")
    ended = cli.end()
    assert ended.status == 130
    assert lifeline.ended() == {"a"}
    assert b"Traceback" not in ended.out


@pytest.mark.parametrize("command", [EXEC_FOREVER, "while :; do echo line; done"])
def test_when_the_terminal_is_closed_all_is_stopped(
    on_terminal: Start, lifeline: Lifeline, command: str
) -> None:
    """A closed window is a SIGHUP: nothing is left that belonged to it."""
    cli = on_terminal("-n", "a", f"{lifeline.hold('a')}; echo ready; {command}")
    cli.until(b"ready\r\n")
    cli.close()
    # Its output may have failed before the signal came.
    assert cli.wait() in ((129,) if command == EXEC_FOREVER else (129, 1))
    assert lifeline.ended() == {"a"}


def test_a_command_cannot_take_the_terminal(on_terminal: Start) -> None:
    """Commands have no terminal: reading from it fails at once, and nothing is suspended."""
    command = "cat; (: </dev/tty) 2>/dev/null || echo no terminal"
    status, out, _ = on_terminal("-n", "a", command).end()
    assert (status, plain(out)) == (0, b"a | no terminal\n")


COLOR = re.compile(rb"\x1b\[([0-9;]+)m(\w+ \| )\x1b\[0m")


def test_prefixes_are_coloured_on_a_terminal(on_terminal: Start) -> None:
    """Each command has a colour of its own, for the prefix only; the text is as without."""
    ended = on_terminal("-q", "-m", "1", "-n", "a,b", "echo 1; echo 2", "echo 3; echo 4 >&2").end()
    colors = {name: color for color, name in COLOR.findall(ended.out)}
    assert set(colors) == {b"a | ", b"b | "}
    assert colors[b"a | "] != colors[b"b | "]
    assert len(COLOR.findall(ended.out)) == 4
    lines = plain(ended.out).splitlines()
    assert lines[:2] == [b"a | 1", b"a | 2"]
    assert sorted(lines[2:]) == [b"b | 3", b"b | 4"]  # from two pipes, in either order


@pytest.mark.parametrize(
    ("env", "colored"),
    [
        ({"NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        ({"NO_COLOR": ""}, True),
        ({"TERM": "xterm-256color"}, True),
    ],
)
def test_variables_decide_about_colours_on_a_terminal(
    on_terminal: Start, env: dict[str, str], *, colored: bool
) -> None:
    """NO_COLOR, where it is not empty, and TERM=dumb turn colours off."""
    ended = on_terminal("-n", "a", "echo hi; echo err >&2", env=env).end()
    assert (b"\x1b" in ended.out) is colored
    assert sorted(plain(ended.out).splitlines()) == [b"a | err", b"a | hi"]


@pytest.mark.parametrize(
    ("env", "colored"),
    [
        ({"TERM": "xterm"}, False),
        ({"TERM": "xterm", "FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": "1"}, True),
        ({"TERM": "xterm", "FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_pipes_are_coloured_only_where_it_is_asked_for(
    run: Run, env: dict[str, str], *, colored: bool
) -> None:
    """In a pipe there are no colours, unless FORCE_COLOR asks for them and NO_COLOR does not."""
    ended = run("-n", "a", "echo hi; echo err >&2", env=env)
    assert [bool(COLOR.match(data)) for data in ended[1:]] == [colored] * 2
    assert [plain(data) for data in ended[1:]] == [b"a | hi\n", b"a | err\n"]


def test_each_stream_is_coloured_by_what_it_is(on_terminal: Start, tmp_path: Path) -> None:
    """With ``currant run … >log`` the log has no colours, and the terminal has."""
    with open(tmp_path / "log", "wb") as log:
        cli = on_terminal("-n", "a", "echo hi; echo err >&2", stdout=log.fileno())
        on_screen = cli.end().out
    assert (tmp_path / "log").read_bytes() == b"a | hi\n"
    assert COLOR.match(on_screen)
    assert plain(on_screen) == b"a | err\n"


# ---- in tmux ----


class Tmux:
    """A tmux server of its own, with one window in which a shell runs."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._socket = f"currant-test-{uuid4()}"
        # Of its own, since tmux leaves its socket behind; short, since a socket's path has to be.
        self._folder = tempfile.TemporaryDirectory(dir="/tmp")
        folder = {"TMUX_TMPDIR": self._folder.name}
        self._env = environment({"ENV": "", "TERM": "xterm", **folder, **env})
        self("new-session", "-d", "-x", "100", "-y", "40", "-c", str(ROOT), "exec sh")
        self.type("PS1='prompt> '")

    def __call__(self, *arguments: str) -> str:
        """Give tmux a command; return what it prints."""
        command = ["tmux", "-L", self._socket, "-f", "/dev/null", *arguments]
        return subprocess.run(
            command, env=self._env, capture_output=True, timeout=LIMIT, check=True, text=True
        ).stdout

    def type(self, line: str) -> None:
        """Type `line` and Enter."""
        self("send-keys", "-l", line)
        self("send-keys", "Enter")

    def until(self, *patterns: str) -> str:
        """Wait until each of `patterns` is found on the screen; return the screen."""
        deadline = time.monotonic() + LIMIT
        while True:
            screen = self("capture-pane", "-p", "-J")
            if all(re.search(pattern, screen, re.MULTILINE) for pattern in patterns):
                return screen
            assert time.monotonic() < deadline, f"waiting for {patterns} on the screen:\n{screen}"

    def close(self) -> None:
        """End the server and all that runs in it."""
        self("kill-server")
        self._folder.cleanup()


@pytest.fixture
def tmux(lifeline: Lifeline, gate: Gate) -> Iterator[Tmux]:
    """A window of tmux; in its shell ``$currant`` is currant, and ``$web`` and so on commands."""
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed: apt-get install tmux, or brew install tmux")
    saves = f"trap 'echo saved; exit 0' TERM; echo up >&2; {gate.wait}"
    tmux = Tmux(
        {
            "currant": " ".join(CURRANT),
            "web": f"{lifeline.hold('web')}; echo listening; {EXEC_FOREVER}",
            "tick": f"{lifeline.hold('tick')}; seq 3; {EXEC_FOREVER}",
            "db": f"{lifeline.hold('db')}; {saves}",
            "pause": f"{lifeline.hold('pause')}; {PAUSES}",
        }
    )
    try:
        yield tmux
    finally:
        tmux.close()


RUN_THREE = '$currant run --names web,tick,db "$web" "$tick" "$db"; echo "status=$?"'
SHOWN = ("^web  \\| listening$", *(f"^tick \\| {n}$" for n in "123"), "^db   \\| up$")


def test_three_commands_in_a_window_of_tmux(tmux: Tmux, lifeline: Lifeline) -> None:
    """The screen shows each line with its prefix; Ctrl-C gives the prompt back, and status 130."""
    tmux.until(r"prompt>\s*$")
    tmux.type(RUN_THREE)
    tmux.until(*SHOWN)
    tmux("send-keys", "C-c")
    screen = tmux.until(r"^status=130$", r"^db   \| saved$|\^Cdb   \| saved$", r"^prompt>\s*\Z")
    assert lifeline.ended() == {"web", "tick", "db"}
    assert "Traceback" not in screen
    assert "\x1b[" in tmux("capture-pane", "-p", "-e")


def test_ctrl_z_and_fg_in_a_window_of_tmux(tmux: Tmux, lifeline: Lifeline) -> None:
    """Ctrl-Z gives the prompt back and stops the commands; fg goes on with both."""
    tmux.until(r"prompt>\s*$")
    tmux.type('$currant run -n a "$pause"; echo "status=$?"')
    tmux.until(r"^a \| \d+$")
    tmux("send-keys", "C-z")
    tmux.until(r"Stopped", r"^prompt>\s*\Z")
    tmux.type('fg; echo "status=$?"')
    tmux.until(r"^a \| resumed$")
    tmux("send-keys", "C-c")
    tmux.until(r"status=130$", r"^prompt>\s*\Z")
    assert lifeline.ended() == {"pause"}


def test_a_window_of_tmux_that_is_closed_leaves_nothing(tmux: Tmux, lifeline: Lifeline) -> None:
    """Closing the window under running commands ends all of them."""
    tmux.type(RUN_THREE)
    tmux.until(*SHOWN)
    tmux("new-window", "exec sh")
    tmux("kill-window", "-t", "0")
    assert lifeline.wait_for_end() == {"web", "tick", "db"}
