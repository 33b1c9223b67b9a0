"""Free ports for servers.

A socket that is bound to the port and does not listen holds the port, so the system gives the port
to no program that asks for a free port.  On Linux a server can still bind to the port if the server
sets SO_REUSEADDR, as almost all servers do.  Other systems would refuse the server, so the port is
not held there: another program may take it before the server does.
"""

from __future__ import annotations

import socket

__all__ = ["hold_free_port"]


def hold_free_port() -> tuple[int, socket.socket | None]:
    """Return the number of a free port, and the socket that holds it, if a server can share it.

    Raises:
        OSError: the system has no free port.
    """
    holder = _bound_socket(0)
    number: int = holder.getsockname()[1]
    try:
        with _bound_socket(number) as server:
            server.listen()
    except OSError:
        holder.close()
        return number, None
    return number, holder


def _bound_socket(port: int) -> socket.socket:
    """Return a socket that is bound to a port at all addresses, of both versions of IP."""
    family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
    bound = socket.socket(family)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        bound.bind(("", port))
    except BaseException:
        bound.close()
        raise
    return bound
