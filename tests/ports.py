"""Free TCP ports for programs that listen."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["free_port"]


@contextmanager
def free_port() -> Iterator[int]:
    """Yield the number of a port of 127.0.0.1 on which no process listens.

    On Linux the system gives this port to no other program that asks for any free port, because a
    socket of ours is bound to it.  A server can still listen on it if both sockets allow sharing
    (``SO_REUSEADDR``), as servers do.
    """
    with _socket_at(0) as holder:
        port: int = holder.getsockname()[1]
        try:
            with _socket_at(port) as server:
                server.listen()
        except OSError:  # Other systems do not share ports.
            holder.close()
        yield port


def _socket_at(port: int) -> socket.socket:
    found = socket.socket()
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(("127.0.0.1", port))
    except OSError:
        found.close()
        raise
    return found
