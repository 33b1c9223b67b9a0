"""Commands whose stdin, stdout or stderr is a file: a path, an open file, or that of the host."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import socket
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from currant import (
    Command,
    CommandError,
    CommandNotFoundError,
    LaunchError,
    Line,
    LocalLauncher,
    RestartPolicy,
    Runner,
    StdinClosedError,
    ready,
    run_process,
)
from currant._process.lookup import find_problem
from currant._values.launch_spec import LaunchSpec
from currant.testing import FakeLauncher, Script
from tests.files import files_left
from tests.waiting import FOREVER, LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.anyio

SPEAKS = "echo out; echo err >&2"
"""A shell line that writes to both streams."""

FAILS_ONCE = "test -e again && echo second && exit; touch again; echo first; exit 1"
"""A shell line of which the first start in a folder fails."""

ONCE_MORE = RestartPolicy("on-failure", max_restarts=1, delay=0)


@contextmanager
def replaced(descriptor: int, path: Path) -> Iterator[None]:
    """Let a standard file of this program be the file at `path`."""
    saved = os.dup(descriptor)
    try:
        with path.open("wb") as file:
            os.dup2(file.fileno(), descriptor)
        yield
    finally:
        os.dup2(saved, descriptor)
        os.close(saved)


# ---- paths ----


async def test_output_goes_to_the_file_at_a_path(tmp_path: Path) -> None:
    """The path starts at `cwd`; the file has the bytes, and the result has None for them."""
    result = await run_process(["sh", "-c", SPEAKS], cwd=tmp_path, stdout=Path("log"))
    assert (tmp_path / "log").read_bytes() == b"out\n"
    assert (result.stdout, result.stderr) == (None, b"err\n")
    result = await run_process(["sh", "-c", SPEAKS], stderr=tmp_path / "errors")
    assert (tmp_path / "errors").read_bytes() == b"err\n"
    assert (result.stdout, result.stderr) == (b"out\n", None)


async def test_both_streams_may_go_to_files(tmp_path: Path) -> None:
    """Each into its own, or both into one in the order written; the Runner has no line of them."""
    commands = {
        "apart": Command.shell(SPEAKS, stdout=tmp_path / "out", stderr=tmp_path / "err"),
        "merged": Command.shell(SPEAKS, stdout=tmp_path / "both", stderr="stdout"),
    }
    with anyio.fail_after(LIMIT):
        async with Runner(commands, capture=True) as runner:
            lines = [message async for message in runner if isinstance(message, Line)]
    assert lines == []
    for result in runner.results.values():
        assert (result.status, result.stdout, result.stderr) == ("succeeded", None, None)
        assert result.tail == ()
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert files == {"out": b"out\n", "err": b"err\n", "both": b"out\nerr\n"}


async def test_each_attempt_empties_the_file_at_a_path(tmp_path: Path) -> None:
    """So the file has the output of the last attempt, as `capture` has."""
    (tmp_path / "log").write_text("of an earlier run\n")
    command = Command.shell(FAILS_ONCE, cwd=tmp_path, stdout=Path("log"), restart=ONCE_MORE)
    result = await run_process(command)
    assert result.attempts == 2
    assert (tmp_path / "log").read_bytes() == b"second\n"


async def test_file_that_is_open_for_appending_keeps_all_attempts(tmp_path: Path) -> None:
    """The file is neither emptied nor closed, so that several commands may share it."""
    with (tmp_path / "log").open("a") as log:
        log.write("before\n")
        log.flush()
        await run_process(Command.shell(FAILS_ONCE, cwd=tmp_path, stdout=log, restart=ONCE_MORE))
        log.write("after\n")
    assert (tmp_path / "log").read_bytes() == b"before\nfirst\nsecond\nafter\n"


async def test_dev_null_takes_any_output() -> None:
    """A device is no file to create."""
    result = await run_process(["sh", "-c", SPEAKS], stdout=Path(os.devnull))
    assert (result.stdout, result.stderr) == (None, b"err\n")


async def test_missing_folder_is_found_before_any_command_starts(tmp_path: Path) -> None:
    """Entering the Runner fails, and the file of another command is not created."""
    commands = {
        "good": Command(["true"], stdout=tmp_path / "good"),
        "bad": Command(["true"], stdout=tmp_path / "none" / "log"),
    }
    with pytest.raises(CommandNotFoundError, match=r"'bad': its stdout file .* the folder .*none'"):
        async with Runner(commands):
            raise AssertionError
    assert not list(tmp_path.iterdir())


async def test_missing_directory_of_this_program_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path leads nowhere if the working directory of this program was removed."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(CommandNotFoundError, match="directory of this program does not exist"):
        async with Runner([Command(["true"], stdout=Path("log"))]):
            pass


def test_file_that_this_user_may_not_write_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The problem names the file, or the folder if there is no file yet."""
    monkeypatch.setattr(os, "access", lambda _, mode: not mode & os.W_OK)
    command = Command(["true"], stderr=tmp_path / "log")
    assert str(find_problem(command)).endswith(f"the folder '{tmp_path}' is not writable")
    (tmp_path / "log").touch()
    assert str(find_problem(command)).endswith("log' is not writable")


def test_link_to_a_missing_file_can_be_written(tmp_path: Path) -> None:
    """The folder that counts is that of the target."""
    (tmp_path / "link").symlink_to(tmp_path / "target")
    assert find_problem(Command(["true"], stdout=tmp_path / "link")) is None
    (tmp_path / "lost").symlink_to(tmp_path / "none" / "target")
    assert "none' does not exist" in str(find_problem(Command(["true"], stdout=tmp_path / "lost")))


# ---- open files and descriptors ----


async def test_open_file_is_read_on_from_its_position(tmp_path: Path) -> None:
    """Each start goes on where the last ended, and the file stays open."""
    (tmp_path / "in").write_text("one\ntwo\nend\n")
    command = Command(["dd", "bs=4", "count=1"], stderr=Path(os.devnull))
    with (tmp_path / "in").open() as file:
        for expected in (b"one\n", b"two\n"):
            assert (await run_process(command, stdin=file)).stdout == expected
        assert (await run_process(command, stdin=file.fileno())).stdout == b"end\n"
        assert not file.closed


async def test_job_with_a_descriptor_as_stdin_has_nothing_to_send_to() -> None:
    """The other end of a pipe is the caller's: currant neither writes to it nor closes it."""
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as reader, os.fdopen(write_end, "wb") as writer:
        with anyio.fail_after(LIMIT):
            async with Runner({"cat": Command(["cat"], stdin=reader)}, capture=True) as runner:
                with pytest.raises(StdinClosedError, match="without stdin=PIPE"):
                    await runner["cat"].send(b"sent\n")
                writer.write(b"written\n")
                writer.close()
        assert not reader.closed
    assert runner.results["cat"].stdout == b"written\n"


async def test_no_copy_of_a_descriptor_stays_open() -> None:
    """A pipe of the caller ends when the command and the caller have closed it."""
    read_end, write_end = os.pipe()
    try:
        with anyio.fail_after(LIMIT):
            async with Runner([FOREVER]) as runner:
                job = await runner.start(Command(["echo", "hi"], stdout=write_end))
                await job.wait()
                os.close(write_end)
                assert os.read(read_end, 100) == b"hi\n"
                assert os.read(read_end, 100) == b""
                runner.kill()
    finally:
        os.close(read_end)


async def test_socket_is_an_open_file() -> None:
    """A command may talk through a socket, as the servers of inetd do."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with anyio.fail_after(LIMIT):
            ours.sendall(b"hello\n")
            ours.shutdown(socket.SHUT_WR)
            await run_process("cat", stdin=theirs, stdout=theirs)
        assert ours.recv(100) == b"hello\n"


@pytest.mark.parametrize("field", ["stdin", "stdout", "stderr"])
async def test_file_that_was_closed_meanwhile_fails_the_start(field: str, tmp_path: Path) -> None:
    """The error names the command and the field; nothing is started, and others go on."""
    with (tmp_path / "file").open("w+") as file:
        options: dict[str, Any] = {field: file}
        command = Command(["touch", tmp_path / "trace"], name="c", **options)
    with anyio.fail_after(LIMIT):
        async with Runner([command, "true"]) as runner:
            results = await runner.join()
    assert isinstance(results["c"].error, LaunchError)
    assert f"cannot start 'c': its {field}, <_io.TextIO" in str(results["c"].error)
    assert results["true"].status == "succeeded"
    assert not (tmp_path / "trace").exists()
    with pytest.raises(CommandError, match=f"'c': {field} cannot be .*closed file"):
        await run_process(command)  # It builds the command anew.


async def test_file_that_fails_in_its_own_way_fails_the_start(tmp_path: Path) -> None:
    """A closed `GzipFile`, for one, raises AttributeError."""
    file = gzip.open(tmp_path / "file", "wb")  # noqa: SIM115 - closed below
    command = Command(["true"], name="c", stdout=file)
    file.close()
    with anyio.fail_after(LIMIT):
        async with LocalLauncher(orphan_guard=False) as launcher:
            with pytest.raises(LaunchError, match=r"'c': its stdout, <gzip .* is not open"):
                await launcher.launch(command)


@pytest.mark.parametrize(("field", "purpose"), [("stdin", "reading"), ("stderr", "writing")])
async def test_descriptor_of_the_wrong_kind_fails_the_start(field: str, purpose: str) -> None:
    """The wrong end of a pipe is refused, and so is a number that is not open at all."""
    read_end, write_end = os.pipe()
    descriptor = write_end if field == "stdin" else read_end
    options: dict[str, Any] = {field: descriptor}
    command = Command(["true"], **options)
    errors = [(await run_process(command, check=False)).error]
    os.close(read_end)
    os.close(write_end)
    errors += [(await run_process(command, check=False)).error]
    for error in errors:
        assert f"its {field}, descriptor {descriptor}, is not open for {purpose}" in str(error)


@pytest.mark.parametrize("field", ["stdin", "stdout", "stderr"])
def test_object_without_a_descriptor_is_refused_when_built(field: str) -> None:
    """A file in memory has none, and a closed socket has -1."""
    closed = socket.socket()
    closed.close()
    for file in (io.StringIO(), io.BytesIO(), closed, io.FileIO):
        options: dict[str, Any] = {field: file}
        with pytest.raises(CommandError, match=f"'c': {field} cannot be .* descriptor"):
            Command(["c"], **options)


def test_file_with_the_wrong_mode_is_refused_when_built(tmp_path: Path) -> None:
    """Forgetting the mode of `open` is the most likely mistake."""
    wrong = pytest.raises(CommandError, match=r"'c': stdin cannot be .*not open for reading")
    with (tmp_path / "file").open("w") as writable, wrong:
        Command(["c"], stdin=writable)
    with (tmp_path / "file").open() as readable:
        for field in ("stdout", "stderr"):
            options: dict[str, Any] = {field: readable}
            with pytest.raises(CommandError, match=f"'c': {field} cannot be .*open for writing"):
                Command(["c"], **options)
    with pytest.raises(CommandError, match=r"stdout cannot be .*closed file"):
        Command(["c"], stdout=readable)


async def test_start_without_enough_descriptors_closes_what_it_has_opened(tmp_path: Path) -> None:
    """Whichever file cannot be opened, the start fails, and then the next start works."""
    (tmp_path / "in").touch()
    outcomes = []
    async with LocalLauncher(orphan_guard=False) as launcher:
        with (tmp_path / "log").open("w") as log:
            command = Command(["cat"], stdin=tmp_path / "in", stdout=tmp_path / "out", stderr=log)
            for count in range(3):
                with files_left(count), pytest.raises(LaunchError) as caught:
                    await launcher.launch(command)
                outcomes.append("no file descriptors left" in caught.value.reason)
            assert (await (await launcher.launch(command)).wait()).code == 0
    assert outcomes == [True] * 3


# ---- the files of the host ----


@pytest.mark.parametrize(("field", "expected"), [("stdout", b"out\n"), ("stderr", b"err\n")])
async def test_inherited_stream_is_that_of_the_host(
    field: str, expected: bytes, tmp_path: Path
) -> None:
    """The command writes to descriptor 1 or 2 of this program, past its sinks."""
    options: dict[str, Any] = {field: "inherit"}
    with replaced(("stdout", "stderr").index(field) + 1, tmp_path / "host"):
        result = await run_process(["sh", "-c", SPEAKS], **options)
    assert (tmp_path / "host").read_bytes() == expected
    assert getattr(result, field) is None
    assert {result.stdout, result.stderr} - {None} == {b"out\nerr\n".replace(expected, b"")}


async def test_streams_may_change_places(tmp_path: Path) -> None:
    """Descriptors 1 and 2 of the host can be handed over crosswise."""
    with replaced(1, tmp_path / "one"), replaced(2, tmp_path / "two"):
        await run_process(["sh", "-c", SPEAKS], stdout=2, stderr=1)
    assert (tmp_path / "one").read_bytes() == b"err\n"
    assert (tmp_path / "two").read_bytes() == b"out\n"


# ---- probes, copies, and fakes ----


async def test_probe_sees_the_stream_that_comes_to_currant(tmp_path: Path) -> None:
    """A line of the other stream does not count."""
    line = f"echo up; echo really up >&2; exec {FOREVER}"
    command = Command.shell(line, name="c", stdout=tmp_path / "log", ready=ready.line("up"))
    with anyio.fail_after(LIMIT):
        async with Runner() as runner:
            job = await runner.start(command)
            assert [tail.data for tail in job.tail] == [b"really up"]
            runner.kill()


@pytest.mark.parametrize(
    ("probe", "options", "text"),
    [
        (ready.line("up", "stdout"), {"stdout": Path("log")}, "stdout does not come to currant"),
        (ready.line("up", "stderr"), {"stderr": Path("log")}, "stderr does not come to currant"),
        (
            ready.line("up", "stderr"),
            {"stdout": 1, "stderr": "stdout"},
            "stderr does not come to currant",
        ),
        (
            ready.line("up"),
            {"stdout": "inherit", "stderr": "inherit"},
            "the output does not come to currant",
        ),
        (
            ready.any_of(ready.line("up", "stdout"), ready.delay(1)),
            {"stdout": Path("log")},
            "stdout does not come to currant",
        ),
        (ready.line("up", "stderr"), {"stderr": "stdout"}, "stderr is merged into stdout"),
    ],
)
def test_probe_that_can_see_no_line_is_refused(
    probe: Any, options: dict[str, Any], text: str
) -> None:
    """It would wait until its time is over, so the command is wrong when built."""
    with pytest.raises(CommandError, match=text):
        Command(["c"], ready=probe, **options)


def test_command_with_an_open_file_stays_in_this_program(tmp_path: Path) -> None:
    """Neither pickle nor a launch spec carries it; the error names the field."""
    with (tmp_path / "file").open("w+") as file:
        for value in (file, file.fileno()):
            for field in ("stdin", "stdout", "stderr"):
                options: dict[str, Any] = {field: value}
                command = Command(["c"], **options)
                for send in (pickle.dumps, LaunchSpec.of):
                    with pytest.raises(CommandError, match=f"'c' cannot be .* its {field} is an"):
                        send(command)


def test_commands_compare_by_the_identity_of_the_file(tmp_path: Path) -> None:
    """Two files at one path are two files."""
    with (tmp_path / "file").open("w") as one, (tmp_path / "file").open("w") as other:
        assert Command(["c"], stdout=one) == Command(["c"], stdout=one)
        assert Command(["c"], stdout=one) != Command(["c"], stdout=other)


async def test_fake_process_writes_no_file(tmp_path: Path) -> None:
    """The bytes of a script for a stream that goes to a file are gone."""
    launcher = FakeLauncher(default=Script(stdout=b"out\n", stderr=b"err\n"))
    result = await run_process("c", stdout=tmp_path / "log", launcher=launcher)
    assert (result.stdout, result.stderr) == (None, b"err\n")
    assert launcher["c"].stdout is None
    result = await run_process("c", stdout=1, stderr="stdout", launcher=FakeLauncher())
    assert (result.stdout, result.stderr) == (None, None)
    assert not list(tmp_path.iterdir())
