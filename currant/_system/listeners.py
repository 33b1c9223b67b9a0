"""Find the process that listens on a TCP port, with the help of ``/proc`` (Linux)."""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

from currant._system.marks import has_mark
from currant._system.proc import (
    ProcessSnapshot,
    environment_of,
    has_proc,
    parent_of,
    process_numbers,
)

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["OwnServers"]


_LISTENS = b"0A"  # TCP_LISTEN in the tables of /proc/net

_ANY_IPV4, _ANY_IPV6 = b"0" * 8, b"0" * 32  # 0.0.0.0 and ::, in the same form


class OwnServers:
    """Distinguishes the servers of one command from the servers of other processes.

    Args:
        group: the number of the command's process group.
        mark: a variable, as ``name=value``, in the environment of all processes of the command.
    """

    __slots__ = ("_foreign_sockets", "_group", "_mark")

    def __init__(self, group: int, mark: bytes) -> None:
        self._group = group
        self._mark = mark
        self._foreign_sockets = frozenset[str]()

    def listens(self, address: str, port: int) -> bool | None:
        """Return whether a process of the command accepts connections to an address and TCP port.

        A process counts if it is in the group, descends from a member, or has the mark in its
        environment.  Return None if no process listens there, or if the system does not show which.
        """
        sockets = _serving_sockets(address, port) if has_proc() else set[str]()
        if not sockets:
            return None
        if sockets <= self._foreign_sockets:  # Searching all processes takes 0.1 ms for each.
            return False
        members = set(ProcessSnapshot().members(self._group))
        if any(_has_open(pid, sockets) for pid in members):
            return True
        owners = [pid for pid in process_numbers() if _has_open(pid, sockets)]
        if not owners:
            return None
        for pid in owners:
            if _descends_from(pid, members) or has_mark(environment_of(pid) or b"", self._mark):
                return True
        self._foreign_sockets |= sockets
        return False


def _serving_sockets(address: str, port: int) -> set[str]:
    """Return the sockets that accept connections there, as ``socket:[inode]``: see proc(5).

    The choice is the system's: a socket at exactly this address comes before a socket at all
    addresses, and for IPv4 an IPv4 socket comes before an IPv6 socket, which may not accept IPv4.
    Several sockets may share the port (SO_REUSEPORT).
    """
    listening = _listening_sockets(port)
    ip = ip_address(address)
    ip = getattr(ip, "ipv4_mapped", None) or ip
    if isinstance(ip, IPv6Address):
        choices = [{_as_in_proc(ip.packed)}, {_ANY_IPV6}]
    else:
        mapped = IPv6Address(f"::ffff:{ip}")
        choices = [{_as_in_proc(ip.packed), _as_in_proc(mapped.packed)}, {_ANY_IPV4}, {_ANY_IPV6}]
    for addresses in choices:
        if sockets := {socket for bound, socket in listening if bound in addresses}:
            return sockets
    return set()


def _listening_sockets(port: int) -> list[tuple[bytes, str]]:
    """Return the addresses of all sockets that listen on a TCP port, with links to the sockets."""
    found: list[tuple[bytes, str]] = []
    for line in _rows_of("/proc/net/tcp") + _rows_of("/proc/net/tcp6"):
        words = line.split()
        address, _, number = words[1].partition(b":")
        if words[3] == _LISTENS and int(number, 16) == port:
            found.append((address, f"socket:[{words[9].decode()}]"))
    return found


def _rows_of(table: str) -> list[bytes]:
    """Return the lines of a table without its head; a single read would return the first page."""
    try:
        with open(table, "rb") as file:
            return file.readlines()[1:]
    except OSError:
        return []


def _as_in_proc(address: bytes) -> bytes:
    """Return an address in the form of /proc/net: in 32-bit words of host byte order."""
    words = struct.unpack(f"={len(address) // 4}I", address)
    return b"".join(b"%08X" % word for word in words)


def _descends_from(pid: int, members: Collection[int]) -> bool:
    """Return whether a process is in `members` or a descendant, as a shell is of a `su`."""
    ancestor: int | None = pid
    while ancestor:
        if ancestor in members:
            return True
        ancestor = parent_of(ancestor)
    return False


def _has_open(pid: int, links: Collection[str]) -> bool:
    """Return whether a process has one of `links` open; False if that is unknown."""
    folder = f"/proc/{pid}/fd"
    try:
        for name in os.listdir(folder):
            with suppress(FileNotFoundError):  # closed in the meantime
                if os.readlink(f"{folder}/{name}") in links:
                    return True
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        pass
    return False
