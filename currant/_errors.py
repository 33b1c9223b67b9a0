"""The family of errors that currant raises; `CurrantError` is the base of all.

A class with fields builds its message from them and keeps them, so that a program can look at what
a person reads.  Errors of a wrong command are `ValueError`s too (they are the caller's mistake), a
program that does not exist is also a `FileNotFoundError` (what `subprocess` would have raised).
A class whose arguments are not its message defines `__reduce__`, or pickle would lose them.
"""

from __future__ import annotations

from errno import ENOENT
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from currant._messages import Result

__all__ = [
    "CannotStopError",
    "CommandError",
    "CommandFailed",
    "CommandNotFoundError",
    "CommandParseError",
    "CurrantError",
    "DuplicateNameError",
    "EmptyCommandError",
    "JobEndedError",
    "LaunchError",
    "StdinClosedError",
]


class CurrantError(Exception):
    """Base class of every error that currant raises itself."""


class CommandError(CurrantError, ValueError):
    """A command was described wrongly: NUL bytes, an `=` in a variable's name, or the like."""


class EmptyCommandError(CommandError):
    """A command has no program to run: an empty sequence, an empty text, an empty first word."""

    def __init__(self, message: str = "a command needs a program to run, got nothing") -> None:
        super().__init__(message)


class CommandParseError(CommandError):
    """A text does not follow the shell's rules of quoting.

    Attributes:
        text: the text as given.
        reason: what is wrong with it.
    """

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(f"cannot parse the command {text!r}: {reason}")
        self.text = text
        self.reason = reason

    def __reduce__(self) -> tuple[type[CommandParseError], tuple[str, str]]:
        return type(self), (self.text, self.reason)


class CommandNotFoundError(CommandError, FileNotFoundError):
    """A command's program or working directory is not there, or is not something that can run.

    Raised on entry of the Runner, before any process is started.

    Attributes:
        name: the command's name.
        reason: what is missing, and where it was looked for.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"command {name!r}: {reason}")
        self.errno: int | None = ENOENT
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        # OSError.__str__ would show errno and a file name.
        return f"command {self.name!r}: {self.reason}"

    def __reduce__(self) -> tuple[type[CommandNotFoundError], tuple[str, str]]:
        return type(self), (self.name, self.reason)


class DuplicateNameError(CommandError):
    """Two commands of one Runner were given the same name.

    Attributes:
        name: the name that was given twice.
    """

    def __init__(self, name: str) -> None:
        super().__init__(f"two commands are named {name!r}; give each a name of its own")
        self.name = name

    def __reduce__(self) -> tuple[type[DuplicateNameError], tuple[str]]:
        return type(self), (self.name,)


class LaunchError(CurrantError):
    """A process could not be started; nothing of it is left behind.

    `__cause__` is the operating system's error where there was one.

    Attributes:
        name: the command's name.
        reason: why, and what to do about it.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"cannot start {name!r}: {reason}")
        self.name = name
        self.reason = reason

    def __reduce__(self) -> tuple[type[LaunchError], tuple[str, str]]:
        return type(self), (self.name, self.reason)


class CannotStopError(CurrantError):
    """A process outlived SIGKILL (in uninterruptible sleep, say on a dead network disk).

    Attributes:
        name: the command's name.
        pid: the leader of the process group that is still there.
        waited: how long it was given after SIGKILL, in seconds.
    """

    def __init__(self, name: str, pid: int, waited: float) -> None:
        super().__init__(
            f"{name!r} (process group {pid}) is still there {waited:g} s after SIGKILL; "
            "look at its state with 'ps': a process in state D waits for the kernel"
        )
        self.name = name
        self.pid = pid
        self.waited = waited

    def __reduce__(self) -> tuple[type[CannotStopError], tuple[str, int, float]]:
        return type(self), (self.name, self.pid, self.waited)


class JobEndedError(CurrantError):
    """A command that has ended, or is being stopped, was asked to restart.

    Attributes:
        name: the command's name.
        request: what was asked.
    """

    def __init__(self, name: str, request: str) -> None:
        super().__init__(f"cannot {request} {name!r}: it has ended or is being stopped")
        self.name = name
        self.request = request

    def __reduce__(self) -> tuple[type[JobEndedError], tuple[str, str]]:
        return type(self), (self.name, self.request)


class StdinClosedError(CurrantError):
    """Bytes were sent to a command that does not read them.

    Attributes:
        name: the command's name.
        reason: why nobody reads: it has no pipe, has closed it, or does not run.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"cannot send to the stdin of {name!r}: {reason}")
        self.name = name
        self.reason = reason

    def __reduce__(self) -> tuple[type[StdinClosedError], tuple[str, str]]:
        return type(self), (self.name, self.reason)


class CommandFailed(CurrantError):  # noqa: N818 - an outcome, named as in subprocess's CalledProcess
    """A command ended as a failure; `Results.check` raises a group of these.

    Attributes:
        result: the failed command's `Result`.
    """

    def __init__(self, result: Result) -> None:
        what = (
            str(result.error) if result.error is not None else f"{result.command!r}: {result.exit}"
        )
        lines = [f"    {line.stream}: {line.text}" for line in result.tail]
        super().__init__("\n".join([what, *lines]))
        self.result = result

    def __reduce__(self) -> tuple[type[CommandFailed], tuple[Result]]:
        return type(self), (self.result,)
