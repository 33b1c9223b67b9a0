"""Checks of arguments that several probes have: the address of a server, and the path of a file."""

from __future__ import annotations

from ipaddress import ip_address
from typing import cast

from currant._values.checks import check_count, checked_path
from currant._values.errors import CommandError

__all__ = ["checked_address", "checked_file"]


def checked_address(what: str, host: object, port: object) -> tuple[str, int]:
    """Check a host and a port, and return them.

    Raises:
        CommandError: one of them is wrong.
    """
    if not isinstance(host, str) or not host:
        raise CommandError(f"{what}: host must be a non-empty str, not {host!r}")
    if ":" in host and not _is_ip_address(host):
        raise CommandError(f"{what}: host must be a name or an address alone, not {host!r}")
    check_count(f"{what}: port", port, 65535)
    return host, cast("int", port)


def _is_ip_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def checked_file(what: str, path: object) -> str:
    """Check the path of a file, and return the path as a str.

    Raises:
        CommandError: the path is wrong.
    """
    checked = checked_path(what, path)
    if not checked:
        raise CommandError(f"{what} must not be empty")
    return checked
