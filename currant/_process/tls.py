"""TLS on a connected socket that does not block, with the standard library alone.

`exchange` imports this module at its first use: most probes need no TLS, and a host may have a
Python without ssl.
"""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING, TypeVar

import anyio

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncGenerator, Callable

    from currant._values.exchange import Tls

__all__ = ["encrypted"]

T = TypeVar("T")


@asynccontextmanager
async def encrypted(connection: socket.socket, name: str, tls: Tls) -> AsyncGenerator[_Encrypted]:
    """Agree with the server on keys, and yield the connection; close the connection at the end.

    Args:
        connection: a connected socket that does not block; it is closed in any case.
        name: the name or address that the certificate of the server must be for.
        tls: the certificates to trust.

    Raises:
        OSError: the server does not speak TLS, its certificate is not valid, or the file of
            certificates cannot be read.
    """
    context = _context_for(tls)
    with context.wrap_socket(
        connection, server_hostname=name, do_handshake_on_connect=False
    ) as secure:
        stream = _Encrypted(secure)
        try:
            await stream.call(secure.do_handshake)
        except ssl.SSLCertVerificationError as error:
            raise ConnectionError(
                f"its certificate is not accepted: {error.verify_message}; name the file of its "
                "authority with ca, or pass verify=False to the probe"
            ) from error
        except ssl.SSLError as error:
            raise ConnectionError(f"it does not speak TLS: {error.reason or error}") from error
        yield stream


def _context_for(tls: Tls) -> ssl.SSLContext:
    if not tls.verify:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    if tls.ca is None:
        return _usual_context()
    try:
        return ssl.create_default_context(cafile=tls.ca)
    except OSError as error:  # also an SSLError, if the file has no certificate
        reason = error.strerror or error
        raise ConnectionError(f"cannot read the certificates in {tls.ca}: {reason}") from error


@cache  # Reading a hundred authorities takes 60 ms.
def _usual_context() -> ssl.SSLContext:
    return ssl.create_default_context()


class _Encrypted:
    """A connection with TLS."""

    def __init__(self, connection: ssl.SSLSocket) -> None:
        self._connection = connection

    async def send(self, data: bytes) -> int:
        """Send the first bytes of `data`, and return how many."""
        return await self.call(lambda: self._connection.send(data))

    async def receive(self, most: int) -> bytes:
        """Receive at most so many bytes; none if the server has ended its answer."""
        return await self.call(lambda: self._connection.recv(most))

    async def call(self, call: Callable[[], T]) -> T:
        """Repeat a call until it neither needs to read nor to write first."""
        while True:
            try:
                return call()
            except ssl.SSLWantReadError:
                await anyio.wait_readable(self._connection.fileno())
            except ssl.SSLWantWriteError:
                await anyio.wait_writable(self._connection.fileno())
