"""`Ended`: a job of `currant map` that has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from currant._values.errors import CurrantError

if TYPE_CHECKING:
    from currant._batch.rows import Row
    from currant._values.results import Result

__all__ = ["LAST_LINES", "Ended", "OutputError"]

LAST_LINES = 10
"""How many of the last lines of a failed job are shown."""


class Ended(NamedTuple):
    """A job that has ended, as all logs and reports see it.

    Attributes:
        number: the number of the job in the order of the input, from 1.
        row: the values of the job.
        line: the command as it is typed in a shell.
        result: how the command ended.
        sent: bytes of stdin that the command was given.
        received: bytes of stdout and stderr that came from the command.
    """

    number: int
    row: Row
    line: str
    result: Result
    sent: int = 0
    received: int = 0


class OutputError(CurrantError):
    """A log or a report of jobs cannot be written, because the disk is full for example.

    `__cause__` is the operating system's error.

    Attributes:
        what: what the file is, such as ``"job log"``.
        path: the path of the file.
        reason: the text of the operating system's error.
    """

    _fields = ("what", "path", "reason")

    def __init__(self, what: str, path: str, reason: str) -> None:
        super().__init__(f"cannot write the {what} {path}: {reason}")
        self.what = what
        self.path = path
        self.reason = reason

    @classmethod
    def of(cls, error: OSError, what: str, path: str) -> OutputError:
        """Build from an error of the operating system, which may name a file itself."""
        return cls(what, path, error.strerror or str(error))
