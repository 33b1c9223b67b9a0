"""The name of a command as a part of a file name."""

from __future__ import annotations

__all__ = ["as_file_name", "as_folder_name"]

ESCAPES = str.maketrans({"%": "%25", "/": "%2F", "\0": "%00"})
"""What a file name cannot hold, and the percent sign, which marks an escape."""


def as_file_name(command: str) -> str:
    """Return the name of a command, escaped as in a URL where a file name needs that."""
    return command.translate(ESCAPES)


def as_folder_name(host: str) -> str:
    """Return the name of a host in the same way; ``.`` and ``..`` are no names of folders."""
    return host.replace(".", "%2E") if not host.strip(".") else as_file_name(host)
