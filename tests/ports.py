"""Numbers of TCP ports that a program is given to listen on."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["free_port"]


@contextmanager
def free_port() -> Iterator[int]:
    """Give the number of a port of 127.0.0.1 that nobody listens on.

    On Linux nobody gets it who only asks for any port: a socket has it that does not listen.  A
    server may have it beside that where both are ready to share it (``SO_REUSEADDR``), as servers
    are.
    """
    with _socket_at(0) as holder:
        port: int = holder.getsockname()[1]
        try:
            with _socket_at(port) as server:
                server.listen()
        except OSError:  # other systems do not share
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
