"""The file that gets all output of a command, and what happens if it cannot be written."""

from __future__ import annotations

import itertools
import os
from errno import ENOSPC
from pathlib import Path
from signal import SIGTERM
from threading import Event
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio import fail_after, from_thread, to_thread

from currant import (
    PIPE,
    Aborted,
    Capture,
    Command,
    CommandError,
    CurrantError,
    Exited,
    Failed,
    LaunchError,
    Line,
    RestartPolicy,
    Runner,
    SpillError,
)
from currant._channel import spill
from currant._values.shutdown_limits import ShutdownLimits
from currant.testing import FakeLauncher, Script
from tests.reading import messages_of
from tests.waiting import EXEC_FOREVER, FOREVER, HOURS, LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio

FULL = "/dev/full"
"""A file to which nothing can be written: the disk is full."""


def spilling(script: str, path: Path | str, **options: Any) -> Command:
    """Return a shell command whose output goes into the file `path`."""
    options = {"name": "c"} | options
    return Command.shell(script, capture=Capture(head=4, tail=4, spill=path), **options)


# ---- the file ----


async def test_the_file_has_all_output(tmp_path: Path) -> None:
    """The result has both ends, and the file every byte, in the order written."""
    file = tmp_path / "c.log"
    command = spilling("seq 200000; echo error >&2; seq 3", file, stderr="stdout")
    with fail_after(LIMIT):
        async with Runner([command]) as runner:
            pass
    everything = b"".join(b"%d\n" % number for number in range(1, 200_001)) + b"error\n1\n2\n3\n"
    assert file.read_bytes() == everything
    result = runner.results["c"]
    assert (result.status, result.stdout) == ("succeeded", b"1\n2\n2\n3\n")
    assert result.omitted.stdout == len(everything) - 8


async def test_the_file_has_both_streams(tmp_path: Path) -> None:
    """Each stream is there as written, although two tasks read them."""
    file = tmp_path / "c.log"
    script = "seq 20000 & seq 20001 40000 >&2 & wait"
    with fail_after(LIMIT):
        async with Runner([spilling(script, file)]) as runner:
            messages = await messages_of(runner)
    delivered = [message for message in messages if isinstance(message, Line)]
    sizes = [len(line.data + line.ending) for line in delivered]
    assert file.stat().st_size == sum(sizes) == sum(len(f"{n}\n") for n in range(1, 40_001))


async def test_the_file_exists_even_if_there_is_no_output(tmp_path: Path) -> None:
    """An earlier file is emptied, and not taken for the output of this attempt."""
    file = tmp_path / "c.log"
    file.write_text("old")
    with fail_after(LIMIT):
        async with Runner([spilling("exit 3", file)]):
            pass
    assert file.read_bytes() == b""


async def test_each_attempt_begins_with_an_empty_file(tmp_path: Path) -> None:
    """The file belongs to the attempt of the result: the last."""
    file = tmp_path / "c.log"
    launcher = FakeLauncher({"c": [Script(stdout=b"first", exit=1), Script(stdout=b"2")]})
    policy = RestartPolicy("on-failure", delay=0)
    with fail_after(LIMIT):
        async with Runner([spilling("c", file, restart=policy)], launcher=launcher):
            pass
    assert file.read_bytes() == b"2"


async def test_the_file_ends_where_the_limit_of_output_is(tmp_path: Path) -> None:
    """What follows is discarded there as elsewhere, so the file cannot fill the disk."""
    file = tmp_path / "c.log"
    with fail_after(LIMIT):
        async with Runner([spilling("exec yes", file, max_output=7)]):
            pass
    assert file.read_bytes() == b"y\ny\ny\ny"


async def test_the_path_may_contain_the_name(tmp_path: Path) -> None:
    """Replicas, and all commands of a Runner, have a file each; a slash in a name is escaped."""
    capture = Capture(spill=tmp_path / "{name}.log")
    commands = [
        Command.shell("echo $CURRANT_REPLICA", name="web", replicas=2),
        Command(["echo", "hi"], name="a/b"),
    ]
    with fail_after(LIMIT):
        async with Runner(commands, capture=capture) as runner:
            pass
    files = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert files == {"web.1.log": "1\n", "web.2.log": "2\n", "a%2Fb.log": "hi\n"}
    assert runner.results["a/b"].stdout == b""


async def test_a_relative_path_starts_at_the_directory_of_this_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This program writes the file; the directory of the command may be on another host."""
    monkeypatch.chdir(tmp_path)
    with fail_after(LIMIT):
        async with Runner([spilling("pwd", "c.log", cwd="/")]):
            pass
    assert (tmp_path / "c.log").read_bytes() == b"/\n"


# ---- two commands, one file ----


def test_two_commands_with_one_file_are_rejected() -> None:
    """Each would empty the file of the other."""
    match = (
        r"commands 'a' and 'b' would write .* same file 'logs/x', .*; write {name} into the path"
    )
    commands = {"a": spilling("a", "logs/x"), "b": spilling("b", "./logs//x")}
    with pytest.raises(CommandError, match=match):
        Runner(commands)
    with pytest.raises(CommandError, match="would write"):
        Runner([Command(["a"], replicas=2)], capture=Capture(spill="x"))


async def test_a_file_is_free_again_when_its_command_has_ended(tmp_path: Path) -> None:
    """One tool call after another may use the same file."""
    launcher = FakeLauncher({"a": Script(exit=None), "b": Script(stdout=b"b")})
    file = tmp_path / "x"
    with fail_after(LIMIT):
        async with Runner(launcher=launcher) as runner:
            first = await runner.start(spilling("a", file, name="a"))
            with pytest.raises(CommandError, match="'b' and 'a' would write"):
                runner.start_soon(spilling("b", file, name="b"))
            first.kill()
            await first.wait()
            await (await runner.start(spilling("b", file, name="c"))).wait()


# ---- a file that cannot be written ----


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (
            lambda folder: folder / "missing" / "c.log",
            "No such file or directory; create its folder first",
        ),
        (lambda folder: folder, "Is a directory"),
    ],
)
async def test_a_command_does_not_start_without_its_file(
    tmp_path: Path, make: Callable[[Path], Path], reason: str
) -> None:
    """The folder is missing, or the path is a folder: the error names command and path."""
    path = make(tmp_path)
    with fail_after(LIMIT):
        async with Runner([spilling(f"touch {tmp_path}/ran", path)]) as runner:
            messages = await messages_of(runner)
    error = runner.results["c"].error
    assert isinstance(error, LaunchError)
    assert str(error) == f"cannot start 'c': its output cannot be written to '{path}': {reason}"
    assert isinstance(error.__cause__, OSError)
    assert [type(message) for message in messages] == [Failed]
    assert not (tmp_path / "ran").exists()


async def test_a_full_disk_stops_the_command() -> None:
    """The attempt has failed, and its output was read nevertheless."""
    command = spilling(f"echo hi; echo ho; {EXEC_FOREVER}", FULL)
    with fail_after(LIMIT):
        async with Runner([command]) as runner:
            messages = await messages_of(runner)
    result = runner.results["c"]
    assert result.status == "failed"
    assert isinstance(result.error, SpillError)
    assert (result.error.name, result.error.path) == ("c", FULL)
    assert result.error.reason == "No space left on device"
    assert isinstance(result.error.__cause__, OSError)
    assert [message.text for message in messages if isinstance(message, Line)][:1] == ["hi"]
    assert [message.error for message in messages if isinstance(message, Aborted)] == [result.error]
    assert isinstance(messages[-1], Exited)


async def test_a_full_disk_is_never_missed() -> None:
    """A process that has exited before its output was read has failed too."""
    for _ in range(20):
        with fail_after(LIMIT):
            async with Runner([spilling("echo hi", FULL)]) as runner:
                pass
        result = runner.results["c"]
        assert (result.status, type(result.error)) == ("failed", SpillError)
        assert result.stdout == b"hi\n"


async def test_a_stopped_command_whose_file_lacks_output_has_failed() -> None:
    """A kill would otherwise hide that the file is not complete."""
    launcher = FakeLauncher({"c": Script(exit=None, ignores={SIGTERM})})
    with fail_after(LIMIT):
        async with Runner([spilling("c", FULL)], launcher=launcher, grace=HOURS) as runner:
            await runner["c"].until_started()
            runner.kill()
            await anyio.wait_all_tasks_blocked()
            launcher["c"].write(b"bye")
            await anyio.wait_all_tasks_blocked()
            launcher["c"].exit(0)
    assert runner.results["c"].status == "failed"
    assert isinstance(runner.results["c"].error, SpillError)


async def test_too_many_threads_fail_the_command_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the system allows no thread for the file, that is a failure like a full disk."""

    async def run_sync(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")  # as `threading` does

    with fail_after(LIMIT):
        async with Runner({"keep": FOREVER}, iterable=False, on_exit="stop") as runner:
            job = await runner.start(spilling("read go; echo hi", os.devnull, stdin=PIPE))
            monkeypatch.setattr(to_thread, "run_sync", run_sync)
            await job.send(b"\n")
            error = (await job.wait()).error
            late = runner.start_soon(spilling("echo hi", os.devnull, name="late"))
            again = (await late.wait()).error
            assert runner["keep"].state == "running"
    assert isinstance(error, SpillError)
    assert isinstance(again, LaunchError)
    assert "allows no more threads" in str(error)
    assert "allows no more threads" in str(again)


async def test_the_path_is_that_of_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that changes its working directory gets the file where it began."""
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    after.mkdir()
    monkeypatch.chdir(before)
    with fail_after(LIMIT):
        async with Runner([spilling("read go; echo hi", "c.log", stdin=PIPE)]) as runner:
            await runner["c"].until_started()
            monkeypatch.chdir(after)
            await runner["c"].send(b"\n")
    assert runner.results.ok
    assert (before / "c.log").read_bytes() == b"hi\n"


async def test_a_file_that_was_removed_is_not_created_again(tmp_path: Path) -> None:
    """A new file would lack the beginning, and nothing would tell."""
    file = tmp_path / "c.log"
    command = spilling("cat", file, stdin=PIPE)
    with fail_after(LIMIT):
        async with Runner([command]) as runner:
            await runner["c"].send(b"one\n")
            async for message in runner:
                if isinstance(message, Line):
                    break
            file.unlink()
            await runner["c"].send(b"two\n")
            await runner["c"].wait()
    assert isinstance(runner.results["c"].error, SpillError)
    assert not file.exists()


async def test_a_failure_to_write_counts_for_the_restart_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next attempt may find room."""
    file = tmp_path / "c.log"
    errors = [OSError(ENOSPC, "No space left on device")]
    write = spill._write

    def write_if_possible(path: str, flags: int, data: bytes) -> None:
        if flags & os.O_APPEND and errors:
            raise errors.pop()
        write(path, flags, data)

    monkeypatch.setattr(spill, "_write", write_if_possible)
    policy = RestartPolicy("on-failure", delay=0)
    launcher = FakeLauncher({"c": [Script(stdout=b"x", exit=None), Script(stdout=b"y")]})
    with fail_after(LIMIT):
        async with Runner([spilling("c", file, restart=policy)], launcher=launcher) as runner:
            pass
    result = runner.results["c"]
    assert (result.status, result.attempts, file.read_bytes()) == ("succeeded", 2, b"y")


# ---- a slow disk ----


class SlowDisk:
    """A disk on which each append waits until `go` is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go = Event()
        self.entered = anyio.Event()
        write = spill._write

        def write_late(path: str, flags: int, data: bytes) -> None:
            if flags & os.O_APPEND:
                from_thread.run_sync(self.entered.set)
                self.go.wait(LIMIT)
            write(path, flags, data)

        monkeypatch.setattr(spill, "_write", write_late)


@pytest.fixture
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make the disk slow; a thread that still waits at the end goes on."""
    disk = SlowDisk(monkeypatch)
    yield disk
    disk.go.set()


async def test_a_slow_disk_blocks_neither_the_loop_nor_other_commands(
    tmp_path: Path, slow_disk: SlowDisk
) -> None:
    """Only the command with the file waits."""
    with fail_after(LIMIT):
        async with Runner([spilling("echo hi", tmp_path / "c.log")]) as runner:
            await slow_disk.entered.wait()
            other = await runner.start(Command(["seq", "1000"], capture=True))
            assert (await other.wait()).status == "succeeded"
            assert runner["c"].result is None
            slow_disk.go.set()
    assert runner.results["c"].status == "succeeded"
    assert (tmp_path / "c.log").read_bytes() == b"hi\n"


@pytest.mark.parametrize("code", [0, None])
async def test_a_disk_that_does_not_answer_does_not_hold_up_a_kill(
    tmp_path: Path, slow_disk: SlowDisk, code: int | None
) -> None:
    """The wait is bounded, also if the process has exited by itself long ago."""
    limits = ShutdownLimits(spill=0.05)
    launcher = FakeLauncher(default=Script(stdout=b"x", stderr=b"y", exit=code), _limits=limits)
    with fail_after(LIMIT):
        async with Runner(
            [spilling("c", tmp_path / "c.log")], launcher=launcher, grace=0
        ) as runner:
            await slow_disk.entered.wait()
            runner.kill()
    error = runner.results["c"].error
    assert isinstance(error, SpillError)
    assert error.reason == "the disk does not answer"


async def test_a_kill_does_not_wait_for_the_file_to_be_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command never starts."""
    go, entered = Event(), anyio.Event()

    def create_late(path: str, flags: int, data: bytes) -> None:
        from_thread.run_sync(entered.set)
        go.wait(LIMIT)

    monkeypatch.setattr(spill, "_write", create_late)
    launcher = FakeLauncher()
    with fail_after(LIMIT):
        async with Runner([spilling("c", tmp_path / "c.log")], launcher=launcher) as runner:
            await entered.wait()
            runner.kill()
    go.set()
    assert runner.results["c"].status == "stopped"
    assert not launcher.launched


async def test_a_second_kill_hurries_a_disk_that_does_not_answer(
    tmp_path: Path, slow_disk: SlowDisk
) -> None:
    """The rest of the grace is skipped for the file too."""
    limits = ShutdownLimits(spill=0.05)
    launcher = FakeLauncher(default=Script(stdout=b"x", exit=None), _limits=limits)
    with fail_after(LIMIT):
        async with Runner(
            [spilling("c", tmp_path / "c.log")], launcher=launcher, grace=HOURS
        ) as runner:
            await slow_disk.entered.wait()
            runner.kill()
            await anyio.wait_all_tasks_blocked()
            runner.kill()
    assert isinstance(runner.results["c"].error, SpillError)


# ---- the value ----


@pytest.mark.parametrize("path", ["", 3, b"\0", "a\0b", "\ud800"])
def test_an_invalid_path_is_rejected(path: Any) -> None:
    """The error names the field."""
    with pytest.raises(CommandError, match="spill"):
        Capture(spill=path)


def test_a_path_becomes_a_str() -> None:
    """Equal paths make equal captures."""
    assert Capture(spill=Path("a/b")) == Capture(spill="a/b")
    assert issubclass(SpillError, CurrantError)


@pytest.mark.parametrize("field", ["stdin", "stdout", "stderr"])
def test_file_of_the_command_itself_is_refused(field: str, tmp_path: Path) -> None:
    """The spill would empty the input, or overwrite the output."""
    file = tmp_path / "file"
    file.write_text("precious")
    options: dict[str, Any] = {field: Path("file"), "cwd": tmp_path}
    with pytest.raises(CommandError, match=f"command 'cat': {field} "):
        Command(["cat"], capture=Capture(spill=file), **options)
    with pytest.raises(CommandError, match=f"command 'cat': {field} "):
        Runner([Command(["cat"], **options)], capture=Capture(spill=file))
    assert file.read_text() == "precious"


def test_commands_that_would_empty_the_file_of_another_are_refused() -> None:
    """Whether as stdout, as stderr or as a spill."""
    log = Path("logs/x")
    files: list[dict[str, Any]] = [
        {"stdout": log},
        {"stderr": Path("x"), "cwd": "logs"},
        {"capture": Capture(spill=log)},
    ]
    for first, second in itertools.permutations(files, 2):
        with pytest.raises(CommandError, match="'a' and 'b' would write into the same file"):
            Runner({"a": Command(["a"], **first), "b": Command(["b"], **second)})
    Runner({"a": Command(["a"], stdin=log), "b": Command(["b"], stdout=log, after="a")})
