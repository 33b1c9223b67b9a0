"""A request to a server, and the beginning of its answer."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.abc import SocketAttribute

from currant._process import exchange as module
from currant._process.exchange import exchange
from tests.ports import free_port
from tests.waiting import HOURS, LIMIT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from anyio.abc import SocketStream

pytestmark = pytest.mark.anyio


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """A server that answers each line in capitals, without its end, and then ends the answer."""

    async def answer(stream: SocketStream) -> None:
        async with stream:
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                line = b""
                while not line.endswith(b"\n"):
                    line += await stream.receive()
                await stream.send(line.upper().replace(b".", b"\n").rstrip(b"\n"))

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, answer)
        yield listener.extra(SocketAttribute.local_port)
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("request_", "most", "data"),
    [
        (b"hello\n", 100, b"HELLO"),
        (b"hello\n", 3, b"HEL"),
        (b"hello\n", 0, b""),
        (b"x" * 10_000_000 + b"\n", 4097, b"X" * 4097),
    ],
    ids=["to the end", "to the limit", "none", "more than any buffer"],
)
async def test_answer_is_received_up_to_the_limit(
    port: int, request_: bytes, most: int, data: bytes
) -> None:
    """The request is sent whole, and no more is received than asked for."""
    with anyio.fail_after(LIMIT):
        answer = await exchange("127.0.0.1", port, request_, most)
    assert answer == (data, None)


async def test_answer_ends_with_its_first_line(port: int) -> None:
    """What comes in the same packet may follow."""
    with anyio.fail_after(LIMIT):
        answer = await exchange("localhost", port, b"one.two\n", 100)
    assert answer.data.startswith(b"ONE\n")


async def test_owner_is_asked_for_a_server_of_this_machine_only(port: int) -> None:
    """The address is the one that the server was reached at."""
    asked: list[tuple[str, int]] = []

    def listens(*where: Any) -> bool:
        asked.append(where)
        return True

    with anyio.fail_after(LIMIT):
        answer = await exchange("localhost", port, b"", 0, listens)
    assert answer.is_its_own
    assert asked == [("127.0.0.1", port)]


async def test_refused_connection_is_an_error() -> None:
    """Of all addresses of a name, too."""
    with free_port() as port:
        for host in ("127.0.0.1", "localhost"):
            with anyio.fail_after(LIMIT), pytest.raises(ConnectionRefusedError):
                await exchange(host, port, b"", 0)


async def test_unknown_name_is_an_error() -> None:
    """Also one that cannot be encoded."""
    for host in ("no such name", "a" * 64 + ".b"):
        with pytest.raises((OSError, UnicodeError)):
            await exchange(host, 80, b"", 0)


async def test_address_that_does_not_answer_holds_up_no_other(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next address is tried soon, and what is under way is given up then."""
    connect, ended = module._connect_to, anyio.Event()

    async def connect_to(family: int, address: Any) -> socket.socket:
        if address == "nowhere":
            try:
                await anyio.sleep(HOURS)
            finally:
                ended.set()
        return await connect(family, address)

    async def addresses_of(host: str, port: int) -> list[Any]:
        here = (socket.AF_INET, socket.SOCK_STREAM, 0, "")
        return [(*here, "nowhere"), (*here, ("127.0.0.1", port)), (*here, "nowhere")]

    monkeypatch.setattr(module, "_connect_to", connect_to)
    monkeypatch.setattr(module, "_addresses_of", addresses_of)
    with anyio.fail_after(LIMIT):
        assert await exchange("a.name", port, b"hello\n", 10) == (b"HELLO", None)
    assert ended.is_set()


async def test_cancelled_exchange_leaves_nothing_open() -> None:
    """Neither the connection; the fixture of all tests looks for files."""
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = int(listener.extra(SocketAttribute.local_port))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(exchange, "127.0.0.1", port, b"hello\n", 10)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
