"""Find out whether files were made or changed since a process has started.

The files are compared with themselves before the start.  Comparing times instead would not do: file
systems count in steps from milliseconds to seconds, and those of another host have another clock.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from currant._values.exchange import FileState

__all__ = ["FileStates"]


class FileStates:
    """The states of files since this moment, which must be before the start of the process.

    Args:
        folder: the folder at which relative paths begin; None: that of this program.
        paths: the files.

    Attributes:
        folder: as given, or empty.
    """

    __slots__ = ("_before", "folder")

    def __init__(self, folder: str | None, paths: Iterable[str]) -> None:
        self.folder = folder or ""
        self._before = {path: self._identity_of(path) for path in paths}

    def of(self, path: str) -> FileState:
        """Return the state of a file.

        Raises:
            OSError: the system does not show the file.
        """
        try:
            stat = os.stat(os.path.join(self.folder, path))
        except (FileNotFoundError, NotADirectoryError):
            return "missing"
        if _identity(stat) == self._before.get(path):
            return "old"
        return "new" if stat.st_size else "empty"

    def _identity_of(self, path: str) -> tuple[int, ...] | None:
        try:
            return _identity(os.stat(os.path.join(self.folder, path)))
        except OSError:  # The check will tell.
            return None


def _identity(stat: os.stat_result) -> tuple[int, ...]:
    """Return numbers of which one differs if the content was written, or the file replaced.

    The time `st_ctime_ns` is none of them: it also differs after a chmod, a chown or a new link.
    """
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns
