"""Whose server it is that listens on a TCP port, as ``/proc`` shows (Linux)."""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

from currant._system.marks import has_mark
from currant._system.proc import Census, environment_of, has_proc, parent_of, process_numbers

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["OwnServers"]


_LISTENS = b"0A"  # TCP_LISTEN, as the tables in /proc/net have it

_ANY_IPV4, _ANY_IPV6 = b"0" * 8, b"0" * 32  # 0.0.0.0 and ::, the same


class OwnServers:
    """Tells the servers that belong to one command from those of other processes.

    Args:
        group: the number of the command's process group.
        mark: what its processes have among their variables.
    """

    __slots__ = ("_foreign", "_group", "_mark")

    def __init__(self, group: int, mark: bytes) -> None:
        self._group = group
        self._mark = mark
        self._foreign = frozenset[str]()  # sockets that listen

    def listens(self, address: str, port: int) -> bool | None:
        """Tell whether it is its own process that takes connections to an address and TCP port.

        That is: a member of the group, who comes from one, or who has the mark among its variables.
        None where nobody listens there, or the system does not show who.
        """
        sockets = _serving_sockets(address, port) if has_proc() else set[str]()
        if not sockets:
            return None
        if sockets <= self._foreign:  # looking through all processes takes 0.1 ms for each
            return False
        members = set(Census().members(self._group))
        if any(_has_open(pid, sockets) for pid in members):
            return True
        owners = [pid for pid in process_numbers() if _has_open(pid, sockets)]
        if not owners:
            return None
        for pid in owners:
            if _comes_from(pid, members) or has_mark(environment_of(pid) or b"", self._mark):
                return True
        self._foreign |= sockets
        return False


def _serving_sockets(address: str, port: int) -> set[str]:
    """Return what a link to the socket looks like that takes connections there: proc(5).

    As the system chooses it: the one at that very address comes before one at all addresses, and
    for IPv4 that of IPv4 before that of IPv6, which may not take them.  Several where they share
    the port (SO_REUSEPORT).
    """
    listening = _listening_sockets(port)
    ip = ip_address(address)
    ip = getattr(ip, "ipv4_mapped", None) or ip
    if isinstance(ip, IPv6Address):
        choices = [{_as_in_proc(ip.packed)}, {_ANY_IPV6}]
    else:
        mapped = IPv6Address(f"::ffff:{ip}")
        choices = [{_as_in_proc(ip.packed), _as_in_proc(mapped.packed)}, {_ANY_IPV4}, {_ANY_IPV6}]
    for places in choices:
        if sockets := {socket for place, socket in listening if place in places}:
            return sockets
    return set()


def _listening_sockets(port: int) -> list[tuple[bytes, str]]:
    """Return the addresses at which somebody listens on a TCP port, with links to the sockets."""
    found: list[tuple[bytes, str]] = []
    for line in _lines_in("/proc/net/tcp") + _lines_in("/proc/net/tcp6"):
        words = line.split()
        place, _, number = words[1].partition(b":")
        if words[3] == _LISTENS and int(number, 16) == port:
            found.append((place, f"socket:[{words[9].decode()}]"))
    return found


def _lines_in(table: str) -> list[bytes]:
    """Return the lines of a table below its head; one read would give the first page of them."""
    try:
        with open(table, "rb") as file:
            return file.readlines()[1:]
    except OSError:
        return []


def _as_in_proc(address: bytes) -> bytes:
    """Return an address as the tables in /proc/net have it: 32 bits at a time, as the host does."""
    words = struct.unpack(f"={len(address) // 4}I", address)
    return b"".join(b"%08X" % word for word in words)


def _comes_from(pid: int, members: Collection[int]) -> bool:
    """Tell whether one of `members` is above a process, as `su` is above its user's shell."""
    above: int | None = pid
    while above:
        if above in members:
            return True
        above = parent_of(above)
    return False


def _has_open(pid: int, links: Collection[str]) -> bool:
    """Tell whether a process has a descriptor that shows as one of `links`; not known is no."""
    folder = f"/proc/{pid}/fd"
    try:
        for name in os.listdir(folder):
            with suppress(FileNotFoundError):  # closed meanwhile
                if os.readlink(f"{folder}/{name}") in links:
                    return True
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        pass
    return False
