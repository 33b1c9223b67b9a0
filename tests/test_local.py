"""Processes on this machine, beyond the contract of all launchers.

The processes print ``ready`` or the pid of a child, and run for hours.  An escapee exits by itself
when its stdin is closed, which leaving the launcher does.
"""

from __future__ import annotations

import errno
import fcntl
import os
import pickle
import platform
import shutil
import subprocess
import sys
from contextlib import AsyncExitStack, asynccontextmanager, suppress
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
    NotPermittedError,
    Runner,
    StdinClosedError,
)
from currant._process import child_group
from currant._process import pipes as _pipes
from currant._process.lookup import find_problem
from currant._process.stop import wait_empty
from currant._system import proc
from currant._system.files import bytes_in_pipe
from currant._system.groups import has_pidfds
from currant._values.launch_spec import SILENT, LaunchSpec
from currant._values.shutdown_limits import ShutdownLimits
from tests.files import files_left
from tests.streams import read_all, read_until
from tests.system import answer_signals, needs_proc, started_by_uvloop
from tests.waiting import EXEC_FOREVER, HOURS, LIMIT, is_alive

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from signal import Signals

    from currant._process.child import Child, SpawnSpec
    from currant._process.local_process import LocalProcess
    from currant._system.groups import ProcessGroup
    from currant._values.launch_spec import KillMode
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
    """Launch a process, and wait until it has printed ``ready``."""
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
    """Block until the process is suspended or has exited, without reaping it."""
    with suppress(ChildProcessError):  # asyncio's thread has reaped it
        os.waitid(os.P_PID, process.pid, change | os.WNOWAIT)


# ---- files, arguments and environment ----


async def test_process_leads_a_new_session_and_group() -> None:
    """A process starts in a new session, so it has no terminal and leads its own group."""
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


async def test_default_stdin_is_at_end_of_file(stdin_of_the_host: None) -> None:
    """A process does not read the host's stdin; the stdin that it has is empty."""
    assert await output_of(Command.shell("cat; echo end")) == b"end\n"


@needs_proc
async def test_default_stdin_is_dev_null(stdin_of_the_host: None) -> None:
    """The default stdin is /dev/null, not a closed file whose number the next open would take."""
    async with ready(Command.shell(f"echo ready; {EXEC_FOREVER}")) as process:
        assert os.readlink(f"/proc/{process.pid}/fd/0") == os.devnull


@needs_proc
@pytest.mark.parametrize("stdin", [None, PIPE])
async def test_process_inherits_only_the_standard_files(
    anyio_backend: object, stdin: int | None
) -> None:
    """Of the host's files and our pipe ends, a process inherits none but 0 to 2."""
    if started_by_uvloop(anyio_backend):
        pytest.skip("uvloop hands its children second copies of 0 to 2 and what is inheritable")
    ends = os.pipe()
    try:
        os.set_inheritable(ends[1], True)
        # Suspended, because a program that is still being loaded opens files of its own.
        async with ready(Command.shell("echo ready; kill -STOP $$", stdin=stdin)) as process:
            wait_until(process, os.WSTOPPED)
            assert sorted(os.listdir(f"/proc/{process.pid}/fd")) == ["0", "1", "2"]
    finally:
        for end in ends:
            os.close(end)


async def test_processes_do_not_inherit_pipes_of_other_processes() -> None:
    """A process that starts later holds no end of another process's pipes: each stream can end."""
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


async def test_standard_files_of_a_process_are_blocking() -> None:
    """Our non-blocking reads do not change the child's ends of the pipes."""
    source = """
import fcntl, os
print([fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK for fd in range(3)], flush=True)
"""
    for stdin in (None, PIPE):
        assert await output_of(python(source, stdin=stdin)) == b"[0, 0, 0]\n"


async def test_environment_overrides_the_hosts_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process has the host's variables as they are now, overridden by the command's own."""
    monkeypatch.setenv("CURRANT_A", "of the host")
    monkeypatch.setenv("CURRANT_B", "of the host")
    lines = (await output_of(Command([ENV], env={"CURRANT_B": "my own"}))).splitlines()
    assert b"CURRANT_A=of the host" in lines
    assert b"CURRANT_B=my own" in lines


@pytest.mark.parametrize(("env", "expected"), [({}, b""), ({"A": "1"}, b"A=1\n")])
async def test_inherit_env_false_leaves_only_the_commands_variables(
    env: dict[str, str], expected: bytes
) -> None:
    """With inherit_env=False a process has only the variables of its command, if any."""
    output = await output_of(Command([ENV], env=env, inherit_env=False))
    lines = output.splitlines(keepends=True)
    assert b"".join(line for line in lines if not line.startswith(b"CURRANT_ID=")) == expected
    assert len(lines) == len(env) + 1


async def test_arguments_and_variables_arrive_byte_for_byte() -> None:
    """An argument or variable that is not UTF-8 arrives as the bytes that it was made of."""
    word = os.fsdecode(b"a \xff 'b'\n\xc3\xa9")
    assert await output_of(Command(["printf", "%s", word])) == os.fsencode(word)
    command = Command.shell('printf %s "$WORD"', env={"WORD": word})
    assert await output_of(command) == os.fsencode(word)


async def test_process_runs_in_its_working_directory(tmp_path: Path) -> None:
    """A process starts in the directory that its command names."""
    output = await output_of(Command.shell("pwd -P", cwd=tmp_path))
    assert output == os.fsencode(tmp_path.resolve()) + b"\n"


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(Command(["./tool"]), id="a path"),
        pytest.param(Command(["tool"], env={"PATH": "."}), id="a relative folder in its PATH"),
    ],
)
async def test_relative_program_path_starts_at_the_working_directory(
    tmp_path: Path, command: Command
) -> None:
    """Check and start resolve a relative path from the command's working directory."""
    _write(tmp_path / "tool", "#!/bin/sh\necho found\n", 0o755)
    command = Command(command.argv, env=command.env, cwd=tmp_path)
    await LocalLauncher().check([command])
    assert await output_of(command) == b"found\n"


async def test_program_is_searched_in_the_commands_path(tmp_path: Path) -> None:
    """The PATH is the command's, not the host's."""
    _write(tmp_path / "tool", "#!/bin/sh\necho found\n", 0o755)
    command = Command(["tool"], env={"PATH": str(tmp_path)})
    await LocalLauncher().check([command])
    assert await output_of(command) == b"found\n"


async def test_search_skips_files_that_are_not_executable(tmp_path: Path) -> None:
    """A file in PATH that cannot run does not hide a later one, as for the system itself."""
    for folder, mode in (("first", 0o644), ("second", 0o755)):
        (tmp_path / folder).mkdir()
        _write(tmp_path / folder / "tool", f"#!/bin/sh\necho {folder}\n", mode)
    command = Command(["tool"], env={"PATH": f"{tmp_path}/first:{tmp_path}/second"})
    await LocalLauncher().check([command])
    assert await output_of(command) == b"second\n"


# ---- failed starts ----


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
        make: builds the command, with files in a folder.
        reason: a pattern of the error.
        checked: whether the check finds the problem.
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
    "not executable below the working directory": Wrong(
        lambda tmp: Command(
            ["./" + Path(_write(tmp / "file", "#!/bin/sh\n", 0o644)).name], cwd=tmp
        ),
        r"program '/[^.]*/file' is not executable",
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
    "no such folder for stdout": Wrong(
        lambda tmp: Command(["true"], stdout=tmp / "none" / "log"),
        "its stdout file .*none/log' cannot be created: the folder .*none' does not exist",
    ),
    "stderr through a file": Wrong(
        lambda tmp: Command(["true"], stderr=Path(_write(tmp / "file", "", 0o644)) / "log"),
        "its stderr file .*file/log' cannot be created: the folder .*file' is not a directory",
    ),
    "a folder for stderr": Wrong(
        lambda tmp: Command(["true"], stderr=tmp), "its stderr file .* is a directory"
    ),
    "a named pipe for stdout": Wrong(
        lambda tmp: Command(["true"], stdout=_make_pipe(tmp / "pipe")),
        "its stdout file .*pipe' is a named pipe.* waits for a reader.*open file",
    ),
    "no such interpreter": Wrong(
        lambda tmp: Command([_write(tmp / "script", "#!/nonexistent/sh\n", 0o755)]),
        "the interpreter '/nonexistent/sh' that its '#!' line names does not exist$",
        checked=False,
    ),
    "a '#!' line of Windows": Wrong(
        lambda tmp: Command([_write(tmp / "script", "#!/bin/sh\r\ntrue\r\n", 0o755)]),
        r"the interpreter '/bin/sh\\r' that its '#!' line names does not exist; save the file",
        checked=False,
    ),
    "a folder by a dot": Wrong(lambda _: Command(["."]), "'.' is not a program but a directory$"),
    "an empty PATH": Wrong(
        lambda _: Command(["true"], env={"PATH": ""}), "'true' in its PATH .which is empty.$"
    ),
    "no such interpreter of a wrapper": Wrong(
        lambda tmp: Command(["true"], wrap=[_write(tmp / "box", "#!/nonexistent/sh\n", 0o755)]),
        "the first word of its wrap: the interpreter '/nonexistent/sh' that its '#!' line names ",
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
async def test_failed_start_explains_the_reason(wrong: Wrong, tmp_path: Path) -> None:
    """The error of a failed start names the program, its directory or the system as the cause."""
    with anyio.fail_after(LIMIT):
        async with LocalLauncher() as launcher:
            with pytest.raises(LaunchError, match=wrong.reason) as caught:
                await launcher.launch(wrong.make(tmp_path))
            assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
async def test_check_finds_missing_files_in_advance(wrong: Wrong, tmp_path: Path) -> None:
    """The check reports missing files as the failed start does, and does not guess."""
    command = wrong.make(tmp_path)
    if wrong.checked:
        with pytest.raises(CommandNotFoundError, match=wrong.reason):
            await LocalLauncher().check([command])
    else:
        await LocalLauncher().check([command])


async def test_check_runs_nothing(tmp_path: Path) -> None:
    """The check does not run the command."""
    await LocalLauncher().check([Command(["touch", tmp_path / "trace"])])
    assert not list(tmp_path.iterdir())


async def test_script_without_a_shebang_line_is_explained(
    tmp_path: Path, anyio_backend: object
) -> None:
    """The error names the missing '#!' line, unless the event loop runs such files with /bin/sh."""
    command = Command([_write(tmp_path / "script", "echo ran\n", 0o755)])
    await LocalLauncher().check([command])
    if started_by_uvloop(anyio_backend):
        # uvloop uses execvp, which runs such a file with /bin/sh.
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
async def test_start_error_of_any_kind_becomes_a_launch_error(
    error: Exception, reason: str
) -> None:
    """Each error during a start becomes a LaunchError that explains the reason."""

    async def refuse(spec: SpawnSpec) -> Child:
        raise error

    async with LocalLauncher(_start=refuse) as launcher:
        for stdin in (None, PIPE):
            with pytest.raises(LaunchError, match=reason) as caught:
                await launcher.launch(Command(["true"], stdin=stdin, name="the name"))
            assert caught.value.__cause__ is error
            assert caught.value.name == "the name"


async def test_interrupted_start_leaves_no_file_open() -> None:
    """An exception that is not an error of the start passes through, and the pipes are closed."""

    class Interrupt(BaseException):
        pass

    async def interrupt(spec: SpawnSpec) -> Child:
        raise Interrupt

    async with LocalLauncher(_start=interrupt) as launcher:
        with pytest.raises(Interrupt):
            await launcher.launch(Command(["true"], stdin=PIPE))


async def test_start_without_enough_file_descriptors_leaks_nothing(
    anyio_backend: object,
) -> None:
    """With any number of free descriptors, a start succeeds or reports that there are too few."""
    command = Command(["true"], stdin=PIPE)
    # uvloop leaks its own pipes if opening another fails, so there only our pipes may fail.
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


async def test_exit_is_known_while_a_grandchild_holds_the_output() -> None:
    """The leader's exit waits neither for its children nor for the end of output."""
    async with launched(Command.shell("sleep 9999 & echo hi; exit 3")) as process:
        assert await process.wait() == Exit(3, None)
        assert await process.send_signal(0)
        assert await process.stop(SIGTERM, HOURS) == Exit(3, None)
        assert await read_all(process.stdout) == b"hi\n"


async def test_signal_reaches_the_whole_group() -> None:
    """The leader and its children get the signal."""
    line = f"({EXEC_FOREVER})& trap 'wait; exit 7' USR1; echo $!; wait; exit 8"
    async with launched(Command.shell(line)) as process:
        grandchild = await first_number(process)
        assert await process.send_signal(SIGUSR1)
        # Its own `wait` returns only when the grandchild is gone.
        assert await process.wait() == Exit(7, None)
        assert not is_alive(grandchild)


async def test_signal_reaches_leftover_processes() -> None:
    """While a process of the group is alive, signals reach the group, also without a leader."""
    async with launched(Command.shell(f"({EXEC_FOREVER})& echo $!; exit 3")) as process:
        grandchild = await first_number(process)
        await process.wait()
        assert await process.send_signal(SIGUSR1)
        assert await process.stop(SIGTERM, HOURS) == Exit(3, None)
        assert not is_alive(grandchild)
        assert not await process.send_signal(SIGUSR1)


async def test_stop_ends_leftover_processes() -> None:
    """A grandchild that outlives the leader is ended; the exit stays the leader's."""
    async with launched(Command.shell(f"({EXEC_FOREVER})& echo $!; exit 3")) as process:
        grandchild = await first_number(process)
        assert await process.wait() == Exit(3, None)
        assert is_alive(grandchild)
        assert await process.stop(SIGTERM, HOURS) == Exit(3, None)
        assert not is_alive(grandchild)


async def test_stop_kills_leftover_processes_that_ignore_the_signal() -> None:
    """A deaf grandchild gets SIGKILL, which does not make the leader's exit a forced one."""
    line = f"sh -c 'trap \"\" TERM; echo $$; {EXEC_FOREVER}' & read go; exit 3"
    async with launched(Command.shell(line, stdin=PIPE)) as process:
        grandchild = await first_number(process)
        assert process.stdin is not None
        await process.stdin.send(b"go\n")
        assert await process.wait() == Exit(3, None)
        assert is_alive(grandchild)
        assert await process.stop(SIGTERM, 0.05) == Exit(3, None)
        assert not is_alive(grandchild)


async def test_grace_counts_for_the_whole_group() -> None:
    """A deaf grandchild is killed after the grace, although the leader has exited."""
    line = f"sh -c 'trap \"\" TERM; echo $$; {EXEC_FOREVER}' & wait"
    async with launched(Command.shell(line)) as process:
        grandchild = await first_number(process)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(process.stop, SIGTERM, HOURS)
            await process.wait()
            began, grace = anyio.current_time(), 0.05
            end = await process.stop(SIGTERM, grace)
        assert end == Exit(None, SIGTERM, stopped=True, forced=True)
        assert round(anyio.current_time() - began, 2) >= grace
        assert not is_alive(grandchild)


async def test_launcher_serves_one_runner_at_a_time() -> None:
    """After the block of the first Runner, another Runner may use the launcher."""
    launcher = LocalLauncher()
    with anyio.fail_after(LIMIT):
        async with Runner(launcher=launcher):
            with pytest.raises(RuntimeError, match="has already been entered"):
                async with Runner(launcher=launcher):
                    pytest.fail("the block was entered")
        async with Runner(["true"], launcher=launcher) as runner:
            assert (await runner.join()).ok


@pytest.mark.parametrize("ignores", [False, True])
async def test_leaving_the_launcher_ends_whole_groups(ignores: bool) -> None:
    """Closing a process ends its whole group, with or without a leader."""
    trap = "trap '' TERM;" if ignores else ""
    async with launched(Command.shell(f"{trap} ({EXEC_FOREVER})& echo $!; exit 3")) as process:
        grandchild = await first_number(process)
        await process.wait()
    assert not is_alive(grandchild)


async def test_program_may_clean_up_before_it_stops() -> None:
    """The exit code and the last output of a process that handles the stop signal are kept."""
    # A shell might get the signal between two commands, and would start the second.
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


async def test_suspended_process_is_continued_to_stop() -> None:
    """A suspended process gets SIGTERM and then SIGCONT, so SIGTERM ends it without SIGKILL."""
    async with ready(Command.shell(f"echo ready; {EXEC_FOREVER}")) as process:
        assert await process.send_signal(SIGSTOP)
        wait_until(process, os.WSTOPPED)
        end = await process.stop(SIGTERM, HOURS)
        assert end == Exit(None, SIGTERM, stopped=True, forced=False)


async def test_suspended_process_does_not_outlive_its_launcher() -> None:
    """Closing ends a suspended process like any other."""
    async with ready(Command.shell(f"trap '' TERM; echo ready; {EXEC_FOREVER}")) as process:
        assert await process.send_signal(SIGSTOP)
        wait_until(process, os.WSTOPPED)
    assert not is_alive(process.pid)


async def test_unnoticed_exit_does_not_count_as_stopped() -> None:
    """A leader that has exited, but was not reaped before the stop, ended by itself."""
    async with launched(Command.shell("read go; exit 1", stdin=PIPE)) as process:
        assert process.stdin is not None
        await process.stdin.send(b"go\n")
        # Without an await between exit and stop, the event loop cannot have noticed the exit.
        wait_until(process, os.WEXITED)
        assert await process.stop(SIGTERM, HOURS) == Exit(1, None)


LEAVES_A_ZOMBIE = """
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
"""The zombie stays in the group until its parent, which has left the group, exits."""


@needs_proc
async def test_group_of_unreaped_zombies_counts_as_gone() -> None:
    """A stop neither waits for a group of zombies nor kills it."""
    async with launched(python(LEAVES_A_ZOMBIE, stdin=PIPE)) as process:
        zombie = await first_number(process)
        assert await process.stop(SIGTERM, HOURS) == Exit(None, SIGTERM, stopped=True)
        # This proves that the group still exists for the system.
        assert os.getpgid(zombie) == process.pid
        os.killpg(process.pid, 0)


@needs_proc
async def test_groups_that_end_together_share_the_listings_of_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each needs two to be found empty; that many are enough for all, however many tasks wait."""
    listings: list[list[int]] = []
    looked_at: list[ProcessGroup] = []
    numbers = proc.process_numbers

    def record() -> list[int]:
        listings.append(numbers())
        return listings[-1]

    async def record_wait(group: ProcessGroup) -> None:
        looked_at.append(group)
        await wait_empty(group)

    monkeypatch.setattr(child_group, "wait_empty", record_wait)
    monkeypatch.setattr(proc, "process_numbers", record)
    monkeypatch.setattr(proc, "MIN_SHARED", 0.2)
    monkeypatch.setattr(proc, "MAX_SHARED", 0.2)
    async with AsyncExitStack() as stack:
        commands = [python(LEAVES_A_ZOMBIE, stdin=PIPE)] * 3
        processes = [await stack.enter_async_context(launched(each)) for each in commands]
        for process in processes:
            await first_number(process)
        async with anyio.create_task_group() as tasks:
            for process in [*processes, *processes]:
                tasks.start_soon(process.stop, SIGTERM, HOURS)
        assert 2 <= len(listings) < 2 * len(processes)
        assert len(looked_at) == len(processes)  # by one task each


@needs_proc
@pytest.mark.skipif(not has_pidfds(), reason="waits through pidfds: Linux 5.3 or later")
async def test_stop_of_a_process_without_children_reads_no_file_of_proc(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The wait for the leader says whether it was alive, and signal 0 that no member is left."""
    async with launched(Command(["sleep", "9999"])) as process:
        with monkeypatch.context() as patch:
            patch.setattr(proc, "_read", lambda path: pytest.fail(f"read {path}"))
            assert await process.stop(SIGTERM, HOURS) == Exit(None, SIGTERM, stopped=True)


async def test_group_that_renews_itself_is_ended() -> None:
    """A group whose members each fork a successor and exit is never taken for empty."""
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
        # A member that is left would hold the output, and no limit would cut it off.
        assert await read_all(process.stdout) == b""


# ---- an open, silent stdin ----


async def test_silent_stdin_is_open_until_the_group_is_gone() -> None:
    """A command that reads waits, also during its stop, and after its leader has exited."""
    reader = "exec 3<&0; (trap '' TERM; read x <&3; echo end) & "
    script = f"{reader} trap 'exit 0' TERM; echo ready; wait"
    async with launched(Command.shell(script, stdin=SILENT, stderr="stdout")) as process:
        assert process.stdin is None
        assert await read_until(process.stdout, b"ready\n") == b"ready\n"
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(process.stop, SIGTERM, HOURS)
            assert (await process.wait()).code == 0
            await process.stop(SIGTERM, 0)  # The reader is left, and killed.
        assert b"end" not in await read_all(process.stdout)


def test_silent_stdin_survives_pickle() -> None:
    """A spec with this value can be sent to another process."""
    spec = LaunchSpec.of(Command(["cat"], stdin=SILENT))
    assert pickle.loads(pickle.dumps(spec)).stdin is SILENT
    assert "stdin=SILENT" in repr(Command(["cat"], stdin=SILENT))


# ---- a command that changed its user ----


@needs_proc
@pytest.mark.parametrize("mode", ["group", "mixed"])
async def test_missing_permission_is_told_without_waiting_out_the_grace(
    monkeypatch: pytest.MonkeyPatch, mode: KillMode
) -> None:
    """A group that this program may not signal is given up at once, and the error says why."""

    def refuse() -> None:
        raise PermissionError

    command = Command.shell(f"echo ready; {EXEC_FOREVER}", kill_mode=mode)
    async with ready(command) as process:
        with monkeypatch.context() as patch:
            answer_signals(patch, refuse)
            with pytest.raises(NotPermittedError, match="may not signal it"):
                await process.stop(SIGTERM, HOURS)


ROOT_COMMAND = """
import os, sys, anyio
from currant import Runner

async def main():
    with anyio.fail_after(20):
        async with Runner({"c": "sleep 9999"}, grace=9999, orphan_guard=False) as runner:
            await runner["c"].until_started()
            print(runner["c"].pid, flush=True)
            os.setuid(65534)  # as seen from here, the command has changed its user
            assert not await runner["c"].send_signal(15)
            runner.kill()
    print(runner.results["c"].error)

anyio.run(main, backend=sys.argv[1])
"""


@needs_proc
@pytest.mark.skipif(os.getuid() != 0, reason="changes the user: needs root")
def test_command_of_another_user_is_given_up(anyio_backend_name: str) -> None:
    """The result of the Runner tells that the permission is lacking."""
    argv = [sys.executable, "-c", ROOT_COMMAND, anyio_backend_name]
    ended = subprocess.run(argv, capture_output=True, check=False, timeout=LIMIT, text=True)
    pid, _, error = ended.stdout.partition("\n")
    os.kill(int(pid), SIGKILL)
    assert "may not signal it" in error, ended.stderr


# ---- groups that must not be signalled ----


async def test_concurrent_stops_send_the_stop_signal_once(kills: Kills) -> None:
    """Several stops send the stop signal once and SIGCONT once."""
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
async def test_group_that_is_gone_is_never_signalled_again(line: str, kills: Kills) -> None:
    """After the leader is reaped and the group is empty, another group may have the number."""
    async with launched(Command.shell(line)) as process:
        await process.stop(SIGTERM, HOURS)
        kills.sent.clear()
        for signal in (SIGTERM, SIGKILL, 0):
            assert not await process.send_signal(signal)
        await process.stop(SIGTERM, HOURS)
        await process.stop(SIGKILL, 0)
        await process.aclose()
    assert kills.sent == []


async def test_signals_go_only_to_groups_that_were_started(kills: Kills) -> None:
    """No other group gets a signal."""
    pids = set()
    for signal in (SIGTERM, SIGKILL):
        async with launched(Command.shell(EXEC_FOREVER)) as process:
            pids.add(process.pid)
            await process.stop(signal, HOURS)
    assert {group for group, _ in kills.sent} == pids


@pytest.mark.parametrize("signal", [SIGTERM, SIGKILL])
async def test_stop_and_exit_may_race(signal: Signals, kills: Kills) -> None:
    """A process that exits while it is being stopped raises no error."""
    async with LocalLauncher() as launcher:
        for _ in range(25):
            with anyio.fail_after(LIMIT):
                process = await launcher.launch(Command(["true"]))
                end = await process.stop(signal, HOURS)
                assert (end.code, end.signal) in ((0, None), (None, signal))
                assert end == await process.wait()
                await process.aclose()


# ---- escapees that hold the output ----

ESCAPEE = """
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
"""Leaves an escapee that holds stdin and stdout.

The escapee copies stdin to stdout (echoes) or writes without end (floods) until stdin is closed, or
does nothing (waits) until the named pipe is closed.
"""


async def test_output_ends_although_an_escapee_holds_the_pipe() -> None:
    """An escapee that holds the pipe delays the end of output by a limit at most."""
    limits = ShutdownLimits(drain=0.05)
    async with launched(python(ESCAPEE, "echoes", stdin=PIPE), limits) as process:
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


async def test_output_of_the_group_is_complete_however_late_it_is_read() -> None:
    """The limit cuts off the escapee, not what the group wrote before it was gone."""
    limits = ShutdownLimits(drain=0)
    async with launched(python(ESCAPEE, "echoes", stdin=PIPE), limits) as process:
        assert await process.wait() == Exit(3, None)
        assert await process.stop(SIGTERM, HOURS) == Exit(3, None)
        assert process.stdout is not None
        assert await process.stdout.receive(1000) == b"x" * 1000
        assert await read_all(process.stdout) == b"x" * 39000


async def test_output_of_an_escapee_is_received_until_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Output of an escapee within the limit is received; after the limit the stream ends."""
    limits = ShutdownLimits(drain=HOURS)
    async with launched(python(ESCAPEE, "echoes", stdin=PIPE), limits) as process:
        assert process.stdin is not None
        assert await process.wait() == Exit(3, None)
        await process.stop(SIGTERM, HOURS)
        assert process.stdout is not None
        assert await process.stdout.receive() == b"x" * 40000
        await process.stdin.send(b"y")
        assert await process.stdout.receive() == b"y"
        with monkeypatch.context() as later:
            later.setattr(anyio, "current_time", lambda: inf)
            assert await read_all(process.stdout) == b""


@pytest.mark.parametrize("limit", [0.0, 0.05])
async def test_output_ends_although_an_escapee_goes_on_writing(limit: float) -> None:
    """An escapee that writes without end is cut off after the limit, without an error."""
    limits = ShutdownLimits(drain=limit)
    async with launched(python(ESCAPEE, "floods", stdin=PIPE), limits) as process:
        assert await process.wait() == Exit(3, None)
        await process.stop(SIGTERM, HOURS)
        assert process.stdout is not None
        output = bytearray()
        with pytest.raises(anyio.EndOfStream):
            while True:
                # Slower than the escapee, so that there is always more.
                output += await process.stdout.receive(512)
        assert output.count(b"x") == 40000


@pytest.mark.parametrize("grows", [True, False])
async def test_full_pipe_is_enlarged(monkeypatch: pytest.MonkeyPatch, *, grows: bool) -> None:
    """A busy command's output is read in larger chunks if the system allows it; none is lost."""
    if not grows:
        monkeypatch.setattr(_pipes, "enlarge_pipe", lambda _fd, _size: False)
    elif not hasattr(fcntl, "F_SETPIPE_SZ"):
        pytest.skip("pipes cannot be made larger here: it takes Linux")
    sizes = []
    async with launched(Command.shell("head -c 2000000 /dev/zero; echo end")) as process:
        assert process.stdout is not None
        for full in (_pipes.CHUNK, _pipes.BUSY_CHUNK if grows else _pipes.CHUNK):
            while bytes_in_pipe(process.stdout._fd) < full:
                await checkpoint()
            sizes.append(len(await process.stdout.receive()))
            assert sizes[-1] == full
        sizes += [len(chunk) async for chunk in process.stdout]
    assert sum(sizes) == 2_000_004


READS = """
import os, resource
import anyio
from currant._process.pipes import BUSY_CHUNK, CHUNK, OutputPipe

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

async def main():
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    pipe, data = OutputPipe(read_end), b"x" * BUSY_CHUNK
    os.write(write_end, data[:CHUNK])
    await pipe.receive()
    for turn in range(20):
        if turn == 10:
            begun = faults()
        chunks = []
        for _ in range(4):
            os.write(write_end, data)
            chunks.append(await pipe.receive())
    print((faults() - begun) / 40)

anyio.run(main)
"""
"""Prints the page faults of each read of a busy pipe, after a while."""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it takes the malloc of glibc")
def test_memory_of_a_busy_pipe_is_used_again() -> None:
    """The next read gets the memory of an earlier one, and not 64 new pages of the system."""
    done = subprocess.run([sys.executable, "-c", READS], stdout=subprocess.PIPE, check=True)
    assert float(done.stdout) < 8


# ---- stdin ----


async def test_stdin_file_is_opened_at_each_start(tmp_path: Path) -> None:
    """The path is relative to `cwd`, and the file is read as it is at the start."""
    command = Command(["cat"], cwd=tmp_path, stdin=Path("folder/file"))
    (tmp_path / "folder").mkdir()
    for text in ("", "one\n", "x" * 1_000_000):
        (tmp_path / "folder" / "file").write_text(text)
        await LocalLauncher().check([command])
        async with launched(command) as process:
            assert process.stdin is None
            assert await read_all(process.stdout) == text.encode()
            assert await process.wait() == Exit(0, None)


async def test_stdin_file_may_be_a_device(tmp_path: Path) -> None:
    """A device that can be opened without waiting serves as a file; its descriptor is blocking."""
    command = Command(["head", "-c", "3"], stdin=Path("/dev/zero"), cwd=tmp_path)
    await LocalLauncher().check([command])
    assert await output_of(command) == bytes(3)
    source = "import fcntl, os; print(fcntl.fcntl(0, fcntl.F_GETFL) & os.O_NONBLOCK)"
    command = Command([sys.executable, "-ISc", source], stdin=Path("/dev/zero"))
    assert await output_of(command) == b"0\n"


async def test_stdin_file_that_disappears_fails_that_attempt(tmp_path: Path) -> None:
    """A file that is missing at a later start is a `Failed`, with the text of the check."""
    file = tmp_path / "file"
    file.write_text("text")
    command = Command(["cat"], name="c", stdin=file, capture=True)
    with anyio.fail_after(LIMIT):
        async with Runner([command]) as runner:
            file.unlink()
            with pytest.raises(StdinClosedError, match="without stdin=PIPE"):
                await runner["c"].send(b"too late")
            await runner.join()
    error = runner.results["c"].error
    assert isinstance(error, LaunchError)
    assert "its stdin file" in str(error)
    assert "does not exist" in str(error)


async def test_missing_stdin_file_is_found_on_entry(tmp_path: Path) -> None:
    """No command starts if the stdin file of one is missing."""
    commands = [Command(["touch", tmp_path / "trace"]), Command(["cat"], stdin=tmp_path / "none")]
    with pytest.raises(CommandNotFoundError, match=r"its stdin file .*none'"):
        async with Runner(commands):
            pass
    assert not list(tmp_path.iterdir())


async def test_unreadable_stdin_file_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check and start explain a missing permission; any other error of the system is shown."""
    file = tmp_path / "file"
    file.write_text("text")
    command = Command(["cat"], stdin=file)
    really_open = os.open
    number = errno.EACCES

    def refuse(path: str, *options: int) -> int:  # root may read every file
        if path == str(file):
            raise OSError(number, os.strerror(number), path)
        return really_open(path, *options)

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.R_OK)
    with pytest.raises(CommandNotFoundError, match="is not readable"):
        await LocalLauncher().check([command])
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


async def test_closing_stdin_ends_the_input() -> None:
    """A process reads all that was sent, and then the end of the input."""
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


async def test_pending_send_fails_when_the_process_ends() -> None:
    """A task that waits for room in the pipe learns of the end of the process."""
    async with ready(Command.shell(f"echo ready; {EXEC_FOREVER}", stdin=PIPE)) as process:
        errors = []

        async def feed() -> None:
            assert process.stdin is not None
            try:
                await process.stdin.send(bytes(10_000_000))
            except anyio.BrokenResourceError as error:
                errors.append(error)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(feed)
            await wait_all_tasks_blocked()
            assert not errors
            await process.stop(SIGTERM, HOURS)
        assert len(errors) == 1


async def test_send_fails_if_the_process_has_closed_its_stdin(
    anyio_backend: object,
) -> None:
    """Sending to a running process that has closed its stdin raises."""
    if started_by_uvloop(anyio_backend):
        pytest.skip("uvloop hands its children a second copy of stdin, which they never close")
    line = f"exec <&-; echo ready; {EXEC_FOREVER}"
    async with ready(Command.shell(line, stdin=PIPE)) as process:
        assert process.stdin is not None
        with pytest.raises(anyio.BrokenResourceError):
            await process.stdin.send(b"unread")


@pytest.fixture
def named_pipe(tmp_path: Path) -> Iterator[str]:
    """The path of a pipe that is held open by this process until the end of the test."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    fd = os.open(path, os.O_RDWR)
    yield str(path)
    os.close(fd)


async def test_closing_a_process_fails_pending_reads_and_sends(named_pipe: str) -> None:
    """They raise `ClosedResourceError`, even if an escapee holds the pipes."""
    async with launched(python(ESCAPEE, "waits", named_pipe, stdin=PIPE)) as process:
        assert process.stdout is not None
        failed: list[str] = []

        async def read() -> None:
            assert process.stdout is not None
            with pytest.raises(anyio.ClosedResourceError):
                await process.stdout.receive()
            failed.append("the reader")

        async def send() -> None:
            assert process.stdin is not None
            with pytest.raises(anyio.ClosedResourceError):
                await process.stdin.send(bytes(10_000_000))
            failed.append("the sender")

        assert await process.wait() == Exit(3, None)
        assert await process.stdout.receive() == b"x" * 40000
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            tasks.start_soon(send)
            await wait_all_tasks_blocked()
            await process.aclose()
        assert sorted(failed) == ["the reader", "the sender"]


def test_relative_path_is_shown_as_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message about a missing program in the present folder has the path of the command."""
    monkeypatch.chdir(tmp_path)
    assert find_problem(Command(["./run.sh"])) == "the program './run.sh' does not exist"
    assert find_problem(Command(["bin/run"])) == "the program 'bin/run' does not exist"


async def test_launcher_that_is_not_entered_leaves_no_process() -> None:
    """Nothing would end the process if this program died, so the start ends it."""
    with pytest.raises(LaunchError, match="its launcher is not entered"):
        await LocalLauncher().launch(Command.shell(EXEC_FOREVER))
