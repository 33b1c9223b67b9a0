"""Commands in a terminal: its properties, its input, and its end, which is like that of a pipe.

Programs wait for input or for a signal, so that no test waits for time to pass.
"""

from __future__ import annotations

import errno
import os
import re
import sys
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
from currant._system import terminal
from currant._system.groups import has_pidfds
from currant._values.errors import LaunchError
from currant._values.shutdown_limits import ShutdownLimits
from currant.testing import FakeLauncher, Script
from tests.files import files_left
from tests.programs import Programs
from tests.streams import read_all, read_until
from tests.system import needs_proc
from tests.waiting import EXEC_FOREVER, HOURS, LIMIT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Unpack

    from currant._process.local_process import LocalProcess
    from currant._values.command import CommandOptions
    from tests.lifeline import Gate, Lifeline

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


# ---- the terminal of a program ----

LOOK = """
import os
print([os.isatty(fd) for fd in range(3)], len({os.ttyname(fd) for fd in range(3)}))
terminal = os.open("/dev/tty", os.O_RDWR)
print(os.tcgetpgrp(terminal) == os.getpid() == os.getsid(0), flush=True)
os.write(terminal, b"directly\\n")
"""


@pytest.mark.parametrize("pidfds", [True, False])
async def test_command_has_a_controlling_terminal(*, pidfds: bool) -> None:
    """All three standard files are one terminal, the controlling terminal, on every system."""
    if pidfds and not has_pidfds():
        pytest.skip("waits through pidfds: Linux 5.3 or later")
    launcher = LocalLauncher(_start=start_with_pidfd if pidfds else start_without_pidfd)
    output = await output_of(python(LOOK), launcher)
    assert output == b"[True, True, True] 1\r\nTrue\r\ndirectly\r\n"


async def test_command_is_stopped_without_pidfds() -> None:
    """A stop and a wait also work together if the exit is polled for."""
    launcher = LocalLauncher(_start=start_without_pidfd)
    async with running(shell(f"echo ready; {EXEC_FOREVER}"), launcher=launcher) as runner:
        await until_line(runner, "ready")
        runner.kill()
    assert runner.results["c"].exit == Exit(None, SIGTERM, stopped=True)


@needs_proc
async def test_command_inherits_only_its_terminal() -> None:
    """No end of our side or of another terminal is inherited, and the child's end is blocking."""
    async with LocalLauncher() as launcher:
        # Suspended, because a program that is still being loaded opens files of its own.
        pids = [(await launcher.launch(shell("kill -STOP $$"))).pid for _ in range(2)]
        for pid in pids:
            os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)  # noqa: ASYNC222 - a moment
            files = f"/proc/{pid}/fd"
            assert sorted(os.listdir(files)) == ["0", "1", "2"]
            flags = Path(f"/proc/{pid}/fdinfo/0").read_text().split("flags:")[1].split()[0]
            assert not int(flags, 8) & os.O_NONBLOCK


async def test_all_output_is_stdout_with_line_endings_of_a_terminal() -> None:
    r"""Output to stderr arrives on stdout, in order, and ``\r\n`` arrives unchanged."""
    async with running(shell("echo one; echo two >&2; echo three")) as runner:
        lines = [message async for message in runner if isinstance(message, Line)]
    assert [(line.stream, line.data, line.ending) for line in lines] == [
        ("stdout", b"one", b"\r\n"),
        ("stdout", b"two", b"\r\n"),
        ("stdout", b"three", b"\r\n"),
    ]


async def test_program_writes_line_by_line() -> None:
    """A line that a program did not flush arrives while the program runs."""
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
async def test_term_has_a_default(
    monkeypatch: pytest.MonkeyPatch, host: str | None, command: CommandOptions, seen: bytes
) -> None:
    """TERM comes from the command or the host; if neither sets it, programs know the default."""
    monkeypatch.delenv("TERM", raising=False)
    if host is not None:
        monkeypatch.setenv("TERM", host)
    assert await output_of(shell('echo "$TERM"', **command)) == seen + b"\r\n"


async def test_term_is_left_alone_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A command without a terminal gets no TERM."""
    monkeypatch.delenv("TERM", raising=False)
    assert await output_of(shell('echo "${TERM-none}"', pty=False)) == b"none\n"


@pytest.mark.parametrize("size", [24, 1000])
async def test_much_output_before_the_exit_is_complete(size: int) -> None:
    """All output right before the exit is read."""
    line = f"head -c {size * 1000} /dev/zero | tr '\\0' x"
    for _ in range(3):
        assert await output_of(shell(line)) == b"x" * size * 1000


async def test_many_lines_before_the_exit_are_complete() -> None:
    """No line is lost although the terminal adds a carriage return to each."""
    lines = b"".join(b"%d\r\n" % number for number in range(1, 100_001))
    assert await output_of(shell("seq 1 100000")) == lines


async def test_command_that_closes_its_terminal_keeps_running() -> None:
    """A command may open the terminal again, so its output ends with the group."""
    with anyio.fail_after(LIMIT):
        async with LocalLauncher() as launcher:
            process = await launcher.launch(shell(f"echo last; {EXEC_FOREVER} {NULL}"))
            assert await read_until(process.stdout, b"\n") == b"last\r\n"
            await process.resize(30, 100)
            assert await process.send_signal(0)
            assert await process.stop(SIGTERM, HOURS) == Exit(None, SIGTERM, stopped=True)
            assert await read_all(process.stdout) == b""


# ---- its size ----


@pytest.mark.parametrize(("pty", "size"), [(True, b"24 80"), (Pty(33, 65535), b"33 65535")])
async def test_terminal_has_the_given_size(pty: bool | Pty, size: bytes) -> None:
    """The size is set before the program runs."""
    assert await output_of(shell("stty size", pty=pty)) == size + b"\r\n"


WATCH_SIZE = """
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGWINCH})
print("ready")
signal.sigwait({signal.SIGWINCH})
print(*os.get_terminal_size())
"""


async def test_resize_sends_sigwinch() -> None:
    """A program gets SIGWINCH, and finds the new size by then."""
    async with running(python(WATCH_SIZE)) as runner:
        await until_line(runner, "ready")
        await runner["c"].resize(50, 120)
        await until_line(runner, "120 50")
    await runner["c"].resize(1, 1)  # no process is left, which is no error
    assert runner.results.ok


async def test_size_is_kept_for_the_next_attempt() -> None:
    """A process that is started again has the size that was set last."""
    async with running(shell(f"stty size; {EXEC_FOREVER}")) as runner:
        await until_line(runner, "24 80")
        await runner["c"].resize(50, 120)
        await runner["c"].restart()
        await until_line(runner, "50 120")
        runner.kill()


async def test_size_set_before_the_start_is_applied() -> None:
    """A command that is queued or starting has the new size once it runs."""
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


@pytest.mark.parametrize(("rows", "columns", "field"), [(0, 80, "rows"), (24, 65536, "columns")])
async def test_invalid_size_is_refused(rows: int, columns: int, field: str) -> None:
    """An invalid number raises a `CommandError` that names the field, and changes nothing."""
    async with running(
        shell(EXEC_FOREVER), launcher=FakeLauncher(default=Script(exit=None))
    ) as runner:
        with pytest.raises(CommandError, match=field):
            await runner["c"].resize(rows, columns)
        runner.kill()


async def test_command_without_a_terminal_cannot_be_resized() -> None:
    """The error says that there is no terminal."""
    async with running(shell("true", pty=False)) as runner:
        with pytest.raises(CommandError, match="command 'c': it has no terminal"):
            await runner["c"].resize(24, 80)


# ---- what is typed ----


@pytest.mark.parametrize("stdin", [None, PIPE])
async def test_sent_bytes_are_typed_and_close_stdin_types_the_end(stdin: int | None) -> None:
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


async def test_end_of_file_may_be_typed_several_times() -> None:
    """The terminal stays open: the end for one program in it is not the end for the next."""
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


async def test_end_of_file_is_the_character_that_the_program_has_set() -> None:
    """A terminal may use another character than ^D."""
    async with running(shell("stty eof ^A; echo ready; cat; echo over")) as runner:
        await until_line(runner, "ready")
        await runner["c"].close_stdin()
        await until_line(runner, "over")


@pytest.mark.parametrize(
    "data",
    [b"", b"one\n", b"one\ntwo", (b"x" * 99 + b"\n") * 2_000],
    ids=["nothing", "a line", "two lines", "many lines"],  # pytest puts them into a variable
)
async def test_stdin_bytes_are_typed_before_the_end(data: bytes) -> None:
    """All bytes arrive, whether the last line is complete or not."""
    output = await output_of(shell("wc -c; echo over", stdin=data))
    # Only the start: the system may echo the input late, and not all of it.
    assert re.findall(rb"\d+", output) == [b"%d" % len(data)]
    assert b"over\r\n" in output


async def test_send_works_in_addition_to_stdin_bytes() -> None:
    """The terminal accepts input whatever `stdin` is."""
    async with running(shell("cat; cat; echo over", stdin=b"one\n")) as runner:
        await until_line(runner, "one")
        await runner["c"].send(b"two\n")
        await runner["c"].close_stdin()
        await until_line(runner, "over")


async def test_control_c_interrupts_the_foreground_process() -> None:
    """The terminal turns the character into a signal."""
    async with running(shell(f"echo ready; {EXEC_FOREVER}")) as runner:
        await until_line(runner, "ready")
        await runner["c"].send(b"\x03")
    assert runner.results["c"].exit == Exit(None, SIGINT)


async def test_send_waits_for_a_program_that_does_not_read() -> None:
    """Unread input fills the terminal and the sender waits; all of it arrives."""
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


async def test_pending_send_fails_when_the_program_ends() -> None:
    """A sender does not go on waiting for a program that is gone."""
    async with running(shell(f"stty -echo; echo ready; {EXEC_FOREVER}")) as runner:
        await until_line(runner, "ready")
        errors: list[StdinClosedError] = []

        async def send() -> None:
            try:
                await runner["c"].send(b"a line\n" * 100_000)
            except StdinClosedError as error:
                errors.append(error)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            await wait_all_tasks_blocked()
            assert not errors
            runner.kill()
        assert len(errors) == 1


# ---- its end ----


@pytest.mark.parametrize(
    ("trap", "grace", "end"),
    [
        ("", HOURS, Exit(None, SIGTERM, stopped=True)),
        ("trap '' TERM; ", 0.05, Exit(None, SIGKILL, stopped=True, forced=True)),
    ],
)
async def test_kill_works_as_without_a_terminal(trap: str, grace: float, end: Exit) -> None:
    """The whole group gets the stop signal, the grace and SIGKILL; no output is lost."""
    async with running(
        shell(f"{trap}sleep 9999 & echo ready; {EXEC_FOREVER}"), grace=grace, capture=True
    ) as runner:
        await until_line(runner, "ready")
        runner.kill()
    assert runner.results["c"].exit == end
    assert runner.results["c"].stdout == b"ready\r\n"


async def test_terminal_may_be_opened_again(lifeline: Lifeline, gate: Gate) -> None:
    """A command that has closed the terminal may ask for a password there, as ssh does."""
    script = f"""
{lifeline.hold("c")}
exec </dev/null >/dev/null 2>&1
{lifeline.say("closed")}
{gate.wait}
exec 3<>/dev/tty
echo Password: >&3
read x <&3
echo got $x >&3
exit 4
"""
    async with running(shell(script)) as runner:
        await runner["c"].until_started()
        lifeline.wait_for("closed")
        await runner["c"].send(b"secret\n")  # typed before the command asks for it
        gate.open()
        await until_line(runner, "got secret")
    assert runner.results["c"].exit == Exit(4, None)


async def test_terminal_that_was_opened_again_loses_no_output(
    lifeline: Lifeline, gate: Gate
) -> None:
    """All that is written arrives, up to the exit and beyond what a terminal holds."""
    script = f"""
{lifeline.hold("c")}
exec </dev/null >/dev/null 2>&1
{lifeline.say("closed")}
{gate.wait}
exec >/dev/tty
head -c 300000 /dev/zero
exit 4
"""
    async with running(shell(script, capture=True)) as runner:
        await runner["c"].until_started()
        lifeline.wait_for("closed")
        gate.open()
        await runner.join()
    result = runner.results["c"]
    assert result.exit == Exit(4, None)
    assert result.stdout == bytes(300000)


async def test_each_attempt_has_a_new_terminal() -> None:
    """After a restart, input and output are those of the new process."""
    async with running(Command(["cat"], name="c", pty=True)) as runner:
        for text in ("one", "two", "three"):
            await runner["c"].send(text.encode() + b"\n")
            await until_line(runner, text)
            await runner["c"].restart()
        await runner["c"].close_stdin()
    assert runner.results["c"].attempts == 4


ESCAPEE = """
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
"""Leaves an escapee that holds the terminal, without reading, until a named pipe is closed.

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


async def test_output_ends_although_an_escapee_holds_the_terminal(
    named_pipe: str, tmp_path: Path
) -> None:
    """An escapee delays the end of output by a limit at most; earlier output is received."""
    with anyio.fail_after(LIMIT):
        async with LocalLauncher(_limits=ShutdownLimits(drain=0)) as launcher:
            count = tmp_path / "count"
            process = await launcher.launch(python(ESCAPEE, named_pipe, str(count)))
            assert await process.wait() == Exit(3, None)
            assert await process.stop(SIGTERM, HOURS) == Exit(3, None)
            assert await read_all(process.stdout) == b"x" * int(count.read_text())
            assert await read_all(process.stdout) == b""


async def test_escapee_that_does_not_read_does_not_block_the_input(
    named_pipe: str, tmp_path: Path
) -> None:
    """Bytes that no process will read any more are given up with the group."""
    launcher = LocalLauncher(_limits=ShutdownLimits(drain=0.05))
    data = b"a line\n" * 100_000
    command = python(ESCAPEE, named_pipe, str(tmp_path / "count"), stdin=data)
    async with running(command, launcher=launcher) as runner:
        await runner.join()
    assert runner.results["c"].exit == Exit(3, None)


@needs_proc
@pytest.mark.parametrize("line", ["setsid sh -c '{inner}' &", "set -m; sh -c '{inner}' &"])
async def test_escapees_in_a_terminal_are_ended(line: str, lifeline: Lifeline) -> None:
    """A shell with job control gives each job its own group: no job is left."""
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
def test_command_ends_when_the_host_is_killed(
    anyio_backend_name: str,
    anyio_backend_options: dict[str, Any],
    lifeline: Lifeline,
    trap: str,
    guard: bool,
) -> None:
    """The orphan guard ends the command; without a guard, the SIGHUP of the lost terminal does."""
    use_uvloop = bool(anyio_backend_options.get("use_uvloop"))
    line = f"{trap}{lifeline.hold('c')}; {EXEC_FOREVER}"
    with Programs(HOST, anyio_backend_name, use_uvloop=use_uvloop) as programs:
        host = programs.run({"line": line, "orphan_guard": guard})
        lifeline.wait_for("c")
        host.kill()
        assert lifeline.wait_for_end() == {"c"}


# ---- failed starts ----


async def test_lack_of_terminals_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what is missing, and nothing is left behind."""

    def refuse() -> tuple[int, int]:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "openpty", refuse)
    async with running(shell("true")) as runner:
        await runner.join()
    error = runner.results["c"].error
    assert isinstance(error, LaunchError)
    assert "the system has no terminal left for it" in error.reason
    assert isinstance(error.__cause__, OSError)


async def test_terminal_that_cannot_be_sized_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The start fails with the system's error."""

    def refuse(fd: int, rows: int, columns: int) -> None:
        raise OSError(errno.ENOTTY, "no terminal")

    monkeypatch.setattr(terminal, "_set_size", refuse)
    async with LocalLauncher() as launcher:
        with pytest.raises(LaunchError, match="no terminal"):
            await launcher.launch(shell("true"))


async def test_missing_program_leaves_no_terminal() -> None:
    """The error is the same as without a terminal."""
    async with LocalLauncher() as launcher:
        with pytest.raises(LaunchError, match="'/nonexistent/program' does not exist"):
            await launcher.launch(Command(["/nonexistent/program"], pty=True))


async def test_start_without_enough_file_descriptors_leaks_nothing() -> None:
    """With any number of free descriptors, a start succeeds or reports that there are too few."""
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


async def test_fork_in_a_program_with_threads_shows_no_warning() -> None:
    """Python warns of a fork in such a program, but ours is followed by an exec at once."""
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
