"""A temporary file, for output that would take too much memory."""

from __future__ import annotations

from tempfile import TemporaryFile
from typing import TYPE_CHECKING
from weakref import finalize

if TYPE_CHECKING:
    from io import FileIO

__all__ = ["temporary_file", "write_all"]


def temporary_file(owner: object) -> FileIO:
    """Open a file that has no name, and is closed with its owner.

    Args:
        owner: the file is closed when this is garbage, also if a sink was cancelled.

    Raises:
        OSError: the file cannot be created.
    """
    # Without a buffer of its own, the file has no error left to report when it is closed.
    file = TemporaryFile(buffering=0)  # noqa: SIM115 - closed by `finalize`
    finalize(owner, file.close)
    return file


def write_all(file: FileIO, data: bytes | bytearray) -> None:
    """Write all of `data`, in as many parts as it takes.

    Raises:
        OSError: the disk has no room; a part may have been written.
    """
    written = 0
    while written < len(data):
        written += file.write(memoryview(data)[written:])
