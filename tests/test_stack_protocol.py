"""The protocol of a stack, and clients that break it."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import tempfile
from base64 import b64encode
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, get_args
from unittest.mock import patch

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from currant import PIPE, Command, CurrantError
from currant.ready import line
from currant.stack import RequestError, _connected_client, _server
from currant.stack._connected_client import MAX_CLIENTS
from currant.stack._history import KEPT
from currant.stack._protocol import (
    MAX_REQUEST,
    REQUESTS,
    VERSION,
    Attach,
    Down,
    Input,
    LineBuffer,
    List,
    Logs,
    Reload,
    Request,
    Resize,
    Restart,
    Send,
    Signal,
    Start,
    Stop,
    Wait,
    encode,
    parse_attached,
    parse_request,
)
from currant.stack._stream import StackStream
from currant.testing import FakeLauncher, Script
from tests.stacks import RunningStack, received, running, talk
from tests.waiting import EXEC_FOREVER, LIMIT

pytestmark = pytest.mark.usefixtures("runtime")

NAMES = list(REQUESTS)
KEYS = {field.name for request in get_args(Request) for field in dataclasses.fields(request)} | {
    "rows",
    "x",
}

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(NAMES)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.fixed_dictionaries(
    {"version": st.just(VERSION) | VALUES, "request": st.sampled_from(NAMES) | VALUES},
    optional=dict.fromkeys(sorted(KEYS), VALUES),
)
LINES = (
    st.binary(max_size=200)
    | VALUES.map(lambda value: json.dumps(value).encode())
    | OBJECTS.map(lambda value: json.dumps(value).encode())
)
"""Lines that may be requests, and are mostly not."""

NASTY = [
    b"",
    b"\n",
    b"\0\xff\xfe\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b'{"version": 1, "request": "list"',
    b"[" * 100_000 + b"\n",
    b'{"a":' * 50_000 + b"\n",
    b"9" * 10_000 + b"\n",
    b'{"version": 1, "request": "logs", "since": 1e999}\n',
    b'{"version": 1, "request": "logs", "since": %s}\n' % (b"9" * 400),
    b'{"version": 1, "request": "send", "name": "web", "data": "\\ud800"}\n',
    b'{"version": 1, "request": "stop", "names": ["\\ud800"]}\n',
    b'{"version": 1, "request": "wait", "until": [[]], "names": {}}\n',
    b'{"version": 1, "request": "signal", "name": "web", "signal": %s}\n' % (b"9" * 300),
    b'{"version": true, "request": "list"}\n',
    b"x" * (MAX_REQUEST + 10),
    b"x" * (MAX_REQUEST + 10) + b"\n",
    b'{"version": 1, "request": "attach", "name": "web"}\n' + b"{}\n" * 1000,
]
"""Bytes that are no request."""


@pytest.mark.parametrize(
    ("fields", "request_"),
    [
        ({"request": "list"}, List()),
        ({"request": "logs"}, Logs()),
        (
            {
                "request": "logs",
                "names": ["a"],
                "last": 5,
                "since": 1,
                "follow": True,
                "events": True,
            },
            Logs(("a",), 5, 1.0, follow=True, events=True),
        ),
        ({"request": "start", "names": ["a", "b"]}, Start(("a", "b"))),
        ({"request": "stop", "now": True}, Stop(now=True)),
        ({"request": "restart", "names": ["a"]}, Restart(("a",))),
        ({"request": "signal", "name": "a", "signal": "HUP"}, Signal("a", "HUP")),
        (
            {"request": "signal", "name": "a", "signal": 10, "to": "leader"},
            Signal("a", 10, "leader"),
        ),
        ({"request": "wait", "until": "ready", "timeout": 0.5}, Wait((), "ready", 0.5)),
        ({"request": "send", "name": "a", "data": "aGk="}, Send("a", b"hi")),
        ({"request": "attach", "name": "a"}, Attach("a")),
        ({"request": "attach", "name": "a", "rows": 24, "columns": 80}, Attach("a", 24, 80)),
        ({"request": "reload", "apply": False}, Reload(apply=False)),
        ({"request": "down"}, Down()),
    ],
)
def test_request_is_read(fields: dict[str, Any], request_: Request) -> None:
    """Each request has its keys, and defaults for optional keys."""
    assert parse_request(encode({"version": VERSION, **fields}).rstrip(b"\n")) == request_


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (
            b'{"version": 2, "request": "list"}',
            "speaks version 1 of the protocol, not 2",
        ),
        (b'{"request": "list"}', "this stack speaks version 1 of the protocol, not null"),
        (b'{"version": 1, "request": "sotp"}', "there is no request"),
        (b'{"version": 1, "request": "list", "x": 1}', 'a request has no key "x"'),
        (b'{"version": 1, "request": "logs", "last": -1}', "last must be an integer >= 0, or null"),
        (b'{"version": 1, "request": "stop", "names": "a"}', "names must be of type list"),
        (b'{"version": 1, "request": "send", "name": "a", "data": "?"}', "data must be bytes in"),
        (b'{"version": 1, "request": "wait", "until": "x"}', "until must be 'ended' or 'ready'"),
        (b'{"version": 1, "request": "attach", "name": "a", "rows": 0}', "rows must be an integer"),
        (b"[1]", "a line must be a JSON object"),
        (b"\xff", "a line is not JSON"),
    ],
)
def test_wrong_request_is_refused(line: bytes, text: str) -> None:
    """The error names the mistake, and the values that are allowed."""
    with pytest.raises(RequestError, match=r".") as caught:
        parse_request(line)
    assert text in str(caught.value)


@given(LINES)
def test_any_line_is_a_request_or_an_error(line: bytes) -> None:
    """No line makes the parser fail in another way, and no error is long."""
    problem: RequestError | None = None
    try:
        assert isinstance(parse_request(line), get_args(Request))
    except RequestError as error:
        problem = error
    assert len(str(problem)) < 1000


@given(LINES | st.sampled_from([b'{"data": "aGk="}', b'{"rows": 2, "columns": 3}']))
def test_any_line_of_an_attached_client_is_input_a_size_or_an_error(line: bytes) -> None:
    """The same for the lines that follow `attach`."""
    with suppress(RequestError):
        assert isinstance(parse_attached(line), Input | Resize)


@given(
    st.lists(st.binary(max_size=20).map(lambda data: data.replace(b"\n", b"")), max_size=10),
    st.data(),
)
def test_lines_do_not_depend_on_the_pieces_in_which_they_come(
    lines: list[bytes], data: st.DataObject
) -> None:
    """A line may come byte by byte, and many lines at once."""
    stream, buffer, found = b"".join(line + b"\n" for line in lines), LineBuffer(20), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        buffer.feed(stream[:size])
        stream = stream[size:]
        while (line := buffer.take()) is not None:
            found.append(line)
    assert found == lines


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_long_line_is_refused_before_its_end(end: bytes) -> None:
    """A line without an end cannot fill the memory."""
    buffer = LineBuffer(10)
    buffer.feed(b"x" * 11 + end)
    with pytest.raises(RequestError, match="a line has more than 10 bytes"):
        buffer.take()


def test_page_about_the_protocol_has_all_requests_and_their_keys() -> None:
    """``docs/stack.md`` is the specification for clients in other languages."""
    page = (Path(__file__).parents[1] / "docs" / "stack.md").read_text()
    table = page.split("## The protocol")[1]
    rows = dict(re.findall(r"^\| `(\w+)` \|(.*?)\|", table, re.MULTILINE))
    keys = {name: set(re.findall(r"`(\w+)`", text)) for name, text in rows.items()}
    assert keys.keys() == REQUESTS.keys()
    for request in get_args(Request):
        name = request.__name__.lower()
        assert {field.name for field in dataclasses.fields(request)} <= keys[name]


# ---- a running stack ----


async def is_well(stack: RunningStack) -> bool:
    """Return whether the stack answers, and its command runs."""
    (command,) = (await stack.client.list()).commands
    return command.state == "running"


@pytest.mark.anyio
async def test_no_client_ends_the_stack(tmp_path: Path) -> None:
    """Each bad line gets at most an error, and the next client is served."""
    launcher = FakeLauncher(default=Script(exit=None))
    with anyio.fail_after(LIMIT):
        async with running({"web": "web"}, tmp_path, launcher=launcher) as stack:
            for sent in NASTY:
                stream = await StackStream.connect(stack.client.socket)
                async with stream:
                    with suppress(anyio.BrokenResourceError):
                        await stream.send(sent)
                        await stream.send_eof()
                    objects = await received(stream)
                assert [each["type"] for each in objects][-1:] in ([], ["error"]), (sent, objects)
                assert await is_well(stack)


@settings(max_examples=15)
@given(st.lists(st.lists(LINES, min_size=1, max_size=3), min_size=1, max_size=8))
def test_random_clients_do_not_end_the_stack(clients: list[list[bytes]]) -> None:
    """Whatever they send, the stack answers; only `down` and `stop` have an effect."""

    async def main(folder: str) -> None:
        launcher = FakeLauncher(default=Script(exit=None))
        async with running({"web": "web"}, Path(folder), launcher=launcher) as stack:
            for lines in clients:
                stream = await StackStream.connect(stack.client.socket)
                async with stream:
                    with suppress(anyio.BrokenResourceError):
                        await stream.send(b"".join(line + b"\n" for line in lines))
                        await stream.send_eof()
                    with anyio.move_on_after(0.01):
                        await received(stream)
            try:
                assert len((await stack.client.list()).commands) == 1
            except CurrantError:  # One of the clients has asked for the end.
                assert stack.runner.barrier.thrown

    with tempfile.TemporaryDirectory() as folder, patch.dict("os.environ", XDG_RUNTIME_DIR=folder):
        anyio.run(main, folder)


@pytest.mark.anyio
async def test_client_that_never_reads_costs_nothing(tmp_path: Path) -> None:
    """Followers that do not read hold up neither the command nor its other readers."""
    command = "yes 0123456789012345678901234567890123456789 | head -n 200000"
    with anyio.fail_after(LIMIT):
        async with AsyncExitStack() as clients:
            stack = await clients.enter_async_context(
                running({"a": f"sh -c '{command}'"}, tmp_path)
            )
            for _ in range(5):
                stream = await StackStream.connect(stack.client.socket)
                await clients.enter_async_context(stream)
                await stream.send(encode({"version": 1, "request": "logs", "follow": True}))
            (ended,) = (await stack.client.wait()).commands
            assert ended.state == "succeeded"
            assert stack.history.begin(last=0).seen == {"a": 200_000}
            assert stack.history.cost <= KEPT
            kept = [message async for message in stack.client.logs(["a"])]
            assert 1000 < len(kept) < KEPT / 41


@pytest.mark.anyio
async def test_slow_follower_is_told_the_number_of_missed_lines(tmp_path: Path) -> None:
    """The lines that a follower gets and the lines that it has missed are all lines."""
    count = 200_000
    command = Command.shell(f"read go; seq {count}", stdin=PIPE)
    got = lost = 0
    with anyio.fail_after(LIMIT):
        async with (
            running({"a": command}, tmp_path, kept=100_000) as stack,
            await StackStream.connect(stack.client.socket) as stream,
        ):
            await stream.send(encode({"version": 1, "request": "logs", "follow": True}))
            await stack.client.send("a", b"go\n")
            await stack.client.wait()
            buffer = LineBuffer(MAX_REQUEST)
            while got + lost < count:
                buffer.feed(await stream.receive())
                while (line := buffer.take()) is not None:
                    message = json.loads(line)
                    got += message["type"] == "line"
                    lost += message.get("lines", 0)
    assert (got + lost, lost > 0) == (count, True)


@pytest.mark.anyio
async def test_crowd_of_silent_clients_gives_way_to_one_that_talks(tmp_path: Path) -> None:
    """If there is no room, the client that the stack waits for longest is disconnected."""
    launcher = FakeLauncher(default=Script(exit=None))
    with anyio.fail_after(LIMIT):
        async with (
            AsyncExitStack() as crowd,
            running({"web": "web"}, tmp_path, launcher=launcher) as stack,
        ):
            streams = []
            for _ in range(MAX_CLIENTS):
                stream = await StackStream.connect(stack.client.socket)
                streams.append(await crowd.enter_async_context(stream))
            assert await is_well(stack)
            assert await received(streams[0]) == []


@pytest.mark.anyio
async def test_client_that_leaves_while_it_waits_takes_no_place(tmp_path: Path) -> None:
    """A request without an end does not outlive its client."""
    launcher = FakeLauncher(default=Script(exit=None))
    commands = {"web": Command(["web"]), "slow": Command(["slow"], ready=line("never"))}
    with anyio.fail_after(LIMIT):
        async with running(commands, tmp_path, launcher=launcher) as stack:
            waiting: list[dict[str, object]] = [
                {"request": "start", "names": ["slow"]},
                {"request": "restart", "names": ["slow"]},
                {"request": "wait", "until": "ready"},
                {"request": "logs", "follow": True},
            ]
            for fields in waiting:
                for _ in range(2 * MAX_CLIENTS):
                    async with await StackStream.connect(stack.client.socket) as stream:
                        await stream.send(encode({"version": 1, **fields}))
                for _ in range(3):  # The stack may disconnect clients until it has read all.
                    assert len((await stack.client.list()).commands) == 2


@pytest.mark.anyio
@pytest.mark.parametrize("size", [100_000, 2_000_000])
async def test_client_that_leaves_while_a_command_reads_no_input_takes_no_place(
    tmp_path: Path, size: int
) -> None:
    """A client may type more than a command reads, and even more than the stack takes."""
    attach = encode({"version": 1, "request": "attach", "name": "deaf"})
    typed = encode({"data": b64encode(bytes(1000)).decode()})
    with anyio.fail_after(LIMIT):
        async with running({"deaf": Command.shell(EXEC_FOREVER, stdin=PIPE)}, tmp_path) as stack:
            await stack.client.wait(until="ready")
            for _ in range(MAX_CLIENTS + 4):
                async with await StackStream.connect(stack.client.socket) as stream:
                    await stream.send(attach)
                    with anyio.move_on_after(0.02):
                        await stream.send(typed * (size // 1000))
            for _ in range(3):
                assert len((await stack.client.list()).commands) == 1


@pytest.mark.anyio
async def test_command_gets_what_a_client_typed_before_it_left(tmp_path: Path) -> None:
    """The stack passes on what it has received, although the client is gone."""
    go = tmp_path / "go"
    os.mkfifo(go)
    command = Command.shell(f"read go <{go}; head -c 150000 | wc -c", stdin=PIPE)
    typed = [encode({"data": b64encode(bytes(50_000)).decode()}) for _ in range(3)]
    with anyio.fail_after(LIMIT):
        async with running({"a": command}, tmp_path) as stack:
            async with await StackStream.connect(stack.client.socket) as stream:
                await stream.send(encode({"version": 1, "request": "attach", "name": "a"}))
                assert json.loads(await stream.receive())["type"] == "attached"
                await stream.send(b"".join(typed))
            await anyio.Path(go).write_text("go\n")
            await stack.runner["a"].wait()


@pytest.mark.anyio
async def test_logs_end_though_a_command_goes_on_writing(tmp_path: Path) -> None:
    """Without `follow`, `logs` has the output up to the request."""
    with anyio.fail_after(LIMIT):
        async with running({"a": "yes"}, tmp_path, kept=100_000) as stack:
            while stack.history.cost < 50_000:
                await stack.history.arrival.wait()
            async with await StackStream.connect(stack.client.socket) as stream:
                await stream.send(encode({"version": 1, "request": "logs"}))
                assert (await received(stream))[-1] == {"type": "answer"}


@pytest.mark.anyio
async def test_client_without_a_request_is_disconnected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client has limited time for its request."""
    monkeypatch.setattr(_connected_client, "REQUEST_LIMIT", 0.05)
    launcher = FakeLauncher(default=Script(exit=None))
    with anyio.fail_after(LIMIT):
        async with running({"web": "web"}, tmp_path, launcher=launcher) as stack:
            (error,) = await talk(stack, b'{"version": 1')
    assert error["error"] == "no request has come within 0.05 s"


@pytest.mark.anyio
async def test_other_users_are_not_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process of another user is disconnected, although it could open the socket."""
    launcher = FakeLauncher(default=Script(exit=None))
    with anyio.fail_after(LIMIT):
        async with running({"web": "web"}, tmp_path, launcher=launcher) as stack:
            monkeypatch.setattr(_server, "user_of_peer", lambda _: 12345)
            assert await talk(stack, encode({"version": 1, "request": "list"})) == []
            monkeypatch.undo()


@pytest.mark.anyio
async def test_mistake_in_currant_ends_one_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unexpected error is told to the client, and the stack goes on."""
    launcher = FakeLauncher(default=Script(exit=None))
    with anyio.fail_after(LIMIT):
        async with running({"web": "web"}, tmp_path, launcher=launcher) as stack:
            monkeypatch.setattr(stack.control.commands, "select", lambda _: 1 / 0)
            with pytest.raises(RequestError, match="ZeroDivisionError") as caught:
                await stack.client.stop()
            assert caught.value.kind == "internal"
            monkeypatch.undo()
            assert await is_well(stack)
