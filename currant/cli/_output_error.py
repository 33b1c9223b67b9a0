"""`OutputError`: a log or a report cannot be written."""

from __future__ import annotations

from currant._values.errors import CurrantError

__all__ = ["OutputError"]


class OutputError(CurrantError):
    """A log or a report cannot be written, because the disk is full for example.

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
