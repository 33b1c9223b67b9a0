"""The errors of a stack and of its clients."""

from __future__ import annotations

from typing import Literal, TypeAlias

from currant._values.errors import CurrantError

__all__ = [
    "ErrorKind",
    "NoStackError",
    "ProtocolVersionError",
    "RequestError",
    "StackError",
    "StackFolderError",
    "StackRunningError",
]

ErrorKind: TypeAlias = Literal["request", "unknown_name", "failed", "version", "busy", "internal"]
"""Why a stack refused a request; see `RequestError`."""


class StackError(CurrantError):
    """Base class of the errors of a stack."""

    __module__ = "currant.stack"


class NoStackError(StackError):
    """No stack runs in a folder.

    Attributes:
        folder: the folder; its parents have no stack either.
    """

    __module__ = "currant.stack"

    _fields = ("folder",)

    def __init__(self, folder: str) -> None:
        super().__init__(
            f"no stack runs in {folder}; start one with 'currant start', or in the background "
            "with 'currant start -d'"
        )
        self.folder = folder


class StackRunningError(StackError):
    """A stack of the same folder runs already.

    Attributes:
        folder: the folder.
        pid: the process of that stack; None if it has just begun.
    """

    __module__ = "currant.stack"

    _fields = ("folder", "pid")

    def __init__(self, folder: str, pid: int | None) -> None:
        process = "" if pid is None else f" (pid {pid})"
        super().__init__(
            f"a stack of {folder} runs already{process}: 'currant ps' shows it, 'currant up NAME' "
            "starts a command in it, 'currant down' ends it"
        )
        self.folder = folder
        self.pid = pid


class StackFolderError(StackError):
    """There is no safe place for the socket of a stack, or for its log.

    Attributes:
        path: the path that cannot be used.
        reason: why.
        file: ``"socket"`` or ``"log"``.
    """

    __module__ = "currant.stack"

    _fields = ("path", "reason", "file")

    def __init__(self, path: str, reason: str, file: Literal["socket", "log"] = "socket") -> None:
        super().__init__(f"no place for the {file} of a stack: {path}: {reason}")
        self.path = path
        self.reason = reason
        self.file: Literal["socket", "log"] = file


class ProtocolVersionError(StackError):
    """The stack speaks another version of the protocol.

    Attributes:
        ours: the version of this program.
        theirs: the version of the stack.
    """

    __module__ = "currant.stack"

    _fields = ("ours", "theirs")

    def __init__(self, ours: int, theirs: int) -> None:
        super().__init__(
            f"the stack speaks version {theirs} of the protocol, and this currant version {ours}; "
            "use the currant that started the stack, or start the stack again"
        )
        self.ours = ours
        self.theirs = theirs


class RequestError(StackError):
    """The stack has refused a request, or could not carry it out.

    Attributes:
        kind: ``"request"``: the request is wrong; ``"unknown_name"``: there is no such command;
            ``"failed"``: it was not possible; ``"busy"``: too many clients; ``"version"``: another
            version of the protocol; ``"internal"``: a mistake in currant.
        reason: the text of the stack.
    """

    __module__ = "currant.stack"

    _fields = ("kind", "reason")

    def __init__(self, kind: ErrorKind, reason: str) -> None:
        super().__init__(reason)
        self.kind: ErrorKind = kind
        self.reason = reason
