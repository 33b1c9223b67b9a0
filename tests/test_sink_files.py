"""Test the sinks that write text, files of raw bytes, log records and JSON."""

from __future__ import annotations

import base64
import fcntl
import io
import json
import logging
import os
import re
from inspect import cleandoc
from pathlib import Path
from signal import SIGTERM
from tempfile import TemporaryDirectory
from threading import Thread
from typing import TYPE_CHECKING, Any, get_args

import anyio
import pytest
import trio
from anyio.streams.file import FileWriteStream
from hypothesis import given
from hypothesis import strategies as st

from currant import (
    Aborted,
    Command,
    DependencyError,
    Dropped,
    Exit,
    Exited,
    Failed,
    HostLost,
    HostLostError,
    HostUp,
    LaunchError,
    Line,
    Message,
    Ready,
    Restarting,
    Runner,
    Skipped,
    Started,
)
from currant._values.wire import encode
from currant.sinks import ConsoleSink, DirectorySink, JSONSink, LoggingSink, WriterSink
from currant.sinks._files import BUSY_PIPE, BYTES_PER_WRITE, AnyFile, OpenFile
from tests.playing import err, exited, out, play, started

if TYPE_CHECKING:
    from collections.abc import Sequence

    from currant import BatchMessage

PAGE = os.sysconf("SC_PAGE_SIZE")

MESSAGES: list[BatchMessage] = [
    started("a", 4711),
    out("a", b"1\n"),
    err("a", b"2"),
    out("longer", b"\xff3\n"),
    exited("a", 3),
]
COMMANDS = [Command(["a"]), Command(["longer"])]
TEXT = b"a      | 1\na      | 2\nlonger | \xff3\ncurrant: a: exit code 3\n"


# ---- text ----


@pytest.mark.anyio
async def test_writer_writes_the_same_text_as_the_console() -> None:
    """The file gets both streams, as whole lines with padded names, and the notes of currant."""
    file = io.BytesIO()
    await play(WriterSink(file), MESSAGES, COMMANDS)
    assert file.getvalue() == TEXT


@pytest.mark.anyio
async def test_writer_has_the_options_of_the_console() -> None:
    """The options prefix, timestamps, mode, texts and quiet mean the same as for the console."""
    file = io.BytesIO()
    options: dict[str, Any] = {"prefix": "{pid} ", "mode": "group", "texts": {"started": "go"}}
    await play(WriterSink(file, **options), MESSAGES, COMMANDS)
    assert file.getvalue() == (b"currant: go\n4711 1\n4711 2\ncurrant: a: exit code 3\n0 \xff3\n")
    file = io.BytesIO()
    await play(WriterSink(file, timestamps="%Y", quiet=True), MESSAGES[:2], COMMANDS)
    assert file.getvalue() == b"1970 a      | 1\n"


@pytest.mark.anyio
async def test_writer_never_writes_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer ignores FORCE_COLOR and the colours of the commands."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    file = io.BytesIO()
    await play(WriterSink(file), MESSAGES, [Command(["a"], color="red"), COMMANDS[1]])
    assert file.getvalue() == TEXT


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["binary", "text", "stream", "async binary", "async text", "trio"])
async def test_writer_accepts_any_kind_of_file(
    kind: str, tmp_path: Path, anyio_backend_name: str
) -> None:
    """Blocking and async files, binary and text, and byte streams of anyio get the same text."""
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
    # A text file with a binary buffer gets the exact bytes; an async text file takes only text.
    assert path.read_bytes() == (replaced if kind == "async text" else TEXT)


@pytest.mark.anyio
async def test_buffered_text_of_the_host_precedes_written_lines(tmp_path: Path) -> None:
    """The writer flushes the buffer of a text file before it writes lines of commands."""
    with (tmp_path / "log").open("w", encoding="utf-8") as text:
        text.write("before\n")
        await play(WriterSink(text), MESSAGES[:2])
        text.write("after\n")
    assert (tmp_path / "log").read_text() == "before\na | 1\nafter\n"


@pytest.mark.anyio
async def test_writer_loses_no_line_of_real_commands() -> None:
    """All lines of two real commands are written once, in the order of each command."""
    file = io.BytesIO()
    async with Runner({"a": "seq 20000", "b": "seq 20000"}, sinks=[WriterSink(file)]):
        pass
    lines = file.getvalue().decode().splitlines()
    for name in "ab":
        assert [line for line in lines if line[0] == name] == [
            f"{name} | {number}" for number in range(1, 20_001)
        ]


@pytest.mark.skipif(not hasattr(fcntl, "F_SETPIPE_SZ"), reason="it takes Linux")
@pytest.mark.parametrize(
    ("capacity", "size", "becomes"),
    [
        (None, BYTES_PER_WRITE, BUSY_PIPE),
        (None, BYTES_PER_WRITE - 1, 16 * PAGE),
        (PAGE, BYTES_PER_WRITE, PAGE),
        (1024 * 1024, BYTES_PER_WRITE, 1024 * 1024),
    ],
    ids=["much", "little", "small pipe", "large pipe"],
)
def test_pipe_that_gets_much_output_is_enlarged(
    capacity: int | None, size: int, becomes: int
) -> None:
    """A pipe whose capacity another program has set stays as it is; all bytes arrive."""
    read_end, write_end = os.pipe()
    if capacity is not None:
        fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, capacity)
    came: list[bytes] = []
    with open(read_end, "rb") as source, open(write_end, "wb", buffering=0) as file:
        reader = Thread(target=lambda: came.append(source.read(size)))
        reader.start()
        OpenFile(file).write([b"x" * size])
        reader.join()
        assert fcntl.fcntl(write_end, fcntl.F_GETPIPE_SZ) == becomes
    assert came == [b"x" * size]


@pytest.mark.anyio
async def test_empty_chunk_does_not_end_the_write(tmp_path: Path) -> None:
    """An async file gets all chunks after an empty chunk, as a blocking file does."""
    async with await anyio.open_file(tmp_path / "log", "wb") as file:
        await AnyFile(file).write(iter([b"1", b"", b"2"]))
    assert (tmp_path / "log").read_bytes() == b"12"


@pytest.mark.parametrize("sink", [WriterSink, JSONSink])
@pytest.mark.parametrize("file", [None, 3, "path", Path("path")])
def test_object_that_is_not_an_open_file_is_rejected(sink: Any, file: object) -> None:
    """A path is not a file, because the sink would have to open and close the file."""
    with pytest.raises(TypeError, match="a file needs a method 'write' or 'send'"):
        sink(file)


# ---- files of raw bytes ----


@pytest.mark.anyio
async def test_output_of_each_command_is_in_a_separate_file(tmp_path: Path) -> None:
    """A file has every byte of both streams as read; a command without output has an empty file."""
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
async def test_plain_log_has_no_escape_sequences(tmp_path: Path) -> None:
    """With `plain`, colours and cut sequences are left out; a sequence ends with its attempt."""
    messages: list[BatchMessage] = [
        started("a"),
        out("a", b"\x1b[31mred\x1b[0m \xff\b\r\n\x1b["),
        err("a", b"err\n"),
        out("a", b"2Jmore\n\x1b]0;"),
        exited("a"),
        out("a", b"again\n"),
    ]
    await play(DirectorySink(tmp_path, plain=True), messages)
    assert (tmp_path / "a.log").read_bytes() == b"red \xff\b\r\nerr\nmore\nagain\n"


@pytest.mark.anyio
async def test_separate_option_writes_stderr_to_another_file(tmp_path: Path) -> None:
    """With ``stderr="separate"``, stderr of each command is in NAME.err.log."""
    sink = DirectorySink(tmp_path, stderr="separate")
    async with Runner({"a": Command.shell("echo 1; echo 2 >&2")}, sinks=[sink]):
        pass
    assert (tmp_path / "a.log").read_bytes() == b"1\n"
    assert (tmp_path / "a.err.log").read_bytes() == b"2\n"


@pytest.mark.anyio
async def test_existing_files_are_appended_to(tmp_path: Path) -> None:
    """Neither a restart nor another run overwrites earlier output."""
    for data in (b"1\n", b"2\n"):
        await play(
            DirectorySink(tmp_path), [started("a"), out("a", data), started("a"), out("a", data)]
        )
    assert (tmp_path / "a.log").read_bytes() == b"1\n1\n2\n2\n"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("name", "file"),
    [("a/b", "a%2Fb.log"), ("a%2Fb", "a%252Fb.log"), ("..", "...log"), ("web#2", "web#2.log")],
)
async def test_slash_in_a_name_is_escaped_in_the_file_name(
    tmp_path: Path, name: str, file: str
) -> None:
    """A slash is percent-encoded, and two different names never share a file."""
    await play(DirectorySink(tmp_path), [out(name, b"1\n")])
    assert [path.name for path in tmp_path.iterdir()] == [file]


def rotated_contents(folder: Path) -> list[bytes]:
    """Return the contents of the files of command a, from newest to oldest."""
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
    """A file has at most `max_bytes` bytes of whole lines, or one longer line alone."""
    sink = DirectorySink(tmp_path, max_bytes=6, backups=backups)
    for part in parts:
        await play(sink, [out("a", part)])
    assert rotated_contents(tmp_path) == files


@given(
    st.lists(st.text("ab\n", min_size=1, max_size=9).map(str.encode), max_size=9), st.integers(1, 9)
)
def test_rotated_files_contain_all_output(parts: list[bytes], max_bytes: int) -> None:
    """For any output and size limit, no byte is lost, and only a single line exceeds the limit."""
    messages: list[BatchMessage] = [out("a", part) for part in parts]
    with TemporaryDirectory() as folder:
        anyio.run(play, DirectorySink(folder, max_bytes, backups=99), messages)
        files = rotated_contents(Path(folder))
    assert b"".join(reversed(files)) == b"".join(parts)
    for content in files:
        assert len(content) <= max_bytes or b"\n" not in content[:-1]


@pytest.mark.parametrize(
    "options",
    [
        {"max_bytes": 0},
        {"max_bytes": -1},
        {"max_bytes": "10MB"},
        {"max_bytes": 1.5},
        {"backups": -1},
        {"backups": "3"},
        {"stderr": "apart"},
        {"on_error": "ignore"},
        {"path": 3},
    ],
)
def test_invalid_directory_option_is_rejected_at_construction(options: dict[str, Any]) -> None:
    """The error is raised at construction and names the option."""
    with pytest.raises(ValueError, match=next(iter(options))):
        DirectorySink(**{"path": "logs", **options})


@pytest.mark.anyio
async def test_directory_that_cannot_be_created_stops_the_commands(tmp_path: Path) -> None:
    """If the directory cannot be created, the block raises the error at once."""
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        async with Runner(["sleep 9999"], sinks=[DirectorySink(tmp_path / "file")]):
            pass


# ---- log records ----


def levels_and_texts(records: Sequence[logging.LogRecord]) -> list[tuple[str, str]]:
    """Return the level and text of each record."""
    return [(record.levelname, record.getMessage()) for record in records]


EVENTS: list[BatchMessage] = [
    started("a", 4711),
    out("a", b"100% {} %s\n"),
    err("a", b"2\n\xff\n"),
    exited("a", 3),
    Restarting("a", 2, 1.0, 0.0),
    Failed("a", LaunchError("a", "no memory"), 2, 0.0),
    Dropped("a", 7, 0.0),
]


@pytest.mark.anyio
async def test_each_line_and_event_is_a_log_record(caplog: pytest.LogCaptureFixture) -> None:
    """The stream or the event decides the level, and text is not used as a format string."""
    caplog.set_level(logging.DEBUG, "currant")
    await play(LoggingSink(), EVENTS)
    assert levels_and_texts(caplog.records) == [
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
async def test_exit_is_logged_as_an_error_only_if_the_command_failed(
    caplog: pytest.LogCaptureFixture, end: Exit, level: str
) -> None:
    """A success, by the success codes of the command, and a requested stop are logged as INFO."""
    caplog.set_level(logging.DEBUG, "currant")
    await play(LoggingSink(), [exited("a", end)], [Command(["a"], success_codes=(0, 4))])
    assert levels_and_texts(caplog.records) == [(level, str(end))]


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["name", "logger", "adapter"])
async def test_logger_and_levels_are_configurable(
    caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    """The sink accepts a logger, a logger name or an adapter, and a level for each stream."""
    logger = logging.getLogger("app.worker")
    caplog.set_level(logging.INFO, "app.worker")
    target: Any = {"name": "app.worker", "logger": logger}.get(
        kind, logging.LoggerAdapter(logger, {})
    )
    messages: list[BatchMessage] = [out("a", b"1\n"), err("a", b"2\n")]
    await play(LoggingSink(target, stdout=logging.DEBUG, stderr=logging.CRITICAL), messages)
    assert levels_and_texts(caplog.records) == [("CRITICAL", "2")]


# ---- JSON ----


async def json_objects(messages: Sequence[BatchMessage]) -> list[dict[str, Any]]:
    """Return the objects that JSONSink writes for `messages`."""
    file = io.BytesIO()
    await play(JSONSink(file), messages)
    return [json.loads(line) for line in file.getvalue().splitlines()]


@pytest.mark.anyio
async def test_each_message_is_a_json_object() -> None:
    """The JSON object of a message has every field of the message under the name of the field."""
    stop = Exit(None, SIGTERM, stopped=True)
    assert await json_objects([*EVENTS[:2], *EVENTS[3:], exited("a", stop)]) == [
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
            "error_type": "LaunchError",
            "error_fields": {"name": "a", "reason": "no memory"},
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
def test_json_preserves_every_byte(parts: list[bytes]) -> None:
    """The exact output can be restored from the JSON objects."""
    with anyio.from_thread.start_blocking_portal() as portal:
        objects = portal.call(json_objects, [out("a", part) for part in parts if part])
    written = b""
    for line in objects:
        text = line["text"].encode()
        data = base64.b64decode(line["base64"]) if "base64" in line else text
        assert ("base64" in line) == (data.decode(errors="ignore").encode() != data)
        written += data + line["ending"].encode()
    assert written == b"".join(parts)


@pytest.mark.anyio
async def test_each_json_object_is_one_line_of_ascii() -> None:
    """An object stays on one ASCII line for any characters in names and texts."""
    file = io.StringIO()
    await play(JSONSink(file), [out("a\n\u2028\udcff", "é\u2028\n".encode())])
    assert file.getvalue().isascii()
    assert file.getvalue().count("\n") == 1
    assert json.loads(file.getvalue())["text"] == "é\u2028"


def test_documentation_of_json_lists_each_type_and_its_keys() -> None:
    """The docstring of JSONSink has a row for each message, with the keys that it writes."""
    error = LaunchError("a", "no memory")
    messages: list[Message] = [
        Started("a", 1, 1, 0.0),
        Line("a", "stdout", b"\xff", b"\n", 0.0),
        Ready("a", 1.0, 0.0),
        Aborted("a", error, 1, 0.0),
        Exited("a", Exit(0, None), 1, 0.0),
        Restarting("a", 2, 1.0, 0.0),
        Failed("a", error, 1, 0.0),
        Skipped("a", DependencyError("a", "no"), 0.0),
        Dropped("a", 7, 0.0),
        HostUp("h1", 0.0),
        HostLost("h1", HostLostError("h1", "no route"), 0.0),
    ]
    assert {type(message) for message in messages} == set(get_args(Message))
    row = re.compile(r"^- (\w+): (.*?)(?=^- |^$)", re.MULTILINE | re.DOTALL)
    rows = row.findall(cleandoc(JSONSink.__doc__ or ""))
    documented = {row[0]: set(re.findall(r"`(\w+)`", row[1])) for row in rows}
    written = {str(encoded["type"]): encoded.keys() for encoded in map(encode, messages)}
    assert documented.keys() == written.keys()
    for type_, keys in written.items():
        assert keys - {"type", "command", "time"} <= documented[type_]


@pytest.mark.parametrize(
    ("sink", "options", "text"),
    [
        (LoggingSink, {"stdout": "INFO"}, "stdout must be a level such as logging.INFO"),
        (LoggingSink, {"logger": 3}, "logger must be a logger or the name of one, not 3"),
        (WriterSink, {"file": io.BytesIO(), "texts": ["started"]}, "texts must be a mapping"),
        (WriterSink, {"file": io.BytesIO(), "timestamps": 3}, "timestamps must be True, False or"),
    ],
)
def test_invalid_argument_of_a_sink_is_rejected_when_built(
    sink: Any, options: dict[str, Any], text: str
) -> None:
    """A wrong type is found before any command runs, and the error names the argument."""
    with pytest.raises(ValueError, match=text):
        sink(**options)


@pytest.mark.parametrize("file", [3, "out.log", Path("out.log")])
def test_console_rejects_a_path(file: Any) -> None:
    """The console takes open files only, as the other sinks do."""
    with pytest.raises(TypeError, match="a path has to be opened"):
        ConsoleSink(file)
