"""The errors that currant raises; `CurrantError` is the base class of all of them.

If a class has fields, its message is built from them, so that a program can read the same facts as
a person.  If a command is invalid, the error is a `ValueError` too, because the caller has made a
mistake.  If a program is missing, the error is a `FileNotFoundError` too, as in `subprocess`.
"""

from __future__ import annotations

from errno import ENOENT
from typing import TYPE_CHECKING, Any, ClassVar

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
    "ExitStatusLostError",
    "JobEndedError",
    "LaunchError",
    "MissingExtraError",
    "NotPermittedError",
    "NotReadyError",
    "RunningLoopError",
    "StdinClosedError",
    "TimeLimitError",
    "UnknownNameError",
    "UnknownOptionError",
    "UnreadOutputWarning",
    "UnresponsiveError",
    "WrongLoopError",
    "WrongTaskError",
    "suggestion",
    "with_lines",
]


MAX_SHOWN = 20
"""Names that a message lists at most."""


class CurrantError(Exception):
    """Base class of every error that currant itself raises.

    All of them can be pickled and copied.
    """

    _fields: ClassVar[tuple[str, ...]] = ()
    """The arguments of the class, by the names of the attributes that hold them."""

    def __reduce__(self) -> tuple[type[CurrantError], tuple[object, ...], dict[str, Any]]:
        # BaseException would call the class with `args`, but a class with fields puts the message
        # there.  The third value restores what was added later: notes, for example.
        arguments = tuple(getattr(self, name) for name in self._fields)
        return type(self), arguments or self.args, vars(self)


class CommandError(CurrantError, ValueError):
    """The command is invalid: a NUL byte, an ``=`` in the name of a variable, or the like."""


class EmptyCommandError(CommandError):
    """The command has no program to run: an empty sequence, text or first word."""

    def __init__(self, message: str = "a command needs a program to run, got nothing") -> None:
        super().__init__(message)


class CommandParseError(CommandError):
    """The text of a command breaks the shell's quoting rules, or needs a shell.

    Attributes:
        text: the text as given.
        reason: the rule that it breaks, or the part that needs a shell and what to do instead.
    """

    _fields = ("text", "reason")

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(f"cannot parse the command {text!r}: {reason}")
        self.text = text
        self.reason = reason


class CommandNotFoundError(CommandError, FileNotFoundError):
    """A command's program, working directory or file is missing or cannot be used.

    Raised on entry of the Runner, before any process is started.

    Attributes:
        name: the command's name.
        reason: the path that is missing, and the places searched.
    """

    _fields = ("name", "reason")
    errno: int | None = ENOENT

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"command {name!r}: {reason}")
        self.name = name
        self.reason = reason


class DuplicateNameError(CommandError):
    """Two commands of one Runner were given the same name.

    Attributes:
        name: the name that was given twice.
    """

    _fields = ("name",)

    def __init__(self, name: str) -> None:
        super().__init__(f"two commands are named {name!r}; give each a unique name")
        self.name = name


class UnknownNameError(CurrantError, KeyError):
    """There is no command, or no result, of that name.

    Attributes:
        name: the name that was asked for.
        known: the names that there are.
        problem: why there is nothing of that name.
    """

    _fields = ("name", "known", "problem")

    def __init__(self, name: object, known: Sequence[str], problem: str | None = None) -> None:
        super().__init__(name)
        self.name = name
        self.known: tuple[str, ...] = tuple(known)
        self.problem: str = f"there is no command {name!r}" if problem is None else problem

    def __str__(self) -> str:
        # Built when it is shown: `in` and `get` of a mapping raise this error to no reader.
        return self.problem + suggestion(self.name, self.known)


class UnknownOptionError(CommandError, TypeError):
    """A keyword argument that does not exist was given, or too many positional arguments."""


class MissingExtraError(CurrantError, ModuleNotFoundError):
    """An optional package is not installed.

    Attributes:
        purpose: the feature that needs the package.
        package: the package.
        extra: the extra of currant that installs the package.
    """

    _fields = ("purpose", "package", "extra")

    def __init__(self, purpose: str, package: str, extra: str) -> None:
        super().__init__(
            f"{purpose} need the package {package}: pip install 'currant[{extra}]'", name=package
        )
        self.purpose = purpose
        self.package = package
        self.extra = extra


class LaunchError(CurrantError):
    """A process could not be started, and nothing is left behind.

    `__cause__` is the operating system's error, if there was one.

    Attributes:
        name: the command's name.
        reason: the cause, and what to do about it.
    """

    _fields = ("name", "reason")

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"cannot start {name!r}: {reason}")
        self.name = name
        self.reason = reason


class CannotStopError(CurrantError):
    """A process survived SIGKILL, in uninterruptible sleep on a dead network disk for example.

    Attributes:
        name: the command's name.
        pid: the process group that still exists, by the pid of its leader.
        waited: seconds that currant waited after SIGKILL.
    """

    _fields: ClassVar[tuple[str, ...]] = ("name", "pid", "waited")

    def __init__(self, name: str, pid: int, waited: float) -> None:
        super().__init__(
            f"{name!r} (process group {pid}) still exists {waited:g} s after SIGKILL; "
            "look at its state with 'ps': a process in state D waits for the kernel"
        )
        self.name = name
        self.pid = pid
        self.waited = waited


class NotPermittedError(CannotStopError):
    """A command changed its user, as `sudo` and `su` do, so this program may not signal it.

    Attributes:
        name: the command's name.
        pid: the process group that still exists, by the pid of its leader.
        waited: 0.0, because currant gives the command up at once.
    """

    _fields = ("name", "pid")

    def __init__(self, name: str, pid: int) -> None:
        CurrantError.__init__(
            self,
            f"{name!r} (process group {pid}) cannot be stopped: this program lacks the permission "
            "to signal it, because it runs as another user, through sudo or su for example; stop "
            f"it with 'sudo kill -- -{pid}', and run this program as that user",
        )
        self.name = name
        self.pid = pid
        self.waited: float = 0.0


class ExitStatusLostError(CurrantError):
    """A command has ended, and its exit status is unknown: another part of this program took it.

    The system reports an exit status once, to the first who asks.  The command has failed, because
    nothing shows that it succeeded, and no policy restarts it.

    Attributes:
        name: the command's name.
    """

    _fields = ("name",)

    def __init__(self, name: str) -> None:
        super().__init__(
            f"the exit status of {name!r} is lost: another part of this program reaped the "
            "process, or SIGCHLD is ignored; keep SIGCHLD at signal.SIG_DFL while commands run, "
            "and replace os.waitpid(-1, ...), in a SIGCHLD handler for example, by a wait for "
            "each process that the program itself has started"
        )
        self.name = name


class JobEndedError(CurrantError):
    """The request came too late: the command or its Runner has ended or is being stopped.

    `__cause__` is the error that the command ended with, if there was one.

    Attributes:
        name: the command's name.
        request: the request, such as ``"restart"``.
    """

    _fields = ("name", "request")

    def __init__(self, name: str, request: str) -> None:
        super().__init__(f"cannot {request} {name!r}: it has ended or is being stopped")
        self.name = name
        self.request = request


class StdinClosedError(CurrantError):
    """Bytes were sent to a command that does not read its stdin.

    Attributes:
        name: the command's name.
        reason: why no process reads them: the command has no pipe, has closed it, or is not
            running.
        tail: the last lines of its output if it has ended, at most twenty.
    """

    _fields = ("name", "reason", "tail")

    def __init__(self, name: str, reason: str, tail: Sequence[Line] = ()) -> None:
        super().__init__(with_lines(f"cannot send to the stdin of {name!r}: {reason}", tail))
        self.name = name
        self.reason = reason
        self.tail: tuple[Line, ...] = tuple(tail)


class NotReadyError(CurrantError):
    """A command did not become ready: it ended, was stopped, or took too long.

    Attributes:
        name: the command's name.
        reason: why the command is not ready.
        tail: the last lines of its output, at most twenty.
    """

    _fields = ("name", "reason", "tail")

    def __init__(self, name: str, reason: str, tail: Sequence[Line] = ()) -> None:
        super().__init__(with_lines(f"{name!r} is not ready: {reason}", tail))
        self.name = name
        self.reason = reason
        self.tail: tuple[Line, ...] = tuple(tail)


class UnresponsiveError(CurrantError):
    """A command that had been ready no longer passes its `alive` probe.

    Attributes:
        name: the command's name.
        failures: the number of failures in a row.
        reason: the result of the last probe.
    """

    _fields = ("name", "failures", "reason")

    def __init__(self, name: str, failures: int, reason: str) -> None:
        super().__init__(f"{name!r} failed its `alive` probe {failures} times in a row: {reason}")
        self.name = name
        self.failures = failures
        self.reason = reason


class TimeLimitError(CurrantError):
    """A command exceeded its own time limit or the limit of the Runner.

    Attributes:
        name: the command's name.
        seconds: the limit.
        whose: the owner of the limit: ``"command"`` or ``"runner"``.
    """

    _fields = ("name", "seconds", "whose")

    def __init__(self, name: str, seconds: float, whose: str = "command") -> None:
        limit = "its time limit" if whose == "command" else "the Runner's time limit"
        super().__init__(f"{name!r} exceeded {limit} of {seconds:g} s")
        self.name = name
        self.seconds = seconds
        self.whose = whose


class RunningLoopError(CurrantError, RuntimeError):
    """A call that starts an event loop was made in a thread that runs one already.

    Attributes:
        call: the call, such as ``"currant.run"``.
    """

    _fields = ("call",)

    def __init__(self, call: str) -> None:
        super().__init__(
            f"{call} starts an event loop, but this thread runs one already, as a notebook does; "
            "write 'await currant.run_process(...)' here, or for several commands "
            "'async with Runner(...) as runner: await runner.join()'"
        )
        self.call = call


class WrongLoopError(CurrantError, RuntimeError):
    """A call came from a thread, a signal handler or an event loop where it cannot work.

    The call has changed nothing.  Only `Runner.kill`, `Job.kill` and `KillBarrier.throw` work from
    everywhere.

    Attributes:
        call: the call, such as ``"Runner.join"``.
    """

    _fields = ("call",)

    def __init__(self, call: str) -> None:
        super().__init__(
            f"{call} was called outside of the event loop in which the Runner was entered; from "
            "another thread, use anyio.from_thread (only kill and throw work from everywhere)"
        )
        self.call = call


class WrongTaskError(CurrantError, RuntimeError):
    """A Runner was left in another task than the one that entered it, and cannot go on there.

    All commands have been stopped.
    """

    def __init__(
        self,
        message: str = (
            "a Runner was entered in one task and left in another; all its commands were stopped; "
            "enter and leave it in the same task: do not yield inside of its block in an async "
            "generator, or close the generator in the task that iterates (contextlib.aclosing)"
        ),
    ) -> None:
        super().__init__(message)


class DependencyError(CurrantError):
    """A command was skipped, because a condition that it waited for can no longer come true.

    Attributes:
        name: the command's name.
        reason: the condition, and why it cannot come true.
    """

    _fields = ("name", "reason")

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name!r} was skipped: {reason}")
        self.name = name
        self.reason = reason


class UnreadOutputWarning(UserWarning):
    """Output is discarded: the commands have waited for a reader, but no task reads the Runner.

    Issued once for each Runner, for the line that built the Runner.  See ``Runner(unread=...)``.

    Attributes:
        name: the name of the command whose output was discarded first.
        seconds: for how long the commands have waited.
    """

    def __init__(self, name: str, seconds: float) -> None:
        super().__init__(
            f"output of {name!r} is discarded: no task reads this Runner, and the commands have "
            f"waited for {seconds:g} s.  Read the Runner ('async for message in runner'), pass a "
            "sink, or build the Runner with iterable=False if no task will read it; with "
            "unread='wait', the commands wait for a reader"
        )
        self.name = name
        self.seconds = seconds

    def __reduce__(self) -> tuple[type[UnreadOutputWarning], tuple[str, float]]:
        return type(self), (self.name, self.seconds)


def with_lines(message: str, lines: Sequence[Line]) -> str:
    """Return `message` followed by `lines`, one on each line, indented and with their stream."""
    return "\n".join([message, *(f"    {line.stream}: {line.text}" for line in lines)])


def suggestion(name: object, known: Sequence[str]) -> str:
    """Return the end of a message about an unknown name: the names that there are, if any."""
    if not known:
        return ""
    from difflib import get_close_matches  # noqa: PLC0415 - for errors only

    close = get_close_matches(name, known, 1) if isinstance(name, str) else []
    begin = f"; did you mean {str(close[0])!r}? There are" if close else "; there are"
    shown = ", ".join(repr(str(each)) for each in known[:MAX_SHOWN])
    more = f" and {len(known) - MAX_SHOWN} more" if len(known) > MAX_SHOWN else ""
    return f"{begin}: {shown}{more}"
