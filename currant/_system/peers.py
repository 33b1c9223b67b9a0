"""The user behind the other end of a Unix socket, as the kernel knows it."""

from __future__ import annotations

import struct
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from socket import socket

__all__ = ["user_of_peer"]

_IS_LINUX = sys.platform == "linux"
_SOL_SOCKET, _SO_PEERCRED = 1, 17  # <asm-generic/socket.h> of Linux
_SOL_LOCAL, _LOCAL_PEERCRED = 0, 1  # <sys/un.h> of macOS; `socket` does not have these names
_XUCRED = struct.Struct("@IIh16I")  # version, user, number of groups, groups


def user_of_peer(connection: socket) -> int | None:
    """Return the user ID of the process that connected; None if the system does not tell.

    The ID is that of the moment of the connection, so the process cannot change it later.
    """
    try:
        if _IS_LINUX:
            _, user, _ = struct.unpack("3i", connection.getsockopt(_SOL_SOCKET, _SO_PEERCRED, 12))
        else:
            told = connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED.size)
            user = _XUCRED.unpack(told)[1]
    except (OSError, struct.error):
        return None
    return int(user)
