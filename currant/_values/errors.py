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
    from collections.abc import Sequence

    from currant._values.lines import Line

__all__ = [
    "CannotStopError",
    "CommandError",
    "CommandNotFoundError",
    "CommandParseError",
    "CurrantError",
    "DependencyError",
    "DuplicateNameError",
    "EmptyCommandError",
    "JobEndedError",
    "LaunchError",
    "NotReadyError",
    "StdinClosedError",
    "TimeLimitError",
    "UnresponsiveError",
    "with_lines",
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
    """A command's program, working directory or input file is not there, or cannot be used.

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


class NotReadyError(CurrantError):
    """A command did not become ready: it ended, was stopped, or took too long.

    Attributes:
        name: the command's name.
        reason: why not.
        tail: its last lines, at most twenty.
    """

    def __init__(self, name: str, reason: str, tail: Sequence[Line] = ()) -> None:
        super().__init__(with_lines(f"{name!r} is not ready: {reason}", tail))
        self.name = name
        self.reason = reason
        self.tail: tuple[Line, ...] = tuple(tail)

    def __reduce__(self) -> tuple[type[NotReadyError], tuple[str, str, tuple[Line, ...]]]:
        return type(self), (self.name, self.reason, self.tail)


class UnresponsiveError(CurrantError):
    """A command that had been ready did not answer its probe `alive` any more.

    Attributes:
        name: the command's name.
        failures: how many times in a row.
        reason: what the last look met.
    """

    def __init__(self, name: str, failures: int, reason: str) -> None:
        super().__init__(
            f"{name!r} has failed its probe `alive` {failures} times in a row: {reason}"
        )
        self.name = name
        self.failures = failures
        self.reason = reason

    def __reduce__(self) -> tuple[type[UnresponsiveError], tuple[str, int, str]]:
        return type(self), (self.name, self.failures, self.reason)


class TimeLimitError(CurrantError):
    """A command ran for longer than it may, or than its Runner may.

    Attributes:
        name: the command's name.
        seconds: the limit.
        whose: whose limit it is: ``"command"`` or ``"runner"``.
    """

    def __init__(self, name: str, seconds: float, whose: str = "command") -> None:
        limit = "its time limit" if whose == "command" else "the Runner's time limit"
        super().__init__(f"{name!r} has run into {limit} of {seconds:g} s")
        self.name = name
        self.seconds = seconds
        self.whose = whose

    def __reduce__(self) -> tuple[type[TimeLimitError], tuple[str, float, str]]:
        return type(self), (self.name, self.seconds, self.whose)


class DependencyError(CurrantError):
    """A command was skipped: what it waited for can no longer come.

    Attributes:
        name: the command's name.
        reason: what it waited for, and why that cannot come.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name!r} was skipped: {reason}")
        self.name = name
        self.reason = reason

    def __reduce__(self) -> tuple[type[DependencyError], tuple[str, str]]:
        return type(self), (self.name, self.reason)


def with_lines(what: str, lines: Sequence[Line]) -> str:
    return "\n".join([what, *(f"    {line.stream}: {line.text}" for line in lines)])
