"""Check the listening sockets that a command takes over."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from socket import SO_ACCEPTCONN, SOCK_DGRAM, SOL_SOCKET, socket
from typing import cast

from currant._values.errors import CommandError

__all__ = ["checked_listeners"]


def checked_listeners(value: object) -> tuple[socket, ...]:
    """Check that `value` is a sequence of open sockets that listen, and return it as a tuple."""
    if isinstance(value, (str, bytes, socket)) or not isinstance(value, Iterable):
        raise CommandError(f"listen must be a sequence of sockets, such as [socket], not {value!r}")
    given = tuple(cast("Iterable[object]", value))
    for number, each in enumerate(given):
        if not isinstance(each, socket):
            raise CommandError(f"listen[{number}] must be a socket.socket, not {each!r}")
        if each.fileno() < 0:
            raise CommandError(f"listen[{number}] is closed")
        if not _listens(each):
            raise CommandError(f"listen[{number}] does not listen; call its method listen() first")
    return cast("tuple[socket, ...]", given)


def _listens(each: socket) -> bool:
    if each.type == SOCK_DGRAM:  # A datagram socket receives without listening.
        return True
    with suppress(OSError):  # The system cannot tell.
        return bool(each.getsockopt(SOL_SOCKET, SO_ACCEPTCONN))
    return True
