"""`exchange`: send a request to a server from here, and receive the beginning of its answer.

A probe asks a server from where its process lives: ``127.0.0.1`` means that host.  So this module
runs on the host, too, on the agent's loop.  It has sockets and ``wait_readable``, and neither the
streams nor the threads of anyio.  That is why TLS is the socket's own here.
"""

from __future__ import annotations

import os
import socket
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from threading import Thread
from typing import TYPE_CHECKING, Any, Protocol

import anyio

from currant._system.proc import has_proc
from currant._values.exchange import RELATIONS, Answer
from currant._values.http_response import waiting_for_end

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from currant._values.exchange import Owner, Request

__all__ = ["Owners", "exchange"]


NEXT_ADDRESS = 0.25
"""Seconds after which the next address of a name is tried beside those that have not answered."""

CHUNK = 4096

MAX_PATH = 104
"""One more than the bytes that the path of a Unix socket may have, on any system."""


class Owners(Protocol):
    """Knows the processes that servers of this machine belong to."""

    def of_port(self, address: str, port: int, /) -> Owner | None:
        """Return the owner of the server at a numeric address and TCP port; None: unknown."""
        ...

    def of_peer(self, connection: socket.socket, /) -> Owner | None:
        """Return the owner of the server at the other end of a Unix socket; None: unknown."""
        ...


class Stream(Protocol):
    """A connection to a server."""

    async def send(self, data: bytes, /) -> int:
        """Send the first bytes of `data`, and return how many."""
        ...

    async def receive(self, most: int, /) -> bytes:
        """Receive at most so many bytes; none if the server has ended its answer."""
        ...


async def exchange(request: Request, owners: Owners | None = None) -> Answer:
    """Connect to a server, send a request, and receive the answer.

    Cancellation: harmless.

    Args:
        request: the server, as this machine knows it, and what to send and to receive.
        owners: knows the owners of the servers of this machine; None: all of them are unknown.

    Raises:
        OSError: no server accepts the connection, or the server cannot be trusted.
    """
    server = request.server
    if not request.own:
        owners = None
    if isinstance(server, str):
        connection = _connect_to_path(server)
        owner = _owner_of(connection, owners)
    else:
        connection, owner = await _connect(*server, owners)
    with connection:
        if not _is_own(owner):
            return Answer(b"", owner)
        if request.tls is None:
            return Answer(await _converse(_Plain(connection), request), owner)
        # Only here, because the import of ssl takes 10 ms.
        from currant._process.tls import encrypted  # noqa: PLC0415

        async with encrypted(connection, server[0], request.tls) as stream:
            return Answer(await _converse(stream, request), owner)


def _owner_of(connection: socket.socket, owners: Owners | None) -> Owner | None:
    if owners is None:
        return None
    if connection.family == socket.AF_UNIX:
        return owners.of_peer(connection)
    local, (remote, port) = connection.getsockname()[0], connection.getpeername()[:2]
    address = remote.partition("%")[0]
    is_here = ip_address(address).is_loopback or local == remote
    return owners.of_port(address, port) if is_here else None


def _is_own(owner: Owner | None) -> bool:
    """Return whether a server counts as one of the command: also if its owner is unknown."""
    return owner is None or owner.relation == "own"


async def _converse(stream: Stream, request: Request) -> bytes:
    rest, answer = request.data, bytearray()
    with suppress(OSError):  # The server has broken off.
        while rest:
            rest = rest[await stream.send(rest) :]
        for _ in waiting_for_end(answer, request.until):
            if len(answer) == request.most:
                break
            data = await stream.receive(min(CHUNK, request.most - len(answer)))
            if not data:
                break
            answer += data
    return bytes(answer)


class _Plain:
    """A connection without encryption, as a `Stream`."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    async def send(self, data: bytes) -> int:
        while True:
            try:
                return self._connection.send(data)
            except BlockingIOError:
                await anyio.wait_writable(self._connection.fileno())

    async def receive(self, most: int) -> bytes:
        while True:
            try:
                return self._connection.recv(most)
            except BlockingIOError:
                await anyio.wait_readable(self._connection.fileno())


def _connect_to_path(path: str) -> socket.socket:
    """Connect to a Unix socket, which never takes long: if its queue is full, the system says so.

    Raises:
        OSError: no server accepts.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)  # noqa: FBT003 - the name says it
        with _short(path) as short:
            connection.connect(short)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def _short(path: str) -> Generator[str]:
    """Yield a path of a Unix socket that the system accepts.

    A server in a deep folder may have bound to a relative path, which is no path from here.  Linux
    has short paths of open folders.
    """
    if len(os.fsencode(path)) < MAX_PATH or not has_proc():
        yield path
        return
    folder, name = os.path.split(path)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)


async def _connect(
    host: str, port: int, owners: Owners | None
) -> tuple[socket.socket, Owner | None]:
    """Connect to the first address of a name that accepts (RFC 8305), and find the owner.

    If a process that is not the command's accepts, go on to the next address: a name such as
    ``localhost`` has an address of IPv4 and one of IPv6, and each may have a server of its own.
    If there is none of the command's, return the closest one.

    Raises:
        OSError: none accepts.
    """
    connected: list[tuple[socket.socket, Owner | None]] = []
    errors: list[OSError] = []

    async def attempt(family: int, address: Any, done: anyio.Event) -> None:  # noqa: ANN401 - the family's
        try:
            connection = await _connect_to(family, address)
        except OSError as error:
            errors.append(error)
            done.set()
            return
        owner = _owner_of(connection, owners)
        connected.append((connection, owner))
        if _is_own(owner):
            tasks.cancel_scope.cancel()
        done.set()

    found = await _addresses_of(host, port)
    try:
        async with anyio.create_task_group() as tasks:
            for family, _, _, _, address in found:
                done = anyio.Event()
                tasks.start_soon(attempt, family, address, done)
                with anyio.move_on_after(NEXT_ADDRESS):
                    await done.wait()
        if not connected:
            raise errors[-1]
        closest = min(connected, key=_rank)
        connected.remove(closest)
        return closest
    finally:
        for connection, _ in connected:
            connection.close()


def _rank(connected: tuple[socket.socket, Owner | None]) -> int:
    owner = connected[1]
    return 0 if owner is None else RELATIONS.index(owner.relation)


async def _connect_to(family: int, address: Any) -> socket.socket:  # noqa: ANN401
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)  # noqa: FBT003 - the name says it
        with suppress(BlockingIOError):
            connection.connect(address)
        await anyio.wait_writable(connection.fileno())
        _check_connected(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_connected(connection: socket.socket) -> None:
    if number := connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise OSError(number, os.strerror(number))
    # If no process listens, the kernel may choose the same port for both ends.
    if connection.getsockname() == connection.getpeername():
        raise ConnectionRefusedError("no process listens")


async def _addresses_of(host: str, port: int) -> list[Any]:
    """Return what `socket.getaddrinfo` does, without blocking the event loop."""
    with suppress(socket.gaierror):
        return _look_up(host, port, socket.AI_NUMERICHOST)
    found: list[Any] = []

    def look_up() -> None:
        try:
            found.extend(_look_up(host, port, 0))
        except Exception as error:  # also UnicodeError
            found.append(error)
        finally:
            with suppress(OSError):  # No task waits any more.
                os.write(write_end, b".")
            os.close(write_end)

    read_end, write_end = os.pipe()
    try:
        _start_thread(look_up, write_end)
        await anyio.wait_readable(read_end)
    finally:
        os.close(read_end)
    if isinstance(found[0], Exception):
        raise found[0]
    return found


def _start_thread(call: Callable[[], object], write_end: int) -> None:
    """Call a function in a thread, which closes `write_end`.

    Raises:
        OSError: the system permits no more threads.
    """
    try:
        Thread(target=call, daemon=True).start()
    except RuntimeError as error:
        os.close(write_end)
        raise OSError(str(error)) from error


def _look_up(host: str, port: int, flags: int) -> list[Any]:
    return socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM, 0, flags)
