"""The sinks that write for later: text, files of raw bytes, log records, JSON."""

from __future__ import annotations

import base64
import io
import json
import logging
from pathlib import Path
from signal import SIGTERM
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import trio
from anyio.streams.file import FileWriteStream
from hypothesis import given
from hypothesis import strategies as st

from currant import Command, Dropped, Exit, Failed, LaunchError, Restarting, Runner
from currant.sinks import DirectorySink, JSONSink, LoggingSink, WriterSink
from currant.sinks._files import AnyFile
from tests.playing import begun, ended, err, out, play

if TYPE_CHECKING:
    from collections.abc import Sequence

    from currant import BatchMessage

MESSAGES: list[BatchMessage] = [
    begun("a", 4711),
    out("a", b"1\n"),
    err("a", b"2"),
    out("longer", b"\xff3\n"),
    ended("a", 3),
]
COMMANDS = [Command(["a"]), Command(["longer"])]
TEXT = b"a      | 1\na      | 2\nlonger | \xff3\ncurrant: a: exit code 3\n"


# ---- text ----


@pytest.mark.anyio
async def test_the_writer_writes_the_text_of_the_console() -> None:
    """Both streams in one file, whole lines with padded names, and what currant says."""
    file = io.BytesIO()
    await play(WriterSink(file), MESSAGES, COMMANDS)
    assert file.getvalue() == TEXT


@pytest.mark.anyio
async def test_the_writer_has_the_options_of_the_console() -> None:
    """Prefix, time, mode, texts and quiet mean the same."""
    file = io.BytesIO()
    options: dict[str, Any] = {"prefix": "{pid} ", "mode": "group", "texts": {"started": "go"}}
    await play(WriterSink(file, **options), MESSAGES, COMMANDS)
    assert file.getvalue() == (b"currant: go\n4711 1\n4711 2\ncurrant: a: exit code 3\n0 \xff3\n")
    file = io.BytesIO()
    await play(WriterSink(file, timestamps="%Y", quiet=True), MESSAGES[:2], COMMANDS)
    assert file.getvalue() == b"1970 a      | 1\n"


@pytest.mark.anyio
async def test_no_file_is_coloured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the environment and the commands say about colours."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    file = io.BytesIO()
    await play(WriterSink(file), MESSAGES, [Command(["a"], color="red"), COMMANDS[1]])
    assert file.getvalue() == TEXT


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["binary", "text", "stream", "async binary", "async text", "trio"])
async def test_any_kind_of_file_will_do(kind: str, tmp_path: Path, anyio_backend_name: str) -> None:
    """Blocking and async files, binary and text, and anyio's byte streams get the same text."""
    if kind == "trio" and anyio_backend_name != "trio":
        kind = "async binary"
    path = tmp_path / "log"
    replaced = TEXT.replace(b"\xff", "\ufffd".encode())
    match kind:
        case "binary":
            with path.open("wb") as binary:
                await play(WriterSink(binary), MESSAGES, COMMANDS)
        case "text":
            with path.open("w", encoding="utf-8") as text:
                await play(WriterSink(text), MESSAGES, COMMANDS)
        case "stream":
            async with await FileWriteStream.from_path(path) as stream:
                await play(WriterSink(stream), MESSAGES, COMMANDS)
        case "async binary":
            async with await anyio.open_file(path, "wb") as async_binary:
                await play(WriterSink(async_binary), MESSAGES, COMMANDS)
        case "async text":
            async with await anyio.open_file(path, "w", encoding="utf-8") as async_text:
                await play(WriterSink(async_text), MESSAGES, COMMANDS)
        case _:
            async with await trio.open_file(path, "wb") as trio_file:
                await play(WriterSink(trio_file), MESSAGES, COMMANDS)  # type: ignore[arg-type]
    # A text file over a binary one gets bytes as they are; one that is only text cannot.
    assert path.read_bytes() == (replaced if kind == "async text" else TEXT)


@pytest.mark.anyio
async def test_what_the_host_wrote_to_a_text_file_stays_before(tmp_path: Path) -> None:
    """What waits in the file object is written before the commands' lines."""
    with (tmp_path / "log").open("w", encoding="utf-8") as text:
        text.write("before\n")
        await play(WriterSink(text), MESSAGES[:2])
        text.write("after\n")
    assert (tmp_path / "log").read_text() == "before\na | 1\nafter\n"


@pytest.mark.anyio
async def test_the_writer_loses_nothing_of_a_real_command() -> None:
    """All lines of two commands arrive, in order, each once."""
    file = io.BytesIO()
    async with Runner({"a": "seq 20000", "b": "seq 20000"}, sinks=[WriterSink(file)]):
        pass
    lines = file.getvalue().decode().splitlines()
    for name in "ab":
        assert [line for line in lines if line[0] == name] == [
            f"{name} | {number}" for number in range(1, 20_001)
        ]


@pytest.mark.anyio
async def test_an_empty_chunk_is_not_the_end_of_what_is_written(tmp_path: Path) -> None:
    """An async file gets all chunks, as a blocking one does."""
    async with await anyio.open_file(tmp_path / "log", "wb") as file:
        await AnyFile(file).write(iter([b"1", b"", b"2"]))
    assert (tmp_path / "log").read_bytes() == b"12"


@pytest.mark.parametrize("sink", [WriterSink, JSONSink])
@pytest.mark.parametrize("file", [None, 3, "path", Path("path")])
def test_what_is_no_open_file_is_refused(sink: Any, file: object) -> None:
    """A path is no file: it would have to be opened, and closed by somebody."""
    with pytest.raises(TypeError, match="a file needs a method 'write' or 'send'"):
        sink(file)


# ---- files of raw bytes ----


@pytest.mark.anyio
async def test_each_commands_bytes_are_in_a_file_of_its_own(tmp_path: Path) -> None:
    """Both streams as they were read, every byte; a silent command has an empty file."""
    folder = tmp_path / "new" / "logs"
    commands = [
        Command.shell(r"printf '1\r\n\0\377\r2\n'; printf 3 >&2", name="a"),
        Command(["true"], name="silent"),
        Command.shell("seq 100000", name="many"),
    ]
    async with Runner(commands, sinks=[DirectorySink(folder)]):
        pass
    assert {file.name for file in folder.iterdir()} == {"a.log", "silent.log", "many.log"}
    assert sorted((folder / "a.log").read_bytes()) == sorted(b"1\r\n\0\377\r2\n3")
    assert (folder / "silent.log").read_bytes() == b""
    assert (folder / "many.log").read_bytes() == b"".join(b"%d\n" % n for n in range(1, 100_001))


@pytest.mark.anyio
async def test_streams_can_be_kept_apart(tmp_path: Path) -> None:
    """With ``stderr="separate"`` there is a NAME.err.log for each command."""
    sink = DirectorySink(tmp_path, stderr="separate")
    async with Runner({"a": Command.shell("echo 1; echo 2 >&2")}, sinks=[sink]):
        pass
    assert (tmp_path / "a.log").read_bytes() == b"1\n"
    assert (tmp_path / "a.err.log").read_bytes() == b"2\n"


@pytest.mark.anyio
async def test_what_is_there_is_added_to(tmp_path: Path) -> None:
    """Neither a restart nor another run loses what was written before."""
    for data in (b"1\n", b"2\n"):
        await play(
            DirectorySink(tmp_path), [begun("a"), out("a", data), begun("a"), out("a", data)]
        )
    assert (tmp_path / "a.log").read_bytes() == b"1\n1\n2\n2\n"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("name", "file"),
    [("a/b", "a%2Fb.log"), ("a%2Fb", "a%252Fb.log"), ("..", "...log"), ("web#2", "web#2.log")],
)
async def test_a_name_cannot_leave_the_directory(tmp_path: Path, name: str, file: str) -> None:
    """A slash is written as in a URL, and two names never become one file."""
    await play(DirectorySink(tmp_path), [out(name, b"1\n")])
    assert [path.name for path in tmp_path.iterdir()] == [file]


def rotated(folder: Path) -> list[bytes]:
    """Return the contents of the files of command a, the newest first."""
    names = ["a.log", *(f"a.log.{number}" for number in range(1, 100))]
    return [path.read_bytes() for name in names if (path := folder / name).exists()]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("backups", "parts", "files"),
    [
        pytest.param(9, [b"1\n22\n33\n4\n"], [b"33\n4\n", b"1\n22\n"], id="between lines"),
        pytest.param(1, [b"1\n2222\n333\n"], [b"333\n", b"2222\n"], id="the oldest is deleted"),
        pytest.param(0, [b"1\n2222\n333\n"], [b"333\n"], id="no backups"),
        pytest.param(9, [b"1\n7777777\n3\n"], [b"3\n", b"7777777\n", b"1\n"], id="long line"),
        pytest.param(9, [b"1\n", b"7777777"], [b"7777777", b"1\n"], id="long, unfinished"),
        pytest.param(9, [b"1\n", b"1234\n"], [b"1234\n", b"1\n"], id="does not fit"),
        pytest.param(9, [b"1\n", b"123\n"], [b"1\n123\n"], id="fits"),
    ],
)
async def test_files_are_rotated_by_size(
    tmp_path: Path, backups: int, parts: list[bytes], files: list[bytes]
) -> None:
    """A file has at most that many bytes, whole lines, but for one longer line alone."""
    sink = DirectorySink(tmp_path, max_bytes=6, backups=backups)
    for part in parts:
        await play(sink, [out("a", part)])
    assert rotated(tmp_path) == files


@given(
    st.lists(st.text("ab\n", min_size=1, max_size=9).map(str.encode), max_size=9), st.integers(1, 9)
)
def test_rotated_files_together_are_what_was_written(parts: list[bytes], max_bytes: int) -> None:
    """Whatever the pieces and the size: nothing is lost, and each file is as large as said."""
    messages: list[BatchMessage] = [out("a", part) for part in parts]
    with TemporaryDirectory() as folder:
        anyio.run(play, DirectorySink(folder, max_bytes, backups=99), messages)
        files = rotated(Path(folder))
    assert b"".join(reversed(files)) == b"".join(parts)
    for content in files:
        assert len(content) <= max_bytes or b"\n" not in content[:-1]


@pytest.mark.parametrize(
    "options", [{"max_bytes": 0}, {"max_bytes": -1}, {"backups": -1}, {"stderr": "apart"}]
)
def test_wrong_options_of_the_directory_are_refused(options: dict[str, Any]) -> None:
    """Told when built, with the option's name."""
    with pytest.raises(ValueError, match=next(iter(options))):
        DirectorySink("logs", **options)


@pytest.mark.anyio
async def test_a_directory_that_cannot_be_made_is_an_error_at_once(tmp_path: Path) -> None:
    """Before anything is written: the block ends with it, and the commands are stopped."""
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        async with Runner(["sleep 9999"], sinks=[DirectorySink(tmp_path / "file")]):
            pass


# ---- log records ----


def logged(records: Sequence[logging.LogRecord]) -> list[tuple[str, str]]:
    """Return level and text of each."""
    return [(record.levelname, record.getMessage()) for record in records]


EVENTS: list[BatchMessage] = [
    begun("a", 4711),
    out("a", b"100% {} %s\n"),
    err("a", b"2\n\xff\n"),
    ended("a", 3),
    Restarting("a", 2, 1.0, 0.0),
    Failed("a", LaunchError("a", "no memory"), 2, 0.0),
    Dropped("a", 7, 0.0),
]


@pytest.mark.anyio
async def test_each_line_and_event_is_a_record(caplog: pytest.LogCaptureFixture) -> None:
    """Levels by stream and by what happened; the text is not taken for a format."""
    caplog.set_level(logging.DEBUG, "currant")
    await play(LoggingSink(), EVENTS)
    assert logged(caplog.records) == [
        ("DEBUG", "started (pid 4711)"),
        ("INFO", "100% {} %s"),
        ("WARNING", "2"),
        ("WARNING", "\ufffd"),
        ("ERROR", "exit code 3"),
        ("WARNING", "restarting in 1.0 s"),
        ("ERROR", "cannot start 'a': no memory"),
        ("WARNING", "7 lines discarded"),
    ]
    assert {record.name for record in caplog.records} == {"currant"}
    fields: list[dict[str, Any]] = [vars(record) for record in caplog.records]
    assert {field["command"] for field in fields} == {"a"}
    assert [field.get("stream") for field in fields[:4]] == [None, "stdout", "stderr", "stderr"]
    assert (fields[0]["pid"], fields[0]["attempt"], fields[4]["attempt"]) == (4711, 1, 1)
    assert fields[1]["time"] == 0.0


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("end", "level"),
    [
        (Exit(0, None), "INFO"),
        (Exit(4, None), "INFO"),
        (Exit(3, None), "ERROR"),
        (Exit(None, SIGTERM), "ERROR"),
        (Exit(None, SIGTERM, stopped=True), "INFO"),
    ],
)
async def test_an_end_is_an_error_only_where_it_is_a_failure(
    caplog: pytest.LogCaptureFixture, end: Exit, level: str
) -> None:
    """A success, by the command's own codes, and a stop are not."""
    caplog.set_level(logging.DEBUG, "currant")
    await play(LoggingSink(), [ended("a", end)], [Command(["a"], success_codes=(0, 4))])
    assert logged(caplog.records) == [(level, str(end))]


@pytest.mark.anyio
@pytest.mark.parametrize("how", ["name", "logger", "adapter"])
async def test_logger_and_levels_can_be_chosen(caplog: pytest.LogCaptureFixture, how: str) -> None:
    """A logger, its name, or an adapter; a level for each stream."""
    logger = logging.getLogger("app.worker")
    caplog.set_level(logging.INFO, "app.worker")
    to: Any = {"name": "app.worker", "logger": logger}.get(how, logging.LoggerAdapter(logger, {}))
    messages: list[BatchMessage] = [out("a", b"1\n"), err("a", b"2\n")]
    await play(LoggingSink(to, stdout=logging.DEBUG, stderr=logging.CRITICAL), messages)
    assert logged(caplog.records) == [("CRITICAL", "2")]


# ---- JSON ----


async def as_json(messages: Sequence[BatchMessage]) -> list[dict[str, Any]]:
    """Return the objects that the sink writes."""
    file = io.BytesIO()
    await play(JSONSink(file), messages)
    return [json.loads(line) for line in file.getvalue().splitlines()]


@pytest.mark.anyio
async def test_each_message_is_an_object() -> None:
    """Every field of every message, by its name."""
    stop = Exit(None, SIGTERM, stopped=True)
    assert await as_json([*EVENTS[:2], *EVENTS[3:], ended("a", stop)]) == [
        {"type": "started", "command": "a", "time": 0.0, "pid": 4711, "attempt": 1},
        {
            "type": "line",
            "command": "a",
            "time": 0.0,
            "stream": "stdout",
            "text": "100% {} %s",
            "ending": "\n",
        },
        {
            "type": "exited",
            "command": "a",
            "time": 0.0,
            "attempt": 1,
            "exit": {
                "code": 3,
                "signal": None,
                "stopped": False,
                "forced": False,
                "timed_out": False,
            },
        },
        {"type": "restarting", "command": "a", "time": 0.0, "attempt": 2, "delay": 1.0},
        {
            "type": "failed",
            "command": "a",
            "time": 0.0,
            "attempt": 2,
            "error": "cannot start 'a': no memory",
        },
        {"type": "dropped", "command": "a", "time": 0.0, "lines": 7},
        {
            "type": "exited",
            "command": "a",
            "time": 0.0,
            "attempt": 1,
            "exit": {
                "code": None,
                "signal": "SIGTERM",
                "stopped": True,
                "forced": False,
                "timed_out": False,
            },
        },
    ]


@given(st.lists(st.binary(max_size=20), max_size=5))
def test_no_byte_is_lost_in_json(parts: list[bytes]) -> None:
    """From the objects, all that was written can be put together again."""
    with anyio.from_thread.start_blocking_portal() as portal:
        objects = portal.call(as_json, [out("a", part) for part in parts if part])
    written = b""
    for line in objects:
        text = line["text"].encode()
        data = base64.b64decode(line["base64"]) if "base64" in line else text
        assert ("base64" in line) == (data.decode(errors="ignore").encode() != data)
        written += data + line["ending"].encode()
    assert written == b"".join(parts)


@pytest.mark.anyio
async def test_json_is_one_line_of_ascii_each() -> None:
    """Names and texts that hold anything stay on one line."""
    file = io.StringIO()
    await play(JSONSink(file), [out("a\n\u2028\udcff", "é\u2028\n".encode())])
    assert file.getvalue().isascii()
    assert file.getvalue().count("\n") == 1
    assert json.loads(file.getvalue())["text"] == "é\u2028"
