"""`LogFile`: a file that output is appended to; it is rotated by size, and may fail for a while.

The file is opened for each write.  So each write finds out whether the disk has room again, or
whether the folder is back, and no clock is needed for that.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, TypeAlias

from currant.sinks._warning import warn

if TYPE_CHECKING:
    from io import FileIO
    from pathlib import Path

__all__ = ["LogFile", "OnError"]

OnError: TypeAlias = Literal["raise", "warn"]
"""The reaction to a file that cannot be written: an error, or a warning and lost output."""


class LogFile:
    """A file that output is appended to.

    Args:
        path: the file.
        max_bytes: the size at which the file is rotated; None: never.
        backups: how many rotated files are kept.
        on_error: the reaction to a file that cannot be written.
        mode: the permissions of a new file, less the umask.
        contents: what is lost if the file cannot be written, for the warnings.

    Attributes:
        path: as given.
        lost: the bytes that could not be written so far.
    """

    def __init__(
        self,
        path: Path,
        max_bytes: int | None,
        backups: int,
        on_error: OnError,
        mode: int = 0o666,
        contents: str = "output",
    ) -> None:
        self.path = path
        self._contents = contents
        self._opener = partial(_open_without_waiting, mode=mode)
        self._max_bytes = max_bytes
        self._backups = backups
        self._on_error = on_error
        self._unwritten = b""
        self.lost = 0
        self._problems: dict[str, str] = {}  # the last error of each action

    def add(self, data: bytes) -> None:
        """Append `data`; create the file if necessary.

        Raises:
            OSError: the file cannot be written or rotated, and `on_error` is ``"raise"``.  The
                error names the file.
        """
        self._unwritten = data
        try:
            while self._write(self._max_bytes):
                if not self._rotate():
                    self._write(None)
                    return
        except OSError as error:
            self._raise_or_warn(
                error,
                "write",
                f"{self._contents} is lost until the file can be written again; free space, or "
                "correct the path",
            )
            self.lost += len(self._unwritten)
            self._unwritten = b""

    def warn_of_loss(self) -> None:
        """Warn of all that was lost so far."""
        if self.lost:
            reason = self._problems["write"]
            warn(f"{str(self.path)!r} lacks {self.lost} bytes of {self._contents}: {reason}")

    def _write(self, limit: int | None) -> bool:
        """Write as much as fits into the file; return whether anything is left."""
        with self._open() as log:
            filled = log.tell()
            self._append(log, self._unwritten[: _fitting(self._unwritten, filled, limit)])
        return bool(self._unwritten)

    def _open(self) -> FileIO:
        try:
            return open(self.path, "ab", buffering=0, opener=self._opener)
        except FileNotFoundError:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return open(self.path, "ab", buffering=0, opener=self._opener)

    def _append(self, log: FileIO, data: bytes) -> None:
        """Write all of `data`.  After an error, whole lines stay, and a part of a line goes."""
        begin = log.tell()
        written = 0
        try:
            while written < len(data):
                written += log.write(memoryview(data)[written:])
        except OSError:
            end = begin + written
            written = data.rfind(b"\n", 0, written) + 1
            with suppress(OSError):
                if log.seek(0, os.SEEK_END) == end:  # No other program has appended.
                    log.truncate(begin + written)
            raise
        finally:
            self._unwritten = self._unwritten[written:]

    def _rotate(self) -> bool:
        """Rename the files; return False if that is impossible, so that this file has to grow."""
        names = [self.path]
        names += [self.path.with_name(f"{self.path.name}.{n + 1}") for n in range(self._backups)]
        try:
            if not self._backups:
                self.path.unlink(missing_ok=True)
            for newer, older in reversed(list(pairwise(names))):
                with suppress(FileNotFoundError):
                    newer.replace(older)
        except OSError as error:
            self._raise_or_warn(error, "rotate", "the file grows beyond max_bytes")
            return False
        return True

    def _raise_or_warn(self, error: OSError, action: str, consequence: str) -> None:
        """Raise `error` with the path, or warn if this is the first error of that action."""
        if self._on_error == "raise":
            if error.filename is None:
                error.filename = str(self.path)
            raise error
        reason = error.strerror or str(error)
        if action not in self._problems:
            warn(f"cannot {action} {str(self.path)!r}: {reason}; {consequence}")
        self._problems[action] = reason


def _open_without_waiting(path: str, flags: int, mode: int) -> int:
    """Open a file; a named pipe without a reader is an error, and not a wait for the reader."""
    return os.open(path, flags | os.O_NONBLOCK, mode)


def _fitting(data: bytes, filled: int, limit: int | None) -> int:
    """Return how many bytes of `data` fit into a file that holds `filled` bytes."""
    if limit is None or filled + len(data) <= limit:
        return len(data)
    lines = data.rfind(b"\n", 0, max(0, limit - filled)) + 1
    if lines or filled:
        return lines
    return data.find(b"\n") + 1 or len(data)  # One line is longer than a file may be.
