"""`ConnectedClient`: the stack's end of a connection, and for how long the stack waits for it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import anyio

from currant.stack._errors import RequestError
from currant.stack._protocol import MAX_REQUEST, LineBuffer, encode, parse_request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from currant.stack._protocol import Request
    from currant.stack._stream import StackStream

__all__ = ["MAX_CLIENTS", "ConnectedClient"]

MAX_CLIENTS = 32

REQUEST_LIMIT = 10.0
"""Seconds that a client has to write its request."""


class ConnectedClient:
    """A client of a stack, at the end of the stack.

    Attributes:
        stream: the connection.
        scope: is cancelled to disconnect the client.
        gone: is set once the client is disconnected.
        is_refused: whether there are too many clients.
        has_asked: whether the request of the client has come.
    """

    def __init__(self, stream: StackStream) -> None:
        self.stream = stream
        self.scope = anyio.CancelScope()
        self.gone = anyio.Event()
        self.is_refused = False
        self.has_asked = False
        self._reading_since: float | None = anyio.current_time()
        self._writing_since: float | None = None
        self._lines = LineBuffer(MAX_REQUEST)

    @property
    def waits_since(self) -> float | None:
        """When the stack began to wait for the client; None: it does not wait.

        It waits for the request, for room to write, and for a command to read what was typed.
        """
        begun = (each for each in (self._reading_since, self._writing_since) if each is not None)
        return min(begun, default=None)

    async def receive_request(self) -> Request:
        """Receive the request.

        Raises:
            RequestError: the request is wrong or late, or there are too many clients.
            anyio.EndOfStream, anyio.BrokenResourceError: the client is gone.
        """
        if self.is_refused:
            raise RequestError("busy", f"{MAX_CLIENTS} clients are connected to this stack")
        line: bytes | None = None
        with anyio.move_on_after(REQUEST_LIMIT):
            line = await self.receive_line()
        self._reading_since, self.has_asked = None, True
        if line is None:
            raise RequestError("request", f"no request has come within {REQUEST_LIMIT:g} s")
        return parse_request(line)

    async def receive_line(self) -> bytes:
        """Receive the next line.

        Raises:
            RequestError: the line is too long.
            anyio.EndOfStream, anyio.BrokenResourceError: the client is gone.
        """
        while (line := self._lines.take()) is None:
            self._lines.feed(await self.stream.receive())
        return line

    async def wait_gone(self) -> None:
        """Wait until the client has closed the connection; ignore further lines."""
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
            while True:
                await self.stream.receive()

    async def read_ahead(self) -> None:
        """Keep further lines for `receive_line`, until this is cancelled.

        As soon as the client has gone, or has sent as much as is kept, the stack waits for it.
        """
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
            while self._lines.size < MAX_REQUEST:
                self._lines.feed(await self.stream.receive())
        self._reading_since = anyio.current_time()
        try:
            await anyio.sleep_forever()
        finally:
            self._reading_since = None

    async def send(self, value: Mapping[str, object]) -> None:
        """Send an object."""
        await self.send_bytes(encode(value))

    async def send_bytes(self, data: bytes) -> None:
        """Send lines."""
        self._writing_since = anyio.current_time()
        try:
            await self.stream.send(data)
        finally:
            self._writing_since = None
