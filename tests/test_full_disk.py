"""Files that cannot be written: a full disk, a folder that is gone, a name that is too long."""

from __future__ import annotations

import errno
import io
import os
import shlex
import subprocess
import warnings
from typing import IO, TYPE_CHECKING, Any

import anyio
import pytest
from anyio.streams.file import FileWriteStream

from currant import Runner
from currant.cli._prepare.stack_place import RotatedFile
from currant.sinks import ConsoleSink, DirectorySink, JSONSink, SinkWarning, WriterSink
from currant.sinks import _spool as spool
from currant.sinks import _temporary as temporary
from tests.clis import CURRANT, environment
from tests.playing import Messages, err, exited, out, play, started
from tests.waiting import LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from currant import BatchMessage, Sink
    from tests.clis import Run

NO_FULL_DISK = pytest.mark.skipif(
    not os.path.exists("/dev/full"), reason="there is no /dev/full: Linux only"
)


def _may_mount() -> bool:
    try:
        command = ["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


MAY_MOUNT = _may_mount()
NO_SMALL_DISK = pytest.mark.skipif(not MAY_MOUNT, reason="this user may not mount a file system")


def run_on_small_disk(disk: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script that sees a disk of 64 KiB at `disk`; no other process sees the disk."""
    disk.mkdir()
    mount = f"mount -t tmpfs -o size=64k none {shlex.quote(str(disk))} && {script}"
    return subprocess.run(
        ["unshare", "-m", "sh", "-c", mount],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=2 * LIMIT,
        check=False,
    )


class Steps(Messages):
    """Messages of which each may have a function, to be called when the message is handled."""

    def __init__(self, *steps: tuple[BatchMessage, Callable[[], object] | None]) -> None:
        super().__init__([message for message, _ in steps])
        self._then = [None, *(then for _, then in steps)]

    async def receive(self) -> BatchMessage:
        """Return the next message."""
        then = self._then.pop(0)
        if then is not None:
            then()
        return await super().receive()


def texts(caught: Sequence[warnings.WarningMessage]) -> list[str]:
    """Return the texts of sink warnings; fail if there are others."""
    assert all(warning.category is SinkWarning for warning in caught)
    return [str(warning.message) for warning in caught]


# ---- logs ----


def block_with_folder(folder: Path) -> Callable[[], object]:
    """Put a directory in the place of the log file."""
    (folder / "a.log").mkdir(parents=True)
    return (folder / "a.log").rmdir


def block_with_full_disk(folder: Path) -> Callable[[], object]:
    """Put the log file on a full disk."""
    folder.mkdir()
    (folder / "a.log").symlink_to("/dev/full")
    return (folder / "a.log").unlink


def block_with_file(folder: Path) -> Callable[[], object]:
    """Put a file in the place of the folder."""
    folder.touch()
    return folder.unlink


def block_with_pipe(folder: Path) -> Callable[[], object]:
    """Put a named pipe in the place of the log file."""
    folder.mkdir()
    os.mkfifo(folder / "a.log")
    return (folder / "a.log").unlink


BLOCKS = [
    block_with_folder,
    block_with_file,
    block_with_pipe,
    pytest.param(block_with_full_disk, marks=NO_FULL_DISK),
]


@pytest.mark.anyio
@pytest.mark.parametrize("block", BLOCKS)
async def test_log_that_cannot_be_written_is_told_and_tried_again(
    block: Callable[[Path], Callable[[], object]], tmp_path: Path
) -> None:
    """One warning names the file, later output is written, and the lost bytes are counted."""
    folder = tmp_path / "logs"
    release = block(folder)
    sink = DirectorySink(folder, on_error="warn")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        await sink(
            Steps(
                (started("a"), None),
                (out("a", b"1\n"), None),
                (out("a", b"22\n"), release),
                (out("a", b"333\n"), None),
            )
        )
    first, last = texts(caught)
    assert first.startswith(f"cannot write '{folder}/a.log': ")
    assert last.startswith(f"'{folder}/a.log' lacks 5 bytes of output: ")
    assert (folder / "a.log").read_bytes() == b"333\n"


@pytest.mark.anyio
async def test_folder_that_goes_away_comes_back(tmp_path: Path) -> None:
    """A folder that was deleted or moved is created again, and no output is lost."""
    folder = tmp_path / "logs"
    sink = DirectorySink(folder, on_error="warn")
    await sink(
        Steps(
            (out("a", b"1\n"), lambda: folder.rename(tmp_path / "old")),
            (out("a", b"2\n"), None),
        )
    )
    assert (tmp_path / "old" / "a.log").read_bytes() == b"1\n"
    assert (folder / "a.log").read_bytes() == b"2\n"


@pytest.mark.anyio
@pytest.mark.parametrize("block", BLOCKS)
async def test_log_error_names_the_file_and_leaves_the_block(
    block: Callable[[Path], Callable[[], object]], tmp_path: Path
) -> None:
    """By default, a log file that cannot be written stops all commands."""
    folder = tmp_path / "logs"
    block(folder)
    with pytest.raises(OSError, match="logs"):
        async with Runner({"a": "sh -c 'echo 1; exec sleep 9999'"}, sinks=[DirectorySink(folder)]):
            pass


@pytest.mark.anyio
async def test_log_that_cannot_be_rotated_grows(tmp_path: Path) -> None:
    """No output is lost if a file cannot be renamed, and one warning names the file."""
    (tmp_path / "a.log.1" / "x").mkdir(parents=True)
    sink = DirectorySink(tmp_path, max_bytes=3, backups=1, on_error="warn")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        await play(sink, [out("a", b"1\n2\n")] * 2)
    (text,) = texts(caught)
    assert text.startswith(f"cannot rotate '{tmp_path}/a.log': ")
    assert (tmp_path / "a.log").read_bytes() == b"1\n2\n1\n2\n"
    with pytest.raises(OSError, match=r"a\.log"):
        await play(DirectorySink(tmp_path, max_bytes=3, backups=1), [out("a", b"1\n")])


NAMES = [
    "a" * 300,
    "a" * 299 + "b",
    "é" * 150,
    "/" * 100,
    "\0",
    "%00",
    ".",
    "..",
    "a\nb",
    "web",
    "Web",
    "web.err",
    "web%2Eerr",
]


@pytest.mark.anyio
async def test_each_name_has_its_own_files(tmp_path: Path) -> None:
    """Long names and names with odd characters give files of their own, which can be rotated."""
    sink = DirectorySink(tmp_path / "logs", max_bytes=1, backups=12, stderr="separate")
    messages = [out(name, b"%d\n" % number) for number, name in enumerate(NAMES)]
    messages.append(err("web", b"%d\n" % len(NAMES)))
    for _ in range(12):
        await play(sink, messages)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.parent for path in files} == {tmp_path / "logs"}
    contents = [path.read_bytes() for path in files]
    assert sorted(contents) == sorted([b"%d\n" % number for number in range(len(messages))] * 12)


@pytest.mark.anyio
async def test_names_that_are_one_file_to_the_system_get_two_files(tmp_path: Path) -> None:
    """Names that differ in case only are kept apart on a file system that ignores case."""
    (tmp_path / "Web.log").symlink_to("web.log")  # acts as such a file system does
    await play(DirectorySink(tmp_path), [started("web"), started("Web"), out("Web", b"1\n")])
    (other,) = tmp_path.glob("Web%-*.log")
    assert (other.read_bytes(), (tmp_path / "web.log").read_bytes()) == (b"1\n", b"")


@pytest.mark.slow
@pytest.mark.alone
@NO_SMALL_DISK
def test_full_disk_of_the_logs_does_not_stop_the_commands(tmp_path: Path) -> None:
    """The log holds whole lines as far as the disk reaches, and the sizes add up."""
    disk = tmp_path / "disk"
    options = f"--quiet --names a,b --log-dir {disk}/logs"
    command = f"{shlex.join(CURRANT)} run {options} 'seq 100000' 'exit 3' >/dev/null"
    done = run_on_small_disk(disk, f"{command}; echo $?; cat {disk}/logs/a.log")
    status, _, log = done.stdout.partition("\n")
    assert status == "3"
    assert log
    assert log.splitlines() == [str(n) for n in range(1, log.count("\n") + 1)]
    total = sum(len(f"{n}\n") for n in range(1, 100_001))
    assert done.stderr == (
        f"currant: cannot write '{disk}/logs/a.log': No space left on device; "
        "output is lost until the file can be written again; free space, or correct the path\n"
        f"currant: '{disk}/logs/a.log' lacks {total - len(log)} bytes of output: "
        "No space left on device\n"
    )


@pytest.mark.slow
@pytest.mark.alone
def test_limit_of_file_sizes_does_not_stop_the_commands(tmp_path: Path) -> None:
    """A log that reaches RLIMIT_FSIZE is told as a full disk is."""
    limited = ["sh", "-c", 'ulimit -f 1; exec "$@"', "sh", *CURRANT, "run", "--names=a"]
    done = subprocess.run(
        [*limited, f"--log-dir={tmp_path}", "seq 1000"],
        env=environment({"PYTHONDONTWRITEBYTECODE": "1"}),
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0
    assert [line.split(";")[0].split(" lacks")[0] for line in done.stderr.splitlines()] == [
        f"currant: cannot write '{tmp_path}/a.log': File too large",
        f"currant: '{tmp_path}/a.log'",
    ]


@NO_FULL_DISK
def test_log_of_a_stack_says_where_output_is_missing(tmp_path: Path) -> None:
    """The warning of a full disk goes into the same log, and so is missing, too."""
    path = tmp_path / "log"
    path.symlink_to("/dev/full")
    log = RotatedFile(path, None)
    with pytest.warns(SinkWarning, match="No space left on device"):
        log.write(b"gone\n")
    log.write(b"gone, too\n")
    path.unlink()
    log.write(b"here\n")
    log.write(b"and here\n")
    note = b"\ncurrant: 15 bytes of output are missing here\n"
    assert path.read_bytes() == note + b"here\nand here\n"


# ---- groups ----


@pytest.mark.anyio
async def test_group_without_room_is_shown_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If no temporary file can be written, nothing is lost, and one warning tells."""

    def refuse(**_: object) -> Any:
        return os.fdopen(os.open("/dev/full", os.O_RDWR), "r+b", buffering=0)

    monkeypatch.setattr(temporary, "TemporaryFile", refuse)
    monkeypatch.setattr(spool, "MAX_IN_MEMORY", 2 * spool.BYTES_PER_BATCH + 5)
    messages: list[BatchMessage] = [
        *(out("a", f"{number}\n".encode()) for number in range(5)),
        out("b", b"1\n"),
        exited("a"),
        exited("b"),
    ]
    file = io.BytesIO()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        await play(WriterSink(file, mode="group", quiet=True), messages)
    assert file.getvalue() == b"a | 0\na | 1\na | 2\na | 3\na | 4\nb | 1\n"
    (text,) = texts(caught)
    assert "No space left on device" in text


@pytest.mark.slow
@pytest.mark.alone
@NO_SMALL_DISK
def test_full_temporary_folder_loses_no_group(tmp_path: Path) -> None:
    """With a TMPDIR that fills up, the command line shows all output and tells once."""
    disk = tmp_path / "disk"
    command = shlex.join([*CURRANT, "run", "--group", "--names=a,b", "seq 500000", "seq 3"])
    done = run_on_small_disk(disk, f"TMPDIR={disk} {command}")
    assert done.returncode == 0
    lines = [line for line in done.stdout.splitlines() if line.startswith("a")]
    assert lines == [f"a | {number}" for number in range(1, 500_001)]
    assert done.stderr.count("\n") == 1
    assert "TMPDIR" in done.stderr


@NO_SMALL_DISK
def test_full_temporary_folder_ends_a_map(tmp_path: Path) -> None:
    """A group in several parts would be out of order; the error tells this file from the output."""
    disk = tmp_path / "disk"
    job = "head -c 3000000 /dev/zero; : {}"
    command = shlex.join([*CURRANT, "map", "-k", job, ":::", "1"])
    done = run_on_small_disk(disk, f"TMPDIR={disk} {command}")
    assert done.returncode == 255
    assert done.stderr == (
        "currant: cannot write the output of a job to a temporary file: No space left on device; "
        "TMPDIR names a folder with room\n"
    )


# ---- other files ----


def open_full(mode: str, buffering: int = -1) -> IO[Any]:
    """Open a file on a full disk."""
    return open("/dev/full", mode, buffering)


@NO_FULL_DISK
@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["writer", "json", "console", "text", "async", "stream"])
async def test_error_of_a_full_disk_names_the_file(kind: str) -> None:
    """The error of each sink that writes to a file is an `OSError` with the name of the file."""
    with open_full("wb", buffering=0) as file, open_full("w") as text:
        with pytest.raises(OSError, match="No space left on device") as raised:
            match kind:
                case "writer" | "json":
                    sink: Sink = (WriterSink if kind == "writer" else JSONSink)(file)
                    await play(sink, [out("a", b"1\n")])
                case "console" | "text":
                    target: Any = file if kind == "console" else text
                    await play(ConsoleSink(target, target), [out("a", b"1\n")])
                case "async":
                    async with await anyio.open_file("/dev/full", "wb", buffering=0) as opened:
                        await play(WriterSink(opened), [out("a", b"1\n")])
                case _:
                    async with FileWriteStream(file) as stream:
                        await play(WriterSink(stream), [out("a", b"1\n")])
        assert raised.value.errno == errno.ENOSPC
        assert kind == "stream" or raised.value.filename == "/dev/full"


@pytest.mark.anyio
async def test_closed_stream_is_an_error_of_the_system() -> None:
    """A stream that takes no more output raises `BrokenPipeError`, as a closed pipe does."""
    send, receive = anyio.create_memory_object_stream[bytes](1)
    receive.close()

    class Stream(anyio.abc.ByteSendStream):
        async def send(self, item: bytes) -> None:
            await send.send(item)

        async def aclose(self) -> None:
            await send.aclose()

    async with Stream() as stream:
        with pytest.raises(BrokenPipeError):
            await play(WriterSink(stream), [out("a", b"1\n")])


@pytest.mark.slow
@pytest.mark.alone
@NO_FULL_DISK
@pytest.mark.parametrize("options", [(), ("--json",), ("--raw",), ("--group",)])
def test_full_disk_of_stdout_is_told_in_one_line(options: Sequence[str]) -> None:
    """If stdout is on a full disk, currant prints no traceback and stops with status 1."""
    commands = ["echo 1"] if "--group" in options else ["echo 1; exec sleep 9999"]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*CURRANT, "run", *options, *commands],
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=LIMIT,
            check=False,
        )
    assert done.stderr == b"currant: cannot write the output to stdout: No space left on device\n"
    assert done.returncode == 1


@pytest.mark.slow
@pytest.mark.alone
def test_log_that_is_a_folder_is_told_once(run: Run, tmp_path: Path) -> None:
    """The command line warns of a file twice, and the exit status is that of the commands."""
    (tmp_path / "a.log").mkdir()
    ended = run("-n", "a,b", "--log-dir", str(tmp_path), "seq 3", "true")
    assert (ended.status, ended.out) == (0, b"a | 1\na | 2\na | 3\n")
    assert ended.err.decode() == (
        f"currant: cannot write '{tmp_path}/a.log': Is a directory; "
        "output is lost until the file can be written again; free space, or correct the path\n"
        f"currant: '{tmp_path}/a.log' lacks 6 bytes of output: Is a directory\n"
    )
