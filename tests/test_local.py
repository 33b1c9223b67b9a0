"""What is special to processes of this machine; what they share with others is the contract.

Real processes are told to print ``ready`` or a number of one of theirs, and go on for hours.  What
leaves its group on purpose ends by itself once its stdin is closed, which the launcher's end does.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import sys
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from math import inf
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM, SIGUSR1
from typing import TYPE_CHECKING, TypeAlias

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from anyio.lowlevel import checkpoint

from currant import (
    PIPE,
    Command,
    CommandNotFoundError,
    Exit,
    LaunchError,
    LocalLauncher,
    Runner,
    StdinClosedError,
)
from currant._process import pipes as _pipes
from currant._system.files import bytes_in_pipe
from currant._values.shutdown_limits import ShutdownLimits
from tests.files import files_left
from tests.streams import read_all, read_until
from tests.system import needs_proc, started_by_uvloop
from tests.waiting import EXEC_FOREVER, HOURS, LIMIT, is_alive

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from signal import Signals

    from currant._process.child import Child, SpawnSpec
    from currant._process.local import LocalProcess
    from tests.kills import Kills

pytestmark = pytest.mark.anyio

MakeCommand: TypeAlias = "Callable[[Path], Command]"

ENV = shutil.which("env") or "/usr/bin/env"


@asynccontextmanager
async def launched(
    command: Command, limits: ShutdownLimits | None = None
) -> AsyncIterator[LocalProcess]:
    """Launch a process of this machine, with a limit on the time."""
    with anyio.fail_after(LIMIT):
        async with LocalLauncher(_limits=limits) as launcher:
            yield await launcher.launch(command)


@asynccontextmanager
async def ready(
    command: Command, limits: ShutdownLimits | None = None
) -> AsyncIterator[LocalProcess]:
    """Launch a process, and wait until it has said that it is ready."""
    async with launched(command, limits) as process:
        assert await read_until(process.stdout, b"ready\n") == b"ready\n"
        yield process


async def output_of(command: Command) -> bytes:
    """Return all that a command prints until it ends."""
    async with launched(command) as process:
        return await read_all(process.stdout)


async def first_number(process: LocalProcess) -> int:
    """Return the number that is the first line of the output."""
    return int(await read_until(process.stdout, b"\n"))


def python(source: str, *words: str, stdin: int | None = None) -> Command:
    """Return a command that runs a Python program, quick to start."""
    return Command([sys.executable, "-ISc", source, *words], name="python", stdin=stdin)


def wait_until(process: LocalProcess, change: int) -> None:
    """Block until the process has stopped or exited; an exit is left for the event loop to see."""
    with suppress(ChildProcessError):  # asyncio's thread has reaped it
        os.waitid(os.P_PID, process.pid, change | os.WNOWAIT)


# ---- what a process is given ----


async def test_a_process_leads_a_session_and_a_group_of_its_own() -> None:
    """A process is started in a new session, so it has no terminal and its group is its own."""
    async with ready(Command.shell(f"echo ready; {EXEC_FOREVER}")) as process:
        assert os.getsid(process.pid) == os.getpgid(process.pid) == process.pid


@pytest.fixture
def stdin_of_the_host() -> Iterator[None]:
    """A stdin of this process that has something in it; pytest's own is /dev/null."""
    read_end, write_end = os.pipe()
    os.write(write_end, b"for the host\n")
    os.close(write_end)
    saved = os.dup(0)
    os.dup2(read_end, 0)
    yield
    os.dup2(saved, 0)
    os.close(saved)
    os.close(read_end)


async def test_without_an_input_stdin_is_at_its_end(stdin_of_the_host: None) -> None:
    """A process does not read the host's stdin; the one it has is at its end at once."""
    assert await output_of(Command.shell("cat; echo end")) == b"end\n"


@needs_proc
async def test_without_an_input_stdin_is_dev_null(stdin_of_the_host: None) -> None:
    """The stdin nobody gave is /dev/null, not a closed file that the next open would take."""
    async with ready(Command.shell(f"echo ready; {EXEC_FOREVER}")) as process:
        assert os.readlink(f"/proc/{process.pid}/fd/0") == os.devnull


@needs_proc
@pytest.mark.parametrize("stdin", [None, PIPE])
async def test_a_process_has_the_three_standard_files_and_no_other(
    anyio_backend: object, stdin: int | None
) -> None:
    """Of the host's files and of our own pipe ends, a process inherits none but 0 to 2."""
    if started_by_uvloop(anyio_backend):
        pytest.skip("uvloop hands its children second copies of 0 to 2 and what is inheritable")
    ends = os.pipe()
    try:
        os.set_inheritable(ends[1], True)
        # Stopped, since a program that is being loaded opens files of its own.
        async with ready(Command.shell("echo ready; kill -STOP $$", stdin=stdin)) as process:
            wait_until(process, os.WSTOPPED)
            assert sorted(os.listdir(f"/proc/{process.pid}/fd")) == ["0", "1", "2"]
    finally:
        for end in ends:
            os.close(end)


async def test_processes_that_run_together_do_not_hold_each_others_pipes() -> None:
    """A process that starts later holds no end of another's pipes: each of them can end."""
    with anyio.fail_after(LIMIT):
        async with LocalLauncher() as launcher:
            reader = await launcher.launch(Command(["cat"], stdin=PIPE))
            later = await launcher.launch(Command.shell(EXEC_FOREVER))
            assert reader.stdin is not None
            await reader.stdin.send(b"all")
            await reader.stdin.aclose()
            assert await read_all(reader.stdout) == b"all"
            assert await reader.wait() == Exit(0, None)
            assert await later.send_signal(0)


async def test_the_files_of_a_process_are_blocking() -> None:
    """That we read without blocking is nothing that a process can see on its own ends."""
    source = """
import fcntl, os
print([fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK for fd in range(3)], flush=True)
"""
    for stdin in (None, PIPE):
        assert await output_of(python(source, stdin=stdin)) == b"[0, 0, 0]\n"


async def test_variables_are_set_over_those_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process has the host's variables as they are now, and the command's own over them."""
    monkeypatch.setenv("CURRANT_A", "of the host")
    monkeypatch.setenv("CURRANT_B", "of the host")
    lines = (await output_of(Command([ENV], env={"CURRANT_B": "my own"}))).splitlines()
    assert b"CURRANT_A=of the host" in lines
    assert b"CURRANT_B=my own" in lines


@pytest.mark.parametrize(("env", "expected"), [({}, b""), ({"A": "1"}, b"A=1\n")])
async def test_without_inheriting_there_are_the_commands_variables_only(
    env: dict[str, str], expected: bytes
) -> None:
    """With inherit_env=False a process has the variables of its command, be it none."""
    output = await output_of(Command([ENV], env=env, inherit_env=False))
    lines = output.splitlines(keepends=True)
    assert b"".join(line for line in lines if not line.startswith(b"CURRANT_ID=")) == expected
    assert len(lines) == len(env) + 1


async def test_words_and_variables_arrive_byte_for_byte() -> None:
    """A word that is not UTF-8 arrives as the bytes that it was made of, and so does a variable."""
    word = os.fsdecode(b"a \xff 'b'\n\xc3\xa9")
    assert await output_of(Command(["printf", "%s", word])) == os.fsencode(word)
    command = Command.shell('printf %s "$WORD"', env={"WORD": word})
    assert await output_of(command) == os.fsencode(word)


async def test_a_process_runs_in_its_working_directory(tmp_path: Path) -> None:
    """A process is started in the directory that its command names."""
    output = await output_of(Command.shell("pwd -P", cwd=tmp_path))
    assert output == os.fsencode(tmp_path.resolve()) + b"\n"


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(Command(["./tool"]), id="a path"),
        pytest.param(Command(["tool"], env={"PATH": "."}), id="a relative folder in its PATH"),
    ],
)
async def test_a_program_is_looked_for_from_its_working_directory(
    tmp_path: Path, command: Command
) -> None:
    """Relative paths are those of the working directory, for the check as for the start."""
    _write(tmp_path / "tool", "#!/bin/sh\necho found\n", 0o755)
    command = Command(command.argv, env=command.env, cwd=tmp_path)
    LocalLauncher().check(command)
    assert await output_of(command) == b"found\n"


async def test_a_program_is_looked_for_in_the_path_of_its_command(tmp_path: Path) -> None:
    """PATH is the one that the process will have, not the host's."""
    _write(tmp_path / "tool", "#!/bin/sh\necho found\n", 0o755)
    command = Command(["tool"], env={"PATH": str(tmp_path)})
    LocalLauncher().check(command)
    assert await output_of(command) == b"found\n"


async def test_a_file_in_path_that_cannot_run_hides_no_later_one(tmp_path: Path) -> None:
    """The look-up passes over what is not executable, as the system does."""
    for folder, mode in (("first", 0o644), ("second", 0o755)):
        (tmp_path / folder).mkdir()
        _write(tmp_path / folder / "tool", f"#!/bin/sh\necho {folder}\n", mode)
    command = Command(["tool"], env={"PATH": f"{tmp_path}/first:{tmp_path}/second"})
    LocalLauncher().check(command)
    assert await output_of(command) == b"second\n"


# ---- what cannot be started ----


def _write(path: Path, text: str, mode: int) -> str:
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def _make_pipe(path: Path) -> Path:
    if not path.exists():
        os.mkfifo(path)
    return path


@dataclass(frozen=True)
class Wrong:
    """A command that cannot be started.

    Attributes:
        make: builds it, with files in the folder given.
        reason: words that the error has.
        checked: whether that can be known beforehand.
    """

    make: MakeCommand
    reason: str
    checked: bool = True


WRONG = {
    "no such program": Wrong(
        lambda _: Command(["no-such-program"]), "there is no program 'no-such-program' in its PATH"
    ),
    "not in the PATH given": Wrong(
        lambda tmp: Command(["sh"], env={"PATH": str(tmp)}), "there is no program 'sh' in its PATH"
    ),
    "no such path": Wrong(lambda tmp: Command([tmp / "none"]), "none' does not exist"),
    "no such working directory": Wrong(
        lambda tmp: Command(["sh"], cwd=tmp / "none"),
        "its working directory .*none' does not exist",
    ),
    "working directory is a file": Wrong(
        lambda tmp: Command(["sh"], cwd=_write(tmp / "file", "", 0o644)),
        "its working directory .*file' is not a directory",
    ),
    "program is a directory": Wrong(lambda tmp: Command([tmp]), "is not a program but a directory"),
    "path through a file": Wrong(
        lambda tmp: Command([_write(tmp / "file", "", 0o755) + "/program"]),
        "program' does not exist",
    ),
    "not executable": Wrong(
        lambda tmp: Command([_write(tmp / "file", "#!/bin/sh\n", 0o644)]),
        r"file' is not executable; run 'chmod \+x' on it",
    ),
    "not executable in PATH": Wrong(
        lambda tmp: Command(
            [Path(_write(tmp / "file", "#!/bin/sh\n", 0o644)).name], env={"PATH": str(tmp)}
        ),
        "file' is not executable",
    ),
    "no such file for stdin": Wrong(
        lambda tmp: Command(["cat"], stdin=tmp / "none"),
        "its stdin file .*none' does not exist",
    ),
    "stdin through a file": Wrong(
        lambda tmp: Command(["cat"], stdin=Path(_write(tmp / "file", "", 0o644)) / "file"),
        "its stdin file .*file/file' does not exist",
    ),
    "a folder for stdin": Wrong(
        lambda tmp: Command(["cat"], stdin=tmp), "its stdin file .* is a directory"
    ),
    "a named pipe for stdin": Wrong(
        lambda tmp: Command(["cat"], stdin=_make_pipe(tmp / "pipe")),
        "its stdin file .*pipe' is a named pipe.*Command.shell",
    ),
    "no such interpreter": Wrong(
        lambda tmp: Command([_write(tmp / "script", "#!/nonexistent/sh\n", 0o755)]),
        "interpreter that its '#!' line names does not exist",
        checked=False,
    ),
    "too many words": Wrong(
        lambda _: Command(["true", *["x" * 100_000] * 100]),
        "its arguments and environment are longer than the system allows",
        checked=False,
    ),
    "a word too long": Wrong(
        lambda _: Command(["true", "x" * 10_000_000]),
        "its arguments and environment are longer than the system allows",
        checked=False,
    ),
    "variables too long": Wrong(
        lambda _: Command(["true"], env={"A": "x" * 10_000_000}),
        "its arguments and environment are longer than the system allows",
        checked=False,
    ),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
async def test_what_cannot_be_started_says_why(wrong: Wrong, tmp_path: Path) -> None:
    """The error of a failed start tells the program, its folder and the system apart."""
    with anyio.fail_after(LIMIT):
        async with LocalLauncher() as launcher:
            with pytest.raises(LaunchError, match=wrong.reason) as caught:
                await launcher.launch(wrong.make(tmp_path))
            assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_what_can_be_known_beforehand_is_told_by_the_check(wrong: Wrong, tmp_path: Path) -> None:
    """The check finds what is missing, in the words of the failed start; it does not guess."""
    command = wrong.make(tmp_path)
    if wrong.checked:
        with pytest.raises(CommandNotFoundError, match=wrong.reason):
            LocalLauncher().check(command)
    else:
        LocalLauncher().check(command)


def test_the_check_runs_nothing(tmp_path: Path) -> None:
    """A command that passes the check has not been run by it."""
    LocalLauncher().check(Command(["touch", tmp_path / "trace"]))
    assert not list(tmp_path.iterdir())


async def test_a_script_without_a_first_line_is_told_to_have_none(
    tmp_path: Path, anyio_backend: object
) -> None:
    """A file that the system cannot run says what it lacks, where the event loop lets it."""
    command = Command([_write(tmp_path / "script", "echo ran\n", 0o755)])
    LocalLauncher().check(command)
    if started_by_uvloop(anyio_backend):
        # Its exec is execvp, which hands such a file to /bin/sh.
        assert await output_of(command) == b"ran\n"
        return
    with anyio.fail_after(LIMIT):
        async with LocalLauncher() as launcher:
            with pytest.raises(LaunchError, match=r"has no '#!' line.*Command\.shell"):
                await launcher.launch(command)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.EMFILE, "EMFILE"), "this process has no file descriptors left.*ulimit -n"),
        (OSError(errno.ENFILE, "ENFILE"), "the system has no file descriptors left"),
        (OSError(errno.EAGAIN, "EAGAIN"), "the system allows no more processes.*ulimit -u"),
        (OSError(errno.ENOMEM, "ENOMEM"), "the system has no memory for another process"),
        (OSError(errno.EIO, "disk on fire"), "disk on fire"),
        (ValueError("embedded null byte"), "ValueError: embedded null byte"),
        (IndexError("of trio's making"), "IndexError: of trio's making"),
    ],
)
async def test_a_start_that_the_system_refuses_says_what_is_lacking(
    error: Exception, reason: str
) -> None:
    """Whatever goes wrong when a process is started becomes a LaunchError with a reason."""

    async def refuse(spec: SpawnSpec) -> Child:
        raise error

    async with LocalLauncher(_start=refuse) as launcher:
        for stdin in (None, PIPE):
            with pytest.raises(LaunchError, match=reason) as caught:
                await launcher.launch(Command(["true"], stdin=stdin, name="the name"))
            assert caught.value.__cause__ is error
            assert caught.value.name == "the name"


async def test_an_interrupted_start_leaves_no_file_open() -> None:
    """What is no error of the start goes on as it is, and the pipes are closed all the same."""

    class Interrupt(BaseException):
        pass

    async def interrupt(spec: SpawnSpec) -> Child:
        raise Interrupt

    async with LocalLauncher(_start=interrupt) as launcher:
        with pytest.raises(Interrupt):
            await launcher.launch(Command(["true"], stdin=PIPE))


async def test_running_out_of_files_at_any_point_of_a_start_leaks_nothing(
    anyio_backend: object,
) -> None:
    """However many files are left, a start succeeds or says that there are too few."""
    command = Command(["true"], stdin=PIPE)
    # What uvloop opens itself it leaks when the next one fails; so there only our pipes may fail.
    most = 5 if started_by_uvloop(anyio_backend) else 40
    outcomes = []
    with anyio.fail_after(LIMIT):
        async with LocalLauncher() as launcher:
            for count in range(most + 1):
                process = None
                with files_left(count):
                    try:
                        process = await launcher.launch(command)
                    except LaunchError as error:
                        assert "no file descriptors left" in error.reason  # noqa: PT017
                outcomes.append(process is not None)
                if process is not None:
                    assert await process.wait() == Exit(0, None)
                    await process.aclose()
    assert not any(outcomes[:6])
    assert outcomes == sorted(outcomes)
    assert outcomes[-1] is not started_by_uvloop(anyio_backend)


# ---- the whole group ----


async def test_the_exit_is_known_while_a_grandchild_holds_the_output() -> None:
    """The exit of the leader waits neither for its children nor for the end of the output."""
    async with launched(Command.shell("sleep 9999 & echo hi; exit 3")) as process:
        assert await process.wait() == Exit(3, None)
        assert await process.send_signal(0)
        assert await process.stop(SIGTERM, HOURS) == Exit(3, None)
        assert await read_all(process.stdout) == b"hi\n"


async def test_a_signal_reaches_the_whole_group() -> None:
    """A signal is sent to the leader and to its children alike."""
    line = f"({EXEC_FOREVER})& trap 'wait; exit 7' USR1; echo $!; wait; exit 8"
    async with launched(Command.shell(line)) as process:
        grandchild = await first_number(process)
        assert await process.send_signal(SIGUSR1)
        # Its own `wait` returns only when the grandchild is gone.
        assert await process.wait() == Exit(7, None)
        assert not is_alive(grandchild)


async def test_a_signal_reaches_what_the_leader_has_left_behind() -> None:
    """As long as somebody in the group is alive, signals get there, also without a leader."""
    async with launched(Command.shell(f"({EXEC_FOREVER})& echo $!; exit 3")) as process:
        grandchild = await first_number(process)
        await process.wait()
        assert await process.send_signal(SIGUSR1)
        assert await process.stop(SIGTERM, HOURS) == Exit(3, None)
        assert not is_alive(grandchild)
        assert not await process.send_signal(SIGUSR1)


async def test_stop_ends_what_the_leader_has_left_behind() -> None:
    """A grandchild that lives longer than the leader is ended, and changes nothing of the exit."""
    async with launched(Command.shell(f"({EXEC_FOREVER})& echo $!; exit 3")) as process:
        grandchild = await first_number(process)
        assert await process.wait() == Exit(3, None)
        assert is_alive(grandchild)
        assert await process.stop(SIGTERM, HOURS) == Exit(3, None)
        assert not is_alive(grandchild)


async def test_stop_forces_what_the_leader_has_left_behind() -> None:
    """A grandchild that ignores the request is killed; the leader was not stopped by that."""
    line = f"sh -c 'trap \"\" TERM; echo $$; {EXEC_FOREVER}' & read go; exit 3"
    async with launched(Command.shell(line, stdin=PIPE)) as process:
        grandchild = await first_number(process)
        assert process.stdin is not None
        await process.stdin.send(b"go\n")
        assert await process.wait() == Exit(3, None)
        assert is_alive(grandchild)
        assert await process.stop(SIGTERM, 0.05) == Exit(3, None)
        assert not is_alive(grandchild)


async def test_the_grace_counts_for_the_whole_group() -> None:
    """A grandchild that ignores the request is killed after the grace, though the leader ended."""
    line = f"sh -c 'trap \"\" TERM; echo $$; {EXEC_FOREVER}' & wait"
    async with launched(Command.shell(line)) as process:
        grandchild = await first_number(process)
        began, grace = anyio.current_time(), 0.05
        end = await process.stop(SIGTERM, grace)
        assert end == Exit(None, SIGTERM, stopped=True, forced=True)
        assert round(anyio.current_time() - began, 2) >= grace
        assert not is_alive(grandchild)


@pytest.mark.parametrize("ignores", [False, True])
async def test_leaving_the_launcher_ends_whole_groups(ignores: bool) -> None:
    """Closing a process ends all of its group, whether the leader is still there or not."""
    trap = "trap '' TERM;" if ignores else ""
    async with launched(Command.shell(f"{trap} ({EXEC_FOREVER})& echo $!; exit 3")) as process:
        grandchild = await first_number(process)
        await process.wait()
    assert not is_alive(grandchild)


async def test_a_program_may_take_its_leave_when_it_is_asked_to_stop() -> None:
    """The exit code and the last words of a process that ends itself when asked are kept."""
    # A shell may get the signal between two of its commands, and would start the second one.
    source = """
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
os.write(1, b"ready\\n")
signal.sigwait({signal.SIGTERM})
os.write(1, b"bye\\n")
os.write(2, b"sorry\\n")
os._exit(5)
"""
    async with ready(python(source)) as process:
        assert await process.stop(SIGTERM, HOURS) == Exit(5, None, stopped=True)
        assert await read_all(process.stdout) == b"bye\n"
        assert await read_all(process.stderr) == b"sorry\n"


async def test_a_stopped_process_is_woken_to_end() -> None:
    """A frozen process gets SIGTERM and then SIGCONT, so that it ends when asked, unforced."""
    async with ready(Command.shell(f"echo ready; {EXEC_FOREVER}")) as process:
        assert await process.send_signal(SIGSTOP)
        wait_until(process, os.WSTOPPED)
        end = await process.stop(SIGTERM, HOURS)
        assert end == Exit(None, SIGTERM, stopped=True, forced=False)


async def test_a_stopped_process_does_not_outlive_its_launcher() -> None:
    """A frozen process is ended by closing it as any other."""
    async with ready(Command.shell(f"trap '' TERM; echo ready; {EXEC_FOREVER}")) as process:
        assert await process.send_signal(SIGSTOP)
        wait_until(process, os.WSTOPPED)
    assert not is_alive(process.pid)


async def test_an_exit_that_was_not_noticed_yet_is_no_stop() -> None:
    """A leader that has exited but was not reaped when it is asked to stop ended by itself."""
    async with launched(Command.shell("read go; exit 1", stdin=PIPE)) as process:
        assert process.stdin is not None
        await process.stdin.send(b"go\n")
        # No await from the exit to the stop: the event loop cannot have learned of it.
        wait_until(process, os.WEXITED)
        assert await process.stop(SIGTERM, HOURS) == Exit(1, None)


@needs_proc
async def test_zombies_that_nobody_reaps_count_as_gone() -> None:
    """A group of zombies only is gone: nobody waits for it, and nobody kills it."""
    # The parent of the zombie leaves the group, so the group has it until that parent ends, too.
    source = """
import os, time
if os.fork() == 0:
    zombie = os.fork()
    if zombie == 0:
        os._exit(0)
    os.waitid(os.P_PID, zombie, os.WEXITED | os.WNOWAIT)
    os.setsid()
    print(zombie, flush=True)
    os.read(0, 1)
    os._exit(0)
time.sleep(9999)
"""
    async with launched(python(source, stdin=PIPE)) as process:
        zombie = await first_number(process)
        assert await process.stop(SIGTERM, HOURS) == Exit(None, SIGTERM, stopped=True)
        # The proof that the system itself still takes the group for one that exists.
        assert os.getpgid(zombie) == process.pid
        os.killpg(process.pid, 0)


async def test_a_group_that_renews_itself_does_not_escape() -> None:
    """A group whose members start a successor and end is there all the time, and is ended."""
    source = """
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.write(1, b"ready\\n")
for generation in range(300):
    if os.fork():
        os._exit(3)
os.read(0, 1)
"""
    limits = ShutdownLimits(drain=HOURS)
    async with ready(python(source, stdin=PIPE), limits) as process:
        assert await process.wait() == Exit(3, None)
        assert await process.stop(SIGTERM, 0.2) == Exit(3, None)
        # Whoever is left holds the output, and no limit cuts it off.
        assert await read_all(process.stdout) == b""


# ---- where signals must not go ----


async def test_a_group_is_asked_once_however_many_stop_it(kills: Kills) -> None:
    """Several stops send the signal once, then SIGCONT once, and each no more than that."""
    command = Command.shell(f"trap '' TERM; echo ready; {EXEC_FOREVER}")
    async with ready(command) as process, anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(process.stop, SIGTERM, HOURS)
        await wait_all_tasks_blocked()
        await process.stop(SIGTERM, 0)
    sent = kills.of(process.pid)
    assert sent[:2] == [SIGTERM, SIGCONT]
    assert set(sent[2:]) == {SIGKILL}


@pytest.mark.parametrize("line", ["exit 0", EXEC_FOREVER, f"({EXEC_FOREVER})& exit 0"])
async def test_a_group_that_is_gone_is_never_signalled_again(line: str, kills: Kills) -> None:
    """Once the leader is reaped and the group empty, its number may be a stranger's."""
    async with launched(Command.shell(line)) as process:
        await process.stop(SIGTERM, HOURS)
        kills.sent.clear()
        for signal in (SIGTERM, SIGKILL, 0):
            assert not await process.send_signal(signal)
        await process.stop(SIGTERM, HOURS)
        await process.stop(SIGKILL, 0)
        await process.aclose()
    assert kills.sent == []


async def test_only_groups_of_our_own_are_signalled(kills: Kills) -> None:
    """No signal goes to any group but those of the processes that were started."""
    pids = set()
    for signal in (SIGTERM, SIGKILL):
        async with launched(Command.shell(EXEC_FOREVER)) as process:
            pids.add(process.pid)
            await process.stop(signal, HOURS)
    assert {group for group, _ in kills.sent} == pids


@pytest.mark.parametrize("signal", [SIGTERM, SIGKILL])
async def test_stop_and_exit_may_meet_in_any_order(signal: Signals, kills: Kills) -> None:
    """A process that ends while it is being stopped is no error, however close the two are."""
    async with LocalLauncher() as launcher:
        for _ in range(25):
            with anyio.fail_after(LIMIT):
                process = await launcher.launch(Command(["true"]))
                end = await process.stop(signal, HOURS)
                assert (end.code, end.signal) in ((0, None), (None, signal))
                assert end == await process.wait()
                await process.aclose()


# ---- strangers that hold the output ----

STRANGER = """
import os, sys
left, leave = os.pipe()
over, write = os.pipe()
if os.fork() == 0:
    os.setsid()
    os.close(2)
    os.close(write)
    os.write(leave, b"x")
    os.read(over, 1)
    if sys.argv[1] == "floods" and os.fork():
        while True:
            os.write(1, b"y" * 4096)
    if sys.argv[1] == "waits":
        os.read(os.open(sys.argv[2], os.O_RDONLY), 1)
        os._exit(0)
    while data := os.read(0, 4096):
        os.write(1, data)
    os.killpg(0, 9)
os.read(left, 1)
os.write(1, b"x" * 40000)
os._exit(3)
"""
"""Leaves a stranger in a session of its own that holds stdin and stdout.

It copies the one to the other (echoes) or writes without end (floods) until stdin is closed, or
does nothing (waits) until the named pipe is closed.
"""


async def test_a_stranger_cannot_keep_the_output_from_ending() -> None:
    """Who left the group and holds the pipe delays the end of the output by a limit at most."""
    limits = ShutdownLimits(drain=0.05)
    async with launched(python(STRANGER, "echoes", stdin=PIPE), limits) as process:
        output: list[bytes] = []

        async def read() -> None:
            output.append(await read_all(process.stdout))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            assert await process.wait() == Exit(3, None)
            await wait_all_tasks_blocked()
            assert not output
            assert await process.stop(SIGTERM, HOURS) == Exit(3, None)
        assert output == [b"x" * 40000]
        for _ in range(2):
            assert await read_all(process.stdout) == b""


async def test_output_of_the_group_is_received_however_late_it_is_read() -> None:
    """The limit cuts off the stranger, not what the group had written before it was gone."""
    limits = ShutdownLimits(drain=0)
    async with launched(python(STRANGER, "echoes", stdin=PIPE), limits) as process:
        assert await process.wait() == Exit(3, None)
        assert await process.stop(SIGTERM, HOURS) == Exit(3, None)
        assert process.stdout is not None
        assert await process.stdout.receive(1000) == b"x" * 1000
        assert await read_all(process.stdout) == b"x" * 39000


async def test_a_stranger_may_say_more_than_the_group_until_the_limit_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a stranger writes within the limit is received; after it there is the end, no error."""
    limits = ShutdownLimits(drain=HOURS)
    async with launched(python(STRANGER, "echoes", stdin=PIPE), limits) as process:
        assert process.stdin is not None
        assert await process.wait() == Exit(3, None)
        await process.stop(SIGTERM, HOURS)
        assert await process.stdout.receive() == b"x" * 40000
        await process.stdin.send(b"y")
        assert await process.stdout.receive() == b"y"
        with monkeypatch.context() as later:
            later.setattr(anyio, "current_time", lambda: inf)
            assert await read_all(process.stdout) == b""


@pytest.mark.parametrize("limit", [0.0, 0.05])
async def test_a_stranger_that_goes_on_writing_cannot_either(limit: float) -> None:
    """A stranger that always has more to say is cut off after the limit, and that is no error."""
    limits = ShutdownLimits(drain=limit)
    async with launched(python(STRANGER, "floods", stdin=PIPE), limits) as process:
        assert await process.wait() == Exit(3, None)
        await process.stop(SIGTERM, HOURS)
        output = bytearray()
        with pytest.raises(anyio.EndOfStream):
            while True:
                # Slower than the stranger, so that there is always more.
                output += await process.stdout.receive(512)
        assert output.count(b"x") == 40000


@pytest.mark.parametrize("grows", [True, False])
async def test_a_pipe_that_was_full_holds_more_from_then_on(
    monkeypatch: pytest.MonkeyPatch, *, grows: bool
) -> None:
    """A busy command's output is taken in larger pieces where the system lets us; all of it."""
    if not grows:
        monkeypatch.setattr(_pipes, "enlarge_pipe", lambda _fd, _size: False)
    elif not hasattr(fcntl, "F_SETPIPE_SZ"):
        pytest.skip("pipes cannot be made larger here: it takes Linux")
    sizes = []
    async with launched(Command.shell("head -c 2000000 /dev/zero; echo end")) as process:
        for full in (_pipes.CHUNK, _pipes.BUSY_CHUNK if grows else _pipes.CHUNK):
            while bytes_in_pipe(process.stdout._fd) < full:
                await checkpoint()
            sizes.append(len(await process.stdout.receive()))
            assert sizes[-1] == full
        sizes += [len(chunk) async for chunk in process.stdout]
    assert sum(sizes) == 2_000_004


# ---- stdin ----


async def test_a_file_is_read_from_the_working_directory_at_each_start(tmp_path: Path) -> None:
    """A path names a file as it is when a process is started, and is relative to `cwd`."""
    command = Command(["cat"], cwd=tmp_path, stdin=Path("folder/file"))
    (tmp_path / "folder").mkdir()
    for text in ("", "one\n", "x" * 1_000_000):
        (tmp_path / "folder" / "file").write_text(text)
        LocalLauncher().check(command)
        async with launched(command) as process:
            assert process.stdin is None
            assert await read_all(process.stdout) == text.encode()
            assert await process.wait() == Exit(0, None)


async def test_a_file_for_stdin_may_be_a_device(tmp_path: Path) -> None:
    """What can be read without waiting for somebody to write is as good as a file; it blocks."""
    command = Command(["head", "-c", "3"], stdin=Path("/dev/zero"), cwd=tmp_path)
    LocalLauncher().check(command)
    assert await output_of(command) == bytes(3)
    source = "import fcntl, os; print(fcntl.fcntl(0, fcntl.F_GETFL) & os.O_NONBLOCK)"
    command = Command([sys.executable, "-ISc", source], stdin=Path("/dev/zero"))
    assert await output_of(command) == b"0\n"


async def test_a_file_that_is_gone_meanwhile_fails_that_attempt_only(tmp_path: Path) -> None:
    """What is missing at a later start is `Failed`, with the words of the check."""
    file = tmp_path / "file"
    file.write_text("text")
    command = Command(["cat"], name="c", stdin=file, capture=True)
    with anyio.fail_after(LIMIT):
        async with Runner([command]) as runner:
            file.unlink()
            with pytest.raises(StdinClosedError, match="without stdin=PIPE"):
                await runner["c"].send(b"to nobody")
            await runner.join()
    error = runner.results["c"].error
    assert isinstance(error, LaunchError)
    assert "its stdin file" in str(error)
    assert "does not exist" in str(error)


async def test_a_missing_file_for_stdin_is_found_on_entry(tmp_path: Path) -> None:
    """No command is started where one has nothing to read."""
    commands = [Command(["touch", tmp_path / "trace"]), Command(["cat"], stdin=tmp_path / "none")]
    with pytest.raises(CommandNotFoundError, match=r"its stdin file .*none'"):
        async with Runner(commands):
            pass
    assert not list(tmp_path.iterdir())


async def test_a_file_that_may_not_be_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check finds it, and so does the start; an error of the system's own is shown."""
    file = tmp_path / "file"
    file.write_text("text")
    command = Command(["cat"], stdin=file)
    really_open = os.open
    number = errno.EACCES

    def refuse(path: str, *options: int) -> int:  # root may read everything
        if path == str(file):
            raise OSError(number, os.strerror(number), path)
        return really_open(path, *options)

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.R_OK)
    with pytest.raises(CommandNotFoundError, match="is not readable"):
        LocalLauncher().check(command)
    async with LocalLauncher() as launcher:
        with pytest.raises(LaunchError, match=r"its stdin file .* is not readable"):
            await launcher.launch(command)
        monkeypatch.undo()
        monkeypatch.setattr(os, "open", refuse)
        number = errno.EIO
        with pytest.raises(LaunchError, match=r"its stdin cannot be opened.*Input/output error"):
            await launcher.launch(command)
        number = errno.EMFILE
        with pytest.raises(LaunchError, match="no file descriptors left"):
            await launcher.launch(command)


async def test_a_closed_stdin_is_the_end_of_the_input() -> None:
    """A process reads what was sent, however much, and then the end."""
    data = b"0123456789abcdef" * 65536
    async with launched(Command(["cat"], stdin=PIPE)) as process:

        async def feed() -> None:
            assert process.stdin is not None
            await process.stdin.send(data)
            await process.stdin.aclose()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(feed)
            assert await read_all(process.stdout) == data
        assert await process.wait() == Exit(0, None)


async def test_a_send_that_waits_is_told_that_nobody_will_read() -> None:
    """A task that waits for room in the pipe learns of the end of the process."""
    async with ready(Command.shell(f"echo ready; {EXEC_FOREVER}", stdin=PIPE)) as process:
        told = []

        async def feed() -> None:
            assert process.stdin is not None
            try:
                await process.stdin.send(bytes(10_000_000))
            except anyio.BrokenResourceError as error:
                told.append(error)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(feed)
            await wait_all_tasks_blocked()
            assert not told
            await process.stop(SIGTERM, HOURS)
        assert len(told) == 1


async def test_a_process_that_closes_its_stdin_is_told_from_one_that_does_not_read(
    anyio_backend: object,
) -> None:
    """Sending to a process that runs but has closed its stdin raises."""
    if started_by_uvloop(anyio_backend):
        pytest.skip("uvloop hands its children a second copy of stdin, which they never close")
    line = f"exec <&-; echo ready; {EXEC_FOREVER}"
    async with ready(Command.shell(line, stdin=PIPE)) as process:
        assert process.stdin is not None
        with pytest.raises(anyio.BrokenResourceError):
            await process.stdin.send(b"for nobody")


@pytest.fixture
def named_pipe(tmp_path: Path) -> Iterator[str]:
    """The path of a pipe that is held open by this process until the end of the test."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    fd = os.open(path, os.O_RDWR)
    yield str(path)
    os.close(fd)


async def test_closing_a_process_ends_the_reads_and_sends_that_wait(named_pipe: str) -> None:
    """Tasks that still use a process which is closed are told so, whoever else holds its pipes."""
    async with launched(python(STRANGER, "waits", named_pipe, stdin=PIPE)) as process:
        told: list[str] = []

        async def read() -> None:
            with pytest.raises(anyio.ClosedResourceError):
                await process.stdout.receive()
            told.append("the reader")

        async def send() -> None:
            assert process.stdin is not None
            with pytest.raises(anyio.ClosedResourceError):
                await process.stdin.send(bytes(10_000_000))
            told.append("the sender")

        assert await process.wait() == Exit(3, None)
        assert await process.stdout.receive() == b"x" * 40000
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            tasks.start_soon(send)
            await wait_all_tasks_blocked()
            await process.aclose()
        assert sorted(told) == ["the reader", "the sender"]
