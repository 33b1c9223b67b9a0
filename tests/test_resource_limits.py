"""`limits` and `nice`: what a command may use, set before its program runs."""

from __future__ import annotations

import json
import os
import pickle
import resource
import shutil
import sys
from dataclasses import FrozenInstanceError, asdict, replace
from signal import SIGXCPU, SIGXFSZ
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from currant import (
    Command,
    CommandError,
    Exit,
    LaunchError,
    Limits,
    LocalLauncher,
    Result,
    Runner,
)
from currant._process import prefix
from currant._process.spawn import start_with_pidfd, start_without_pidfd
from currant._system import rlimits
from currant._system.groups import has_pidfds
from currant.testing import FakeLauncher
from tests.streams import read_all
from tests.waiting import LIMIT

if TYPE_CHECKING:
    from pathlib import Path

    from currant._process.spawn import StartProcess

pytestmark = [pytest.mark.anyio, pytest.mark.backends("asyncio", "trio")]

STARTS = [start_without_pidfd, *([start_with_pidfd] if has_pidfds() else ())]

MEGABYTE = 1024 * 1024

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")

SHOW_LIMITS = """
import json, os, resource
names = {"memory": "AS", "cpu_time": "CPU", "file_size": "FSIZE", "open_files": "NOFILE",
         "processes": "NPROC", "core": "CORE"}
limits = {name: resource.getrlimit(getattr(resource, "RLIMIT_" + end))
          for name, end in names.items()}
print(json.dumps(limits | {"nice": os.nice(0)}))
"""

SHOW_PROCESS = """
import json, os, signal, sys
environ = open("/proc/self/environ", "rb").read().decode().split(chr(0))
stat = open("/proc/self/stat").read().rpartition(")")[2].split()
print(json.dumps({
    "argv": sys.argv, "pid": os.getpid(), "parent": stat[1], "group": stat[2], "session": stat[3],
    "environ": sorted(each for each in environ if not each.startswith("CURRANT_ID=")),
    "mask": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())), "cwd": os.getcwd(),
    "ignored": [line for line in open("/proc/self/status") if line.startswith("SigIgn")],
    "files": sorted(os.listdir("/proc/self/fd")), "terminal": os.isatty(0),
}))
"""

FULL = Limits(
    memory=3 << 30, cpu_time=100, file_size=1 << 20, open_files=64, processes=9999, core=0
)


async def shown_by(command: Command, start: StartProcess | None = None) -> tuple[int, Any]:
    """Return the pid of a command that succeeds, and the JSON value that it prints."""
    with anyio.fail_after(LIMIT):
        async with LocalLauncher(orphan_guard=False, _start=start) as launcher:
            process = await launcher.launch(command)
            data = await read_all(process.stdout)
            errors = b"" if process.stderr is None else await read_all(process.stderr)
            assert ((await process.wait()).code, errors) == (0, b"")
    return process.pid, json.loads(data)


def python(code: str, *words: str, **options: Any) -> Command:
    """Return a command that runs `code`."""
    return Command([sys.executable, "-ISc", code, *words], **options)


async def result_of(command: Command) -> Result:
    """Run a command, and return its result; a busy machine may take long for a second of work."""
    with anyio.fail_after(3 * LIMIT):
        async with Runner({"c": command}) as runner:
            return await runner["c"].wait()


# ---- what is set ----


@pytest.mark.parametrize("start", STARTS)
async def test_program_starts_with_its_limits(start: StartProcess) -> None:
    """Each limit holds, as a hard limit too; SIGKILL comes a second after SIGXCPU."""
    _, shown = await shown_by(python(SHOW_LIMITS, limits=FULL), start)
    expected = {name: [value, value] for name, value in asdict(FULL).items()}
    del shown["nice"]
    assert shown == expected | {"cpu_time": [100, 101]}


async def test_other_limits_are_those_of_this_program() -> None:
    """None leaves a limit alone, and this program's own limits do not change."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    _, shown = await shown_by(python(SHOW_LIMITS, limits=Limits(core=0)))
    assert shown["core"] == [0, 0]
    assert tuple(shown["open_files"]) == before == resource.getrlimit(resource.RLIMIT_NOFILE)


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("limits", [None, Limits(core=0)])
async def test_niceness_is_added_to_that_of_this_program(
    start: StartProcess, limits: Limits | None
) -> None:
    """With limits or without them, the program is nicer by that much."""
    _, shown = await shown_by(python(SHOW_LIMITS, nice=3, limits=limits), start)
    assert shown["nice"] == os.nice(0) + 3


@pytest.mark.skipif(not os.path.exists("/proc/self/environ"), reason="needs /proc")
@pytest.mark.parametrize("pty", [False, True])
async def test_process_is_the_same_with_limits_and_without(tmp_path: Path, pty: bool) -> None:
    """The way to set limits leaves no trace: the process itself, its words, variables and files."""
    words = ["a b", "", "$HOME", "--", "-n", "x=y", "\n"]
    variables = {"a.b": "1", "BASH_FUNC_x%%": "() { :; }", "EMPTY": "", "PATH": os.environ["PATH"]}
    plain = python(
        SHOW_PROCESS, *words, env=variables, inherit_env=False, cwd=tmp_path, pty=pty, stdin=b""
    )
    shown = []
    for command in (plain, replace(plain, limits=FULL, nice=2)):
        pid, found = await shown_by(command)
        assert [int(found.pop(key)) for key in ("pid", "group", "session")] == [pid] * 3
        shown.append(found)
    assert shown[0] == shown[1]
    assert shown[0]["argv"][1:] == words


def test_niceness_is_set_without_a_word_that_busybox_does_not_know() -> None:
    """The nice of Alpine would take "--" for the program."""
    words = prefix.prefix_of(3, None, is_other_user=False)
    assert words[1:] == ("-n", "3")


def test_command_without_limits_has_no_prefix() -> None:
    """Nothing is paid by a command that sets nothing."""
    for command in (Command(["c"]), Command(["c"], limits=Limits())):
        assert prefix.prefix_of(command.nice, command.limits, is_other_user=False) == ()


# ---- what a limit does ----


async def test_memory_beyond_the_limit_cannot_be_allocated() -> None:
    """The program learns of the limit when it asks for memory."""
    code = "try:\n    bytearray(1 << 30)\nexcept MemoryError:\n    raise SystemExit(7)"
    result = await result_of(python(code, limits=Limits(memory=512 * MEGABYTE)))
    assert result.exit == Exit(7, None)


async def test_end_by_the_limit_of_processor_time_is_told() -> None:
    """The system sends SIGXCPU, and the text says why."""
    command = Command.shell("while :; do :; done", limits=Limits(cpu_time=1))
    result = await result_of(command)
    assert result.status == "failed"
    assert str(result.exit) == "SIGXCPU (exceeded its limit of processor time)"


async def test_end_by_the_limit_of_file_size_is_told(tmp_path: Path) -> None:
    """The system sends SIGXFSZ; what fits has been written."""
    line = "exec head -c 9999 /dev/zero >file"
    result = await result_of(Command.shell(line, cwd=tmp_path, limits=Limits(file_size=4096)))
    assert str(result.exit) == "SIGXFSZ (exceeded its limit of file size)"
    assert (tmp_path / "file").stat().st_size == 4096


@pytest.mark.parametrize(
    ("end", "text"),
    [
        (Exit(None, SIGXCPU), "SIGXCPU (exceeded its limit of processor time)"),
        (Exit(None, SIGXFSZ), "SIGXFSZ (exceeded its limit of file size)"),
        (Exit(None, SIGXCPU, stopped=True), "stopped (SIGXCPU)"),
        (Exit(None, SIGXFSZ, stopped=True, timed_out=True), "timed out (SIGXFSZ)"),
    ],
)
def test_only_a_signal_of_the_system_stands_for_a_limit(end: Exit, text: str) -> None:
    """A stop signal may be any signal, and says nothing about limits."""
    assert str(end) == text


# ---- what cannot be set ----


async def refusals(command: Command) -> tuple[str, str]:
    """Return the error on entry of a Runner, and the error of a launcher that has not checked."""
    with pytest.raises(CommandError) as on_entry:
        async with Runner([command]):
            pass
    async with LocalLauncher(orphan_guard=False) as launcher:
        with pytest.raises(LaunchError) as on_launch:
            await launcher.launch(command)
    return str(on_entry.value), str(on_launch.value)


async def test_limit_above_the_hard_limit_is_refused_before_the_start() -> None:
    """The error names the command and the limit, and what to do."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    problem = (
        f"its limit open_files={hard + 1} is above the hard limit of this program, {hard}; "
        "raise that, or lower the limit"
    )
    command = Command(["true"], limits=Limits(open_files=hard + 1))
    assert await refusals(command) == (
        f"command 'true': {problem}",
        f"cannot start 'true': {problem}",
    )
    _, shown = await shown_by(python(SHOW_LIMITS, limits=Limits(open_files=hard)))
    assert shown["open_files"] == [hard, hard]


@pytest.mark.parametrize(
    ("options", "program"), [({"limits": FULL}, "prlimit"), ({"nice": 1}, "nice")]
)
async def test_system_without_the_program_is_told(
    options: dict[str, Any], program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On macOS, and in small containers, there is no `prlimit`."""
    monkeypatch.setattr(shutil, "which", lambda program, path=None: None)
    on_entry, on_launch = await refusals(Command(["true"], **options))
    assert f"command 'true': this system lacks the program '{program}' of " in on_entry
    assert f"cannot start 'true': this system lacks the program '{program}' of " in on_launch


async def test_program_is_looked_up_behind_its_limits() -> None:
    """A missing program is a failed start, and not an exit code of `prlimit`."""
    on_entry, on_launch = await refusals(Command(["no-such-program"], limits=FULL, nice=1))
    assert "there is no program 'no-such-program' in its PATH" in on_entry
    assert "there is no program 'no-such-program' in its PATH" in on_launch


async def test_prlimit_is_found_whatever_the_path_of_the_command() -> None:
    """The command's PATH is for its own program."""
    command = python(SHOW_LIMITS, limits=Limits(core=0), nice=1, env={"PATH": "/nonexistent"})
    _, shown = await shown_by(command)
    assert shown["core"] == [0, 0]


async def test_niceness_that_is_not_permitted_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """`nice` itself would print a warning, and run the program as it is."""
    monkeypatch.setattr(rlimits, "_has_capability", lambda capability: False)
    monkeypatch.setattr(resource, "getrlimit", lambda which: (0, 0))
    on_entry, on_launch = await refusals(Command(["true"], nice=-1))
    niceness = os.nice(0) - 1
    assert f"it may not have the niceness {niceness}, which is below" in on_entry
    assert f"it may not have the niceness {niceness}, which is below" in on_launch


@pytest.mark.parametrize(
    ("increment", "other_user", "capable", "allowed", "expected"),
    [
        (5, True, False, 0, True),
        (-5, False, True, 0, True),
        (-5, True, True, 0, False),
        (-5, False, False, 24, False),
        (-5, True, False, 25, True),
    ],
)
def test_privilege_for_a_niceness(
    monkeypatch: pytest.MonkeyPatch,
    increment: int,
    other_user: bool,
    capable: bool,
    allowed: int,
    expected: bool,
) -> None:
    """A lower niceness takes the capability, which another user loses, or a limit."""
    monkeypatch.setattr(os, "getpriority", lambda which, who: 0)
    monkeypatch.setattr(rlimits, "_has_capability", lambda capability: capable)
    monkeypatch.setattr(resource, "getrlimit", lambda which: (allowed, allowed))
    niceness = rlimits.niceness_after(increment)
    assert rlimits.may_have_niceness(niceness, is_other_user=other_user) is expected


@needs_root
async def test_another_user_has_no_privilege_for_a_niceness() -> None:
    """Root's capability is gone when the niceness is set."""
    on_entry, on_launch = await refusals(Command(["true"], nice=-1, user="nobody"))
    assert "it may not have the niceness " in on_entry
    assert "it may not have the niceness " in on_launch


@needs_root
async def test_another_user_gets_the_limits_too() -> None:
    """Lowering a limit takes no privilege."""
    line = "ulimit -n; id -un; nice"
    command = Command.shell(line, user="nobody", limits=Limits(open_files=50), nice=4)
    with anyio.fail_after(LIMIT):
        async with Runner({"c": command}, capture=True) as runner:
            result = await runner["c"].wait()
    assert (result.stdout or b"").split() == [b"50", b"nobody", b"%d" % (os.nice(0) + 4)]


# ---- the value ----


@pytest.mark.parametrize("value", [-1, 0, 1.5, True, "1", 2**63, float("inf")])
@pytest.mark.parametrize("name", ["memory", "cpu_time", "open_files", "processes"])
def test_wrong_limit_is_refused(name: str, value: object) -> None:
    """The error names the limit."""
    with pytest.raises(CommandError, match=f"the limit {name} must be an integer from 1 to "):
        Limits(**{name: value})  # type: ignore[arg-type]


def test_some_limits_may_be_zero() -> None:
    """No core dump, and no file that is not empty."""
    assert (Limits(core=0, file_size=0).core, Limits(file_size=0).file_size) == (0, 0)
    with pytest.raises(CommandError, match="the limit core must be an integer from 0 to "):
        Limits(core=-1)


def test_limits_are_a_frozen_value() -> None:
    """Limits compare by their fields and can be pickled."""
    assert pickle.loads(pickle.dumps(FULL)) == FULL == replace(FULL)
    with pytest.raises(FrozenInstanceError):
        FULL.memory = 3  # type: ignore[misc]


async def test_launcher_gets_the_limits() -> None:
    """They are set where the process runs."""
    launcher = FakeLauncher()
    async with Runner([Command(["c"], limits=FULL, nice=3)], launcher=launcher):
        pass
    assert (launcher["c"].command.limits, launcher["c"].command.nice) == (FULL, 3)
