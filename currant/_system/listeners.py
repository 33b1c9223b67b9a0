"""Find the process that a server belongs to, with the help of ``/proc`` (Linux).

``/proc`` shows the open files of processes of the same user, and to root those of all.  So a server
that Docker or systemd has opened as root is unknown to other users.
"""

from __future__ import annotations

import os
import socket
import struct
from contextlib import suppress
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

from currant._system.marks import command_of, has_mark
from currant._system.proc import (
    ProcessSnapshot,
    environment_of,
    has_proc,
    name_of,
    parent_of,
    process_numbers,
)
from currant._values.exchange import RELATIONS, Owner

if TYPE_CHECKING:
    from collections.abc import Collection

    from currant._values.exchange import Relation

__all__ = ["ServerOwners"]


_LISTENS = b"0A"  # TCP_LISTEN in the tables of /proc/net

_ANY_IPV4, _ANY_IPV6 = b"0" * 8, b"0" * 32  # 0.0.0.0 and ::, in the same form


class ServerOwners:
    """Distinguishes the servers of one command from the servers of other processes.

    A process belongs to the command if it is in the group, descends from a member, or has the mark
    in its environment.

    Args:
        group: the number of the command's process group.
        mark: a variable, as ``name=value``, in the environment of all processes of the command.
        run: the run in the mark, which other commands of the same Runner have, too.
    """

    __slots__ = ("_group", "_mark", "_others", "_run")

    def __init__(self, group: int, mark: bytes, run: str) -> None:
        self._group = group
        self._mark = mark
        self._run = run
        self._others: dict[str, Owner] = {}  # by socket

    def of_port(self, address: str, port: int) -> Owner | None:
        """Return the process that accepts connections to an address and TCP port.

        Return None if no process listens there, or if the system does not show which.
        """
        sockets = _serving_sockets(address, port) if has_proc() else set[str]()
        if not sockets:
            return None
        # The members come first at each call, since another process may hand its socket over.
        members = set(ProcessSnapshot().members(self._group))
        holders = [pid for pid in members if _has_open(pid, sockets)]
        if not holders:
            known = [self._others.get(each) for each in sockets]
            if all(known):  # Searching all processes takes 0.1 ms for each.
                return known[0]
            holders = [pid for pid in process_numbers() if _has_open(pid, sockets)]
        if not holders:
            return None
        owner = min((self._owner(pid, members) for pid in sorted(holders)), key=_rank)
        if owner.relation == "foreign" and _can_be_shared(address, port):
            owner = owner._replace(relation="sharing")
        if owner.relation != "own":
            self._others.update(dict.fromkeys(sockets, owner))
        return owner

    def of_peer(self, connection: socket.socket) -> Owner | None:
        """Return the process at the other end of a Unix socket, which has made the server listen.

        Return None if the process has ended, or if the system does not show it.  A foreign process
        does not keep the path: another server may replace the file.
        """
        pid = _pid_of_peer(connection) if has_proc() else 0
        # This program listens for a command that it hands the socket over to.
        if pid in (0, os.getpid()) or parent_of(pid) is None:
            return None
        owner = self._owner(pid, set(ProcessSnapshot().members(self._group)))
        return owner._replace(relation="sharing") if owner.relation == "foreign" else owner

    def _owner(self, pid: int, members: Collection[int]) -> Owner:
        environment = environment_of(pid) or b""
        relation: Relation = "foreign"
        if _descends_from(pid, members) or has_mark(environment, self._mark):
            relation = "own"
        elif command_of(environment, self._run) or _descends_from(parent_of(pid), {os.getpid()}):
            relation = "related"
        return Owner(relation, pid, name_of(pid))


def _rank(owner: Owner) -> int:
    return RELATIONS.index(owner.relation)


def _can_be_shared(address: str, port: int) -> bool:
    """Return whether another server may listen beside the servers at an address and port.

    That is so if all of them have the option ``SO_REUSEPORT``, which ``/proc`` does not show.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
                trial.setsockopt(socket.SOL_SOCKET, option, 1)
            trial.bind((address, port))
    except OSError:
        return False
    return True


def _pid_of_peer(connection: socket.socket) -> int:
    """Return the pid at the other end of a Unix socket; 0 if it is in another container."""
    pid, _, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, _SO_PEERCRED, 12))
    return int(pid)


_SO_PEERCRED = 17  # <asm-generic/socket.h>; `socket` has the name on Linux only


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
        if sockets := {link for bound, link in listening if bound in addresses}:
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


def _descends_from(pid: int | None, members: Collection[int]) -> bool:
    """Return whether a process is in `members` or a descendant, as a shell is of a `su`."""
    ancestor = pid
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
