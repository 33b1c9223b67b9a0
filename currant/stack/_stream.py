"""Unix sockets as byte streams, for the stack and its clients.

anyio has such streams, too.  But on asyncio (anyio 4.14 to 4.16), if a wait is cancelled in the
turn of the loop in which the socket becomes ready, the loop reports an `InvalidStateError`.  A
stack cancels a wait at the end of each request, so its log would fill with them.  These streams
wait by `anyio.wait_readable` and `anyio.wait_writable`, which do not have that fault.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import anyio
from anyio.abc import ByteStream
from anyio.lowlevel import checkpoint

if TYPE_CHECKING:
    from typing import Self

__all__ = ["StackListener", "StackStream"]

BACKLOG = 64
"""How many clients the kernel lets wait for their turn."""

RETRY_INTERVAL = 0.01
"""Seconds between two attempts to connect while the backlog is full."""


class StackStream(ByteStream):
    """A connection through a Unix socket.

    Args:
        raw: the socket, which the stream closes.

    Attributes:
        socket: the same.
    """

    def __init__(self, raw: socket.socket) -> None:
        raw.setblocking(False)  # noqa: FBT003 - the name of the method says it
        self.socket = raw
        self._send_lock = anyio.Lock()

    @classmethod
    async def connect(cls, path: str) -> Self:
        """Connect to a socket; wait while too many others do.

        Cancellation: no connection is left.

        Raises:
            OSError: no process listens there.
        """
        stream = cls(socket.socket(socket.AF_UNIX))
        try:
            while True:
                await checkpoint()
                try:
                    stream.socket.connect(path)
                except BlockingIOError:
                    await anyio.sleep(RETRY_INTERVAL)
                else:
                    return stream
        except BaseException:
            stream.socket.close()
            raise

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Return the next bytes, at most `max_bytes`; wait for the first one."""
        await checkpoint()
        while True:
            try:
                data = self.socket.recv(max_bytes)
            except BlockingIOError:
                await anyio.wait_readable(self.socket)
            except OSError as error:
                raise self._failure() from error
            else:
                if not data:
                    raise anyio.EndOfStream
                return data

    async def send(self, item: bytes) -> None:
        """Send all of `item`, waiting while the other side does not read.

        Cancellation: a part of `item` may have been sent.
        """
        async with self._send_lock:  # so that the bytes of two senders do not mix
            rest = memoryview(item)
            while rest:
                try:
                    rest = rest[self.socket.send(rest) :]
                except BlockingIOError:
                    await anyio.wait_writable(self.socket)
                except OSError as error:
                    raise self._failure() from error

    async def send_eof(self) -> None:
        """Send the end of the stream; receiving goes on."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise self._failure() from error
        await checkpoint()

    async def aclose(self) -> None:
        """Close the socket; tasks that wait for it get `ClosedResourceError`."""
        _close(self.socket)
        await checkpoint()

    def _failure(self) -> Exception:
        is_closed = self.socket.fileno() < 0
        return anyio.ClosedResourceError() if is_closed else anyio.BrokenResourceError()


class StackListener:
    """Accepts connections at a path, which only this user may use.

    Args:
        path: where to listen; the file must not exist.

    Raises:
        OSError: the socket cannot be bound.
    """

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.setblocking(False)  # noqa: FBT003 - the name of the method says it
            self._socket.bind(path)
            os.chmod(path, 0o600)
            self._socket.listen(BACKLOG)
        except BaseException:
            self._socket.close()
            raise

    async def accept(self) -> StackStream:
        """Wait for the next connection, and return it.

        Cancellation: harmless.

        Raises:
            OSError: the connection cannot be accepted now, for example for lack of descriptors.
        """
        await checkpoint()
        while True:
            try:
                raw, _ = self._socket.accept()
            except BlockingIOError:
                await anyio.wait_readable(self._socket)
            else:
                return StackStream(raw)

    def close(self) -> None:
        """Stop listening."""
        _close(self._socket)


def _close(raw: socket.socket) -> None:
    if raw.fileno() >= 0:
        anyio.notify_closing(raw)
        raw.close()
