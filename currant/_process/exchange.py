"""`exchange`: send a request to a TCP server from here, and receive the first line of its answer.

A probe asks a server from where its process lives: ``127.0.0.1`` means that host.  So this module
runs on the host, too, on the agent's loop.  It has sockets and ``wait_readable``, and neither the
streams nor the threads of anyio.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from ipaddress import ip_address
from threading import Thread
from typing import TYPE_CHECKING, Any

import anyio

from currant._values.answer import Answer

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["exchange"]


NEXT_ADDRESS = 0.25
"""Seconds after which the next address of a name is tried beside those that have not answered."""

CHUNK = 4096


async def exchange(
    host: str,
    port: int,
    request: bytes,
    most: int,
    listens: Callable[[str, int], bool | None] = lambda _address, _port: None,
) -> Answer:
    """Connect to a server, send a request, and receive the answer up to the end of a line.

    Cancellation: harmless.

    Args:
        host: the name or address of the server, as this machine knows it.
        port: its TCP port.
        request: what to send; may be empty.
        most: the most bytes to receive; 0: do not wait for an answer.
        listens: returns whether a process listens on a port at a numeric address of this machine;
            None: unknown.

    Raises:
        OSError: no server accepts the connection.
    """
    with await _connect(host, port) as connection:
        local, remote = connection.getsockname()[:2], connection.getpeername()[:2]
        # If no process listens, the kernel may choose the same port for both ends.
        if local == remote:
            raise ConnectionRefusedError("no process listens")
        data = await _converse(connection, request, most)
    address = remote[0].partition("%")[0]
    is_here = ip_address(address).is_loopback or local[0] == remote[0]
    return Answer(data, listens(address, remote[1]) if is_here else None)


async def _converse(connection: socket.socket, request: bytes, most: int) -> bytes:
    answer = b""
    with suppress(OSError):  # The server has broken off.
        while request:
            try:
                request = request[connection.send(request) :]
            except BlockingIOError:
                await anyio.wait_writable(connection.fileno())
        while len(answer) < most and b"\n" not in answer:
            try:
                data = connection.recv(min(CHUNK, most - len(answer)))
            except BlockingIOError:
                await anyio.wait_readable(connection.fileno())
                continue
            if not data:
                break
            answer += data
    return answer


async def _connect(host: str, port: int) -> socket.socket:
    """Connect to the first address of a name that accepts (RFC 8305).

    Raises:
        OSError: none does.
    """
    connected: list[socket.socket] = []
    errors: list[OSError] = []

    async def attempt(family: int, address: Any, done: anyio.Event) -> None:  # noqa: ANN401 - the family's
        try:
            connection = await _connect_to(family, address)
        except OSError as error:
            errors.append(error)
            done.set()
            return
        connected.append(connection)
        tasks.cancel_scope.cancel()

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
        return connected.pop(0)
    finally:
        for each in connected:
            each.close()


async def _connect_to(family: int, address: Any) -> socket.socket:  # noqa: ANN401
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)  # noqa: FBT003 - the name says it
        with suppress(BlockingIOError):
            connection.connect(address)
        await anyio.wait_writable(connection.fileno())
        _raise_error_of(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _raise_error_of(connection: socket.socket) -> None:
    if number := connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise OSError(number, os.strerror(number))


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
        Thread(target=look_up, daemon=True).start()
        await anyio.wait_readable(read_end)
    finally:
        os.close(read_end)
    if isinstance(found[0], Exception):
        raise found[0]
    return found


def _look_up(host: str, port: int, flags: int) -> list[Any]:
    return socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM, 0, flags)
