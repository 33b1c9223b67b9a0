"""A request to a server, and the beginning of its answer."""

from __future__ import annotations

import socket
import sys
from contextlib import AsyncExitStack, ExitStack, suppress
from threading import Thread
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.abc import SocketAttribute

from currant._process import exchange as module
from currant._process.exchange import _connect_to_path, exchange
from currant._values.exchange import Owner, Relation, Request
from tests.ports import free_port
from tests.waiting import HOURS, LIMIT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

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
        answer = await exchange(Request(("127.0.0.1", port), request_, most))
    assert answer == (data, None)


async def test_answer_ends_with_its_first_line(port: int) -> None:
    """What comes in the same packet may follow."""
    with anyio.fail_after(LIMIT):
        answer = await exchange(Request(("localhost", port), b"one.two\n", 100))
    assert answer.data.startswith(b"ONE\n")


class OneOwner:
    """Knows the same owner for each server, and records which servers it was asked about."""

    def __init__(self, relation: Relation) -> None:
        self.owner = Owner(relation, 1, "server")
        self.asked: list[object] = []

    def of_port(self, address: str, port: int) -> Owner:
        """Return the owner, and record the address and the port."""
        self.asked.append((address, port))
        return self.owner

    def of_peer(self, connection: socket.socket) -> Owner:
        """Return the owner, and record the path."""
        self.asked.append(connection.getpeername())
        return self.owner


async def test_owner_is_asked_for_a_server_of_this_machine_only(port: int) -> None:
    """The address is the one that the server was reached at."""
    owners = OneOwner("own")
    with anyio.fail_after(LIMIT):
        answer = await exchange(Request(("localhost", port)), owners)
    assert answer.owner is owners.owner
    assert owners.asked == [("127.0.0.1", port)]


@pytest.mark.parametrize("relation", ["related", "sharing", "foreign"])
async def test_server_of_another_process_is_sent_nothing(port: int, relation: Relation) -> None:
    """Its answer would not matter; with ``own=False``, it is nobody's business who answers."""
    owners = OneOwner(relation)
    request = Request(("127.0.0.1", port), b"hello\n", 10)
    with anyio.fail_after(LIMIT):
        assert await exchange(request, owners) == (b"", owners.owner)
        assert await exchange(request._replace(own=False), owners) == (b"HELLO", None)
    assert len(owners.asked) == 1


async def test_server_of_a_unix_socket_is_asked(tmp_path: Path) -> None:
    """Its owner is asked for in another way, and a file without a server refuses."""
    path = str(tmp_path / "socket")
    owners = OneOwner("own")

    async def answer(stream: SocketStream) -> None:
        async with stream:
            await stream.send((await stream.receive()).upper())

    async with (
        await anyio.create_unix_listener(path) as listener,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(listener.serve, answer)
        with anyio.fail_after(LIMIT):
            assert await exchange(Request(path, b"hello\n", 10), owners) == (
                b"HELLO\n",
                owners.owner,
            )
        assert owners.asked == [path]
        tasks.cancel_scope.cancel()
    with pytest.raises(ConnectionRefusedError):
        await exchange(Request(path))


async def test_full_queue_of_a_unix_socket_is_an_error(tmp_path: Path) -> None:
    """Such a connection is not under way, as one to a port would be."""
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as server, ExitStack() as others:
        server.bind(path)
        server.listen(0)
        with pytest.raises(BlockingIOError):
            for _ in range(10):
                others.enter_context(_connect_to_path(path))


async def test_refused_connection_is_an_error() -> None:
    """Of all addresses of a name, too."""
    with free_port() as port:
        for host in ("127.0.0.1", "localhost"):
            with anyio.fail_after(LIMIT), pytest.raises(ConnectionRefusedError):
                await exchange(Request((host, port)))


async def test_unknown_name_is_an_error() -> None:
    """Also one that cannot be encoded."""
    for host in ("no such name", "a" * 64 + ".b"):
        with pytest.raises((OSError, UnicodeError)):
            await exchange(Request((host, 80)))


async def test_thread_that_cannot_be_started_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a limit of processes, no name is looked up; the fixture of all tests looks for files."""

    def refuse(thread: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Thread, "start", refuse)
    with pytest.raises(OSError, match="can't start new thread"):
        await exchange(Request(("localhost", 1)))
    monkeypatch.undo()  # The event loop may need a thread at its end.


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
        assert await exchange(Request(("a.name", port), b"hello\n", 10)) == (b"HELLO", None)
    assert ended.is_set()


class OwnersByAddress:
    """Knows the owner of the server at each address."""

    def __init__(self, **relations: Relation) -> None:
        self.owners = {
            f"127.0.0.{address[1:]}": Owner(relation, number, "server")
            for number, (address, relation) in enumerate(relations.items())
        }

    def of_port(self, address: str, port: int) -> Owner:
        """Return the owner."""
        return self.owners[address]

    def of_peer(self, connection: socket.socket) -> Owner:
        """Refuse; all servers have ports."""
        raise NotImplementedError


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8")
@pytest.mark.parametrize(
    ("relations", "found"),
    [
        ({"_1": "foreign", "_2": "own"}, "own"),
        ({"_1": "own", "_2": "foreign"}, "own"),
        ({"_1": "foreign", "_2": "foreign", "_3": "related"}, "related"),
        ({"_1": "foreign"}, "foreign"),
    ],
    ids=["second", "first", "none", "none answers"],
)
async def test_server_of_the_command_is_looked_for_at_each_address(
    relations: dict[str, Relation], found: Relation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``localhost`` has two addresses, and another process may have one of them."""
    owners = OwnersByAddress(**relations)

    async def answer(stream: SocketStream) -> None:
        async with stream:
            await stream.send(str(stream.extra(SocketAttribute.local_address)[0]).encode() + b"\n")

    async def addresses_of(host: str, port: int) -> list[Any]:
        here = (socket.AF_INET, socket.SOCK_STREAM, 0, "")
        return [(*here, (f"127.0.0.{number}", port)) for number in (1, 2, 3)]

    monkeypatch.setattr(module, "_addresses_of", addresses_of)
    async with AsyncExitStack() as listeners, anyio.create_task_group() as tasks:
        port = 0
        for address in owners.owners:
            listener = await anyio.create_tcp_listener(local_host=address, local_port=port)
            await listeners.enter_async_context(listener)
            port = listener.extra(SocketAttribute.local_port)
            tasks.start_soon(listener.serve, answer)
        with anyio.fail_after(LIMIT):
            data, owner = await exchange(Request(("a.name", port), b"", 100), owners)
        assert owner is not None
        assert owner.relation == found
        address = next(each for each in owners.owners if owners.owners[each] == owner)
        assert data == (f"{address}\n".encode() if found == "own" else b"")
        tasks.cancel_scope.cancel()


async def test_cancelled_exchange_leaves_nothing_open() -> None:
    """Neither the connection; the fixture of all tests looks for files."""
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = int(listener.extra(SocketAttribute.local_port))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(exchange, Request(("127.0.0.1", port), b"hello\n", 10))
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
