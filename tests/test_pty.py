"""Commands in a terminal: what programs see of it, what is typed, and that it ends like a pipe.

Programs are made to wait for what is typed or for a signal, so that no test waits for time to pass.
"""

from __future__ import annotations

import errno
import os
import re
import sys
import termios
import threading
import warnings
from contextlib import asynccontextmanager
from pathlib import Path
from signal import SIGINT, SIGKILL, SIGTERM, SIGWINCH
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from anyio.lowlevel import checkpoint

from currant import (
    PIPE,
    Command,
    CommandError,
    Exit,
    Line,
    LocalLauncher,
    Pty,
    Runner,
    StdinClosedError,
)
from currant._process.spawn import start_with_pidfd, start_without_pidfd
from currant._system.groups import has_pidfds
from currant._values.errors import LaunchError
from currant._values.shutdown_limits import ShutdownLimits
from currant.testing import FakeLauncher, Script
from tests.files import files_left
from tests.programs import Programs
from tests.streams import read_all
from tests.system import needs_proc
from tests.waiting import EXEC_FOREVER, HOURS, LIMIT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Unpack

    from currant._process.local import LocalProcess
    from currant._values.command import CommandOptions
    from tests.lifeline import Lifeline

pytestmark = pytest.mark.anyio

IN_TERMINAL: CommandOptions = {"name": "c", "pty": True}
NULL = "<>/dev/null >&0 2>&0"


def shell(line: str, **options: Unpack[CommandOptions]) -> Command:
    """Return a command that has a shell run `line` in a terminal."""
    return Command.shell(line, **(IN_TERMINAL | options))


def python(source: str, *words: str, **options: Unpack[CommandOptions]) -> Command:
    """Return a command that runs a Python program in a terminal, quick to start."""
    argv = [sys.executable, "-ISc", source, *words]
    return Command(argv, **(IN_TERMINAL | options))


async def output_of(command: Command, launcher: LocalLauncher | None = None) -> bytes:
    """Return all that a command prints until it ends."""
    with anyio.fail_after(LIMIT):
        async with Runner([command], capture=True, launcher=launcher) as runner:
            await runner.join()
    output = runner.results["c"].stdout
    assert output is not None
    return output


@asynccontextmanager
async def running(command: Command, **options: Any) -> AsyncIterator[Runner]:
    """Run a command until the block is left; the limit is on all of it."""
    with anyio.fail_after(LIMIT):
        async with Runner([command], **{"grace": HOURS, **options}) as runner:
            yield runner


async def until_line(runner: Runner, text: str) -> None:
    """Wait for a line."""
    async for message in runner:
        if isinstance(message, Line) and message.text == text:
            return
    pytest.fail(f"it did not say {text!r}")


# ---- what a program sees ----

LOOK = """
import os
print([os.isatty(fd) for fd in range(3)], len({os.ttyname(fd) for fd in range(3)}))
terminal = os.open("/dev/tty", os.O_RDWR)
print(os.tcgetpgrp(terminal) == os.getpid() == os.getsid(0), flush=True)
os.write(terminal, b"directly\\n")
"""


@pytest.mark.parametrize("pidfds", [True, False])
async def test_a_command_has_a_terminal_that_is_its_own(*, pidfds: bool) -> None:
    """All three standard files are one terminal, the controlling one, on every kind of system."""
    if pidfds and not has_pidfds():
        pytest.skip("waits through pidfds: Linux 5.3 or later")
    launcher = LocalLauncher(_start=start_with_pidfd if pidfds else start_without_pidfd)
    output = await output_of(python(LOOK), launcher)
    assert output == b"[True, True, True] 1\r\nTrue\r\ndirectly\r\n"


async def test_without_pidfds_a_command_is_stopped_as_with_them() -> None:
    """Where the exit has to be looked for, a stop and a wait for it still meet."""
    launcher = LocalLauncher(_start=start_without_pidfd)
    async with running(shell(f"echo ready; {EXEC_FOREVER}"), launcher=launcher) as runner:
        await until_line(runner, "ready")
        runner.kill()
    assert runner.results["c"].exit == Exit(None, SIGTERM, stopped=True)


@needs_proc
async def test_a_command_has_no_file_but_its_terminal() -> None:
    """Our end of its terminal, and the ends of others, are not inherited; and its own blocks."""
    async with LocalLauncher() as launcher:
        # Stopped, since a program that is being loaded opens files of its own.
        pids = [(await launcher.launch(shell("kill -STOP $$"))).pid for _ in range(2)]
        for pid in pids:
            os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)  # noqa: ASYNC222 - a moment
            files = f"/proc/{pid}/fd"
            assert sorted(os.listdir(files)) == ["0", "1", "2"]
            flags = Path(f"/proc/{pid}/fdinfo/0").read_text().split("flags:")[1].split()[0]
            assert not int(flags, 8) & os.O_NONBLOCK


async def test_its_lines_end_as_those_of_a_terminal_and_are_all_stdout() -> None:
    r"""What goes to stderr arrives on stdout, in order, and ``\r\n`` arrives as it is."""
    async with running(shell("echo one; echo two >&2; echo three")) as runner:
        lines = [message async for message in runner if isinstance(message, Line)]
    assert [(line.stream, line.data, line.ending) for line in lines] == [
        ("stdout", b"one", b"\r\n"),
        ("stdout", b"two", b"\r\n"),
        ("stdout", b"three", b"\r\n"),
    ]


async def test_a_program_writes_line_by_line() -> None:
    """A line that a program did not flush is seen while the program goes on."""
    source = "import time; print('seen'); time.sleep(9999)"
    async with running(python(source)) as runner:
        await until_line(runner, "seen")
        runner.kill()


@pytest.mark.parametrize(
    ("host", "command", "seen"),
    [
        (None, {}, b"xterm-256color"),
        ("of-the-host", {}, b"of-the-host"),
        ("of-the-host", {"env": {"TERM": "its-own"}}, b"its-own"),
        ("of-the-host", {"inherit_env": False}, b"xterm-256color"),
    ],
)
async def test_a_terminal_has_a_name_where_nobody_gave_it_one(
    monkeypatch: pytest.MonkeyPatch, host: str | None, command: CommandOptions, seen: bytes
) -> None:
    """TERM is what the command or the host say, and else one that programs know."""
    monkeypatch.delenv("TERM", raising=False)
    if host is not None:
        monkeypatch.setenv("TERM", host)
    assert await output_of(shell('echo "$TERM"', **command)) == seen + b"\r\n"


async def test_without_a_terminal_a_command_gets_no_name_of_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """TERM is left alone where there is no terminal."""
    monkeypatch.delenv("TERM", raising=False)
    assert await output_of(shell('echo "${TERM-none}"', pty=False)) == b"none\n"


@pytest.mark.parametrize("size", [24, 1000])
async def test_much_output_before_the_exit_is_complete(size: int) -> None:
    """What is written right before the exit is read to its end, however much it is."""
    line = f"head -c {size * 1000} /dev/zero | tr '\\0' x"
    for _ in range(3):
        assert await output_of(shell(line)) == b"x" * size * 1000


async def test_many_lines_before_the_exit_are_complete() -> None:
    """The same, where each line gets a carriage return on its way."""
    lines = b"".join(b"%d\r\n" % number for number in range(1, 100_001))
    assert await output_of(shell("seq 1 100000")) == lines


async def test_a_command_that_closes_its_terminal_runs_on() -> None:
    """The end of the output is not the exit, and it can be stopped after it."""
    with anyio.fail_after(LIMIT):
        async with LocalLauncher() as launcher:
            process = await launcher.launch(shell(f"echo last; {EXEC_FOREVER} {NULL}"))
            assert await read_all(process.stdout) == b"last\r\n"
            await process.resize(30, 100)
            assert await process.send_signal(0)
            assert await process.stop(SIGTERM, HOURS) == Exit(None, SIGTERM, stopped=True)


# ---- its size ----


@pytest.mark.parametrize(("pty", "size"), [(True, b"24 80"), (Pty(33, 65535), b"33 65535")])
async def test_a_terminal_has_the_size_given(pty: bool | Pty, size: bytes) -> None:
    """The size is set before the program runs."""
    assert await output_of(shell("stty size", pty=pty)) == size + b"\r\n"


WATCH_SIZE = """
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGWINCH})
print("ready")
signal.sigwait({signal.SIGWINCH})
print(*os.get_terminal_size())
"""


async def test_a_program_is_told_of_another_size() -> None:
    """Resizing is seen by SIGWINCH, and the size is there by then."""
    async with running(python(WATCH_SIZE)) as runner:
        await until_line(runner, "ready")
        await runner["c"].resize(50, 120)
        await until_line(runner, "120 50")
    await runner["c"].resize(1, 1)  # nobody is there, and that is no error
    assert runner.results.ok


async def test_a_size_stays_for_the_next_attempt() -> None:
    """A process that is started again has the size that was set last."""
    async with running(shell(f"stty size; {EXEC_FOREVER}")) as runner:
        await until_line(runner, "24 80")
        await runner["c"].resize(50, 120)
        await runner["c"].restart()
        await until_line(runner, "50 120")
        runner.kill()


async def test_a_size_set_while_no_process_runs_is_that_of_the_next_one() -> None:
    """A command that is queued, or in the middle of its start, has it once it runs."""
    scripts = {"first": Script(exit=None), "c": Script(exit=None, starting=0.05)}
    launcher = FakeLauncher(scripts)
    commands = {"first": "first", "c": Command(["c"], pty=True)}
    with anyio.fail_after(LIMIT):
        async with Runner(commands, launcher=launcher, max_processes=1) as runner:
            job = runner["c"]
            await job.resize(30, 100)
            runner["first"].kill()
            while job.attempts == 0:
                await checkpoint()
            await job.resize(31, 100)
            await job.until_started()
            while launcher["c"].terminal != Pty(31, 100):
                await checkpoint()
            assert launcher["c"].command.pty == Pty(30, 100)
            assert launcher["c"].signals == [SIGWINCH]
            await job.resize(32, 100)
            await job.resize(32, 100)
            assert launcher["c"].terminal == Pty(32, 100)
            assert launcher["c"].signals == [SIGWINCH] * 2
            await job.restart()
            assert launcher["c"].terminal == Pty(32, 100)
            assert job.command.pty == Pty()
            runner.kill()


@pytest.mark.parametrize(("rows", "columns", "told"), [(0, 80, "rows"), (24, 65536, "columns")])
async def test_a_size_that_cannot_be_is_refused(rows: int, columns: int, told: str) -> None:
    """A wrong number is a `CommandError` that names it, and changes nothing."""
    async with running(
        shell(EXEC_FOREVER), launcher=FakeLauncher(default=Script(exit=None))
    ) as runner:
        with pytest.raises(CommandError, match=told):
            await runner["c"].resize(rows, columns)
        runner.kill()


async def test_a_command_without_a_terminal_has_no_size() -> None:
    """The error says what it lacks."""
    async with running(shell("true", pty=False)) as runner:
        with pytest.raises(CommandError, match="'c' has no terminal: it was built without a pty"):
            await runner["c"].resize(24, 80)


# ---- what is typed ----


@pytest.mark.parametrize("stdin", [None, PIPE])
async def test_what_is_sent_is_typed_and_the_end_of_it_too(stdin: int | None) -> None:
    """Input is echoed and read line by line; close_stdin ends it, as ^D does."""
    async with running(Command(["cat"], name="c", pty=True, stdin=stdin), capture=True) as runner:
        await runner["c"].send(b"hello\n")
        await until_line(runner, "hello")
        await until_line(runner, "hello")
        await runner["c"].close_stdin()
    assert runner.results["c"].stdout == b"hello\r\nhello\r\n"
    assert runner.results.ok
    await runner["c"].close_stdin()
    with pytest.raises(StdinClosedError, match="does not run"):
        await runner["c"].send(b"late")


async def test_the_end_may_be_typed_several_times() -> None:
    """A terminal stays open: what one program in it took for its end, the next one does not."""
    async with running(shell("cat; echo next; cat; echo over"), capture=True) as runner:
        await runner["c"].close_stdin()
        await until_line(runner, "next")
        await runner["c"].send(b"more\n")
        await runner["c"].close_stdin()
        await until_line(runner, "over")
    output = runner.results["c"].stdout
    assert output is not None
    assert output.startswith(b"next\r\n")
    assert output.endswith(b"over\r\n")


async def test_the_end_is_the_character_that_the_program_has_chosen() -> None:
    """A terminal may have another one than ^D."""
    async with running(shell("stty eof ^A; echo ready; cat; echo over")) as runner:
        await until_line(runner, "ready")
        await runner["c"].close_stdin()
        await until_line(runner, "over")


@pytest.mark.parametrize(
    "data",
    [b"", b"one\n", b"one\ntwo", (b"x" * 99 + b"\n") * 2_000],
    ids=["nothing", "a line", "two lines", "many lines"],  # pytest puts them into a variable
)
async def test_bytes_are_typed_and_then_the_end(data: bytes) -> None:
    """All of them arrive, whether the last line is complete or not."""
    output = await output_of(shell("wc -c; echo over", stdin=data))
    # Not the end of it: the system is in no hurry to echo what is typed, and may leave out some.
    assert re.findall(rb"\d+", output) == [b"%d" % len(data)]
    assert b"over\r\n" in output


async def test_what_is_sent_after_bytes_is_typed_as_well() -> None:
    """The terminal is there whatever `stdin` is."""
    async with running(shell("cat; cat; echo over", stdin=b"one\n")) as runner:
        await until_line(runner, "one")
        await runner["c"].send(b"two\n")
        await runner["c"].close_stdin()
        await until_line(runner, "over")


async def test_control_c_interrupts_who_is_in_the_foreground() -> None:
    """The terminal makes a signal of it."""
    async with running(shell(f"echo ready; {EXEC_FOREVER}")) as runner:
        await until_line(runner, "ready")
        await runner["c"].send(b"\x03")
    assert runner.results["c"].exit == Exit(None, SIGINT)


async def test_typing_waits_for_who_reads() -> None:
    """What a program does not read fills the terminal, and the sender waits; all of it arrives."""
    data = (b"x" * 99 + b"\n") * 2_000
    line = "stty -echo; echo ready; read go; wc -c"
    async with running(shell(line)) as runner:
        await until_line(runner, "ready")
        job = runner["c"]
        sent: list[bool] = []

        async def send() -> None:
            await job.send(data)
            sent.append(True)
            await job.close_stdin()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            async for message in runner:
                if isinstance(message, Line):
                    assert int(message.text) == len(data) - 100
                    break
        assert sent


async def test_who_waits_for_room_is_told_of_the_end() -> None:
    """A sender is not left waiting for a program that is gone."""
    async with running(shell(f"stty -echo; echo ready; {EXEC_FOREVER}")) as runner:
        await until_line(runner, "ready")
        told: list[StdinClosedError] = []

        async def send() -> None:
            try:
                await runner["c"].send(b"a line\n" * 100_000)
            except StdinClosedError as error:
                told.append(error)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            await wait_all_tasks_blocked()
            assert not told
            runner.kill()
        assert len(told) == 1


# ---- its end ----


@pytest.mark.parametrize(
    ("trap", "grace", "end"),
    [
        ("", HOURS, Exit(None, SIGTERM, stopped=True)),
        ("trap '' TERM; ", 0.05, Exit(None, SIGKILL, stopped=True, forced=True)),
    ],
)
async def test_a_kill_ends_it_as_any_other(trap: str, grace: float, end: Exit) -> None:
    """Ask, wait, force: for the whole group, and all that it said is there."""
    async with running(
        shell(f"{trap}sleep 9999 & echo ready; {EXEC_FOREVER}"), grace=grace, capture=True
    ) as runner:
        await until_line(runner, "ready")
        runner.kill()
    assert runner.results["c"].exit == end
    assert runner.results["c"].stdout == b"ready\r\n"


async def test_each_attempt_has_a_terminal_of_its_own() -> None:
    """After a restart input and output are those of the new process."""
    async with running(Command(["cat"], name="c", pty=True)) as runner:
        for text in ("one", "two", "three"):
            await runner["c"].send(text.encode() + b"\n")
            await until_line(runner, text)
            await runner["c"].restart()
        await runner["c"].close_stdin()
    assert runner.results["c"].attempts == 4


STRANGER = """
import os, signal, sys
signal.signal(signal.SIGHUP, signal.SIG_IGN)
left, leave = os.pipe()
if os.fork() == 0:
    os.setsid()
    os.write(leave, b"x")
    with open(sys.argv[1], "rb") as over:
        over.read()
    os._exit(0)
os.read(left, 1)
os.set_blocking(1, False)
count = 0
try:
    while True:
        count += os.write(1, b"x" * 100)
except BlockingIOError:
    pass
with open(sys.argv[2], "w") as file:
    print(count, file=file)
os._exit(3)
"""
"""Leaves a stranger that holds the terminal, and reads nothing, until a named pipe is closed.

It fills the terminal, and writes to a file how many bytes that took.
"""


@pytest.fixture
def named_pipe(tmp_path: Any) -> Any:
    """The path of a pipe that is held open by this process until the end of the test."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    fd = os.open(path, os.O_RDWR)
    yield str(path)
    os.close(fd)


async def test_a_stranger_in_the_terminal_keeps_nobody_waiting(
    named_pipe: str, tmp_path: Path
) -> None:
    """Who left the session and holds it delays its end by a limit; what is there is received."""
    with anyio.fail_after(LIMIT):
        async with LocalLauncher(_limits=ShutdownLimits(drain=0)) as launcher:
            count = tmp_path / "count"
            process = await launcher.launch(python(STRANGER, named_pipe, str(count)))
            assert await process.wait() == Exit(3, None)
            assert await process.stop(SIGTERM, HOURS) == Exit(3, None)
            assert await read_all(process.stdout) == b"x" * int(count.read_text())
            assert await read_all(process.stdout) == b""


async def test_a_stranger_that_reads_nothing_does_not_hold_up_the_end_of_the_input(
    named_pipe: str, tmp_path: Path
) -> None:
    """Bytes that nobody will read any more are given up with the group."""
    launcher = LocalLauncher(_limits=ShutdownLimits(drain=0.05))
    data = b"a line\n" * 100_000
    command = python(STRANGER, named_pipe, str(tmp_path / "count"), stdin=data)
    async with running(command, launcher=launcher) as runner:
        await runner.join()
    assert runner.results["c"].exit == Exit(3, None)


@needs_proc
@pytest.mark.parametrize("line", ["setsid sh -c '{inner}' &", "set -m; sh -c '{inner}' &"])
async def test_what_leaves_the_group_is_ended_at_the_end(line: str, lifeline: Lifeline) -> None:
    """A shell with job control gives each of its jobs a group of its own: none is left."""
    inner = f'trap "" HUP; echo out >&9; {EXEC_FOREVER}'
    command = shell(f"{lifeline.hold('c')}; {line.format(inner=inner)} wait")
    async with running(command) as runner:
        await anyio.to_thread.run_sync(lifeline.wait_for, "out")
        runner.kill()
    assert lifeline.ended() == {"c", "out"}


HOST = """
import json, sys
import anyio
from currant import Command, Runner

options = json.loads(sys.argv[1])

async def main():
    command = Command.shell(options["line"], pty=True)
    async with Runner([command], grace=9999, orphan_guard=options["orphan_guard"]):
        await anyio.sleep_forever()

anyio.run(main, backend=options["backend"], backend_options=options["backend_options"])
"""


@pytest.mark.parametrize(("trap", "guard"), [("trap '' HUP; ", True), ("", False)])
def test_it_ends_when_its_program_is_killed(
    anyio_backend_name: str,
    anyio_backend_options: dict[str, Any],
    lifeline: Lifeline,
    trap: str,
    guard: bool,
) -> None:
    """The orphan guard ends it; and without one, the terminal that is gone (SIGHUP)."""
    use_uvloop = bool(anyio_backend_options.get("use_uvloop"))
    line = f"{trap}{lifeline.hold('c')}; {EXEC_FOREVER}"
    with Programs(HOST, anyio_backend_name, use_uvloop=use_uvloop) as programs:
        host = programs.run({"line": line, "orphan_guard": guard})
        lifeline.wait_for("c")
        host.kill()
        assert lifeline.wait_for_end() == {"c"}


# ---- what cannot be started ----


async def test_no_terminal_left_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what is lacking, and nothing is left behind."""

    def refuse() -> tuple[int, int]:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "openpty", refuse)
    async with running(shell("true")) as runner:
        await runner.join()
    error = runner.results["c"].error
    assert isinstance(error, LaunchError)
    assert "the system has no terminal left for it" in error.reason
    assert isinstance(error.__cause__, OSError)


async def test_a_terminal_that_cannot_be_sized_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal that was opened is closed again."""

    def refuse(fd: int, size: tuple[int, int]) -> None:
        raise termios.error(errno.ENOTTY, "no terminal")

    monkeypatch.setattr(termios, "tcsetwinsize", refuse)
    async with LocalLauncher() as launcher:
        with pytest.raises(LaunchError, match="no terminal"):
            await launcher.launch(shell("true"))


async def test_a_program_that_is_not_there_leaves_no_terminal() -> None:
    """The error is that of any start."""
    async with LocalLauncher() as launcher:
        with pytest.raises(LaunchError, match="'/nonexistent/program' does not exist"):
            await launcher.launch(Command(["/nonexistent/program"], pty=True))


async def test_running_out_of_files_at_any_point_of_a_start_leaks_nothing() -> None:
    """However many files are left, a start succeeds or says that there are too few."""
    outcomes = []
    with anyio.fail_after(LIMIT):
        async with LocalLauncher() as launcher:
            for count in range(13):
                process: LocalProcess | None = None
                with files_left(count):
                    try:
                        process = await launcher.launch(Command(["true"], pty=True))
                    except LaunchError as error:
                        assert "no file descriptors left" in error.reason  # noqa: PT017
                outcomes.append(process is not None)
                if process is not None:
                    assert await process.wait() == Exit(0, None)
                    await process.aclose()
    assert not any(outcomes[:3])
    assert outcomes == sorted(outcomes)
    assert outcomes[-1]


async def test_no_warning_is_shown_where_the_program_has_threads() -> None:
    """Python warns of a fork in such a program; ours goes on to an exec at once."""
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    try:
        with warnings.catch_warnings(record=True) as shown:
            warnings.simplefilter("always")
            assert await output_of(shell("echo hi")) == b"hi\r\n"
        assert [str(warning.message) for warning in shown] == []
    finally:
        over.set()
        thread.join()
