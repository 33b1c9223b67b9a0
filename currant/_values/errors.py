"""The errors that currant raises; `CurrantError` is the base class of all of them.

If a class has fields, its message is built from them, so that a program can read the same facts as
a person.  If a command is invalid, the error is a `ValueError` too, because the caller has made a
mistake.  If a program is missing, the error is a `FileNotFoundError` too, as in `subprocess`.
"""

from __future__ import annotations

from errno import ENOENT
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    from currant._values.exit import Exit
    from currant._values.lines import Line, StreamName

__all__ = [
    "NO_CURRENT_FOLDER",
    "TIME_LIMIT_TEXTS",
    "CannotStopError",
    "CommandError",
    "CommandNotFoundError",
    "CommandParseError",
    "CurrantError",
    "DependencyError",
    "DuplicateNameError",
    "EmptyCommandError",
    "ExitStatusLostError",
    "ExpectError",
    "HostListError",
    "HostLostError",
    "HostUnreachableError",
    "JobEndedError",
    "LaunchError",
    "MissingExtraError",
    "NoCapacityError",
    "NotCapturedError",
    "NotPermittedError",
    "NotReadyError",
    "OutputDiscardedError",
    "OutputLimitError",
    "RunningLoopError",
    "SetupError",
    "SpillError",
    "StdinClosedError",
    "TimeLimitError",
    "TimeLimitKind",
    "UnknownNameError",
    "UnknownOptionError",
    "UnreadOutputWarning",
    "UnresponsiveError",
    "WrongLoopError",
    "WrongTaskError",
    "plain_text",
    "suggestion",
    "with_lines",
]


MAX_SHOWN = 20
"""Names that a message lists at most."""

MAX_QUOTED = 200
"""Bytes of output that a message quotes at most."""

CONTROLS = dict.fromkeys({*range(0x20), *range(0x7F, 0xA0)} - {ord("\t")})
"""For `str.translate`: removes the control characters of C0 and C1."""

NO_CURRENT_FOLDER = "the current folder was deleted; change to another one"
"""The message if a path is looked up from a current folder that does not exist any more."""


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
    """The command is invalid: a NUL byte, an ``=`` in the name of a variable, or the like.

    On entry of the Runner: there is no such user or group, or this program may not set a limit.
    """


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


class HostListError(CommandError):
    """A text does not describe hosts.

    Attributes:
        text: the text as given.
        reason: what is wrong with the text.
    """

    _fields = ("text", "reason")

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(f"cannot read the host list {text!r}: {reason}")
        self.text = text
        self.reason = reason


class NoCapacityError(CommandError):
    """No host could ever run a command: its host does not exist, or no host has its resources.

    Raised on entry of the Runner, before any process is started.  For a command that is added
    later, this error is the `__cause__` of a `LaunchError`.

    Attributes:
        name: the command's name.
        reason: the resource or the host that is missing, and those that there are.
    """

    _fields = ("name", "reason")

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"no host can run {name!r}: {reason}")
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
        # Built only if it is shown: `in` and `get` of a mapping raise and catch this error.
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


class SetupError(CurrantError):
    """A process cannot be set up as its command asks: its user, its limits or its sockets.

    Callers get the text within a `CommandError` or a `LaunchError`, which name the command.
    """


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
            f"{name!r} (process group {pid}) cannot be stopped: it runs as another user (sudo, "
            f"su), and this program may not signal it; stop it with 'sudo kill -- -{pid}', or run "
            "this program as that user",
        )
        self.name = name
        self.pid = pid
        self.waited: float = 0.0


class HostLostError(CurrantError):
    """The host of a process is lost, so the exit of the process will never be known.

    The agent on the host ends the process by itself, at the latest when this program has been
    silent for a time; see `currant.hosts.Hosts`.

    Attributes:
        host: the name of the host.
        reason: how the host was lost.
    """

    _fields = ("host", "reason")

    def __init__(self, host: str, reason: str) -> None:
        super().__init__(f"the host {host!r} is lost: {reason}")
        self.host = host
        self.reason = reason


class HostUnreachableError(HostLostError, ConnectionError):
    """No agent could be started on a host.

    Attributes:
        host: the name of the host.
        reason: why not, for example the last error message of ssh.
    """

    def __init__(self, host: str, reason: str) -> None:
        CurrantError.__init__(self, f"cannot reach the host {host!r}: {reason}")
        self.host = host
        self.reason = reason


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
            "and wait only for your own processes instead of os.waitpid(-1, ...)"
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
        super().__init__(
            f"cannot {request} {name!r}: the command or the Runner has ended or is being stopped; "
            "after Job.kill, await Job.wait() first"
        )
        self.name = name
        self.request = request

    @property
    def reason(self) -> str:
        """Why the request came too late, for people who do not call it from Python."""
        return str(self.__cause__ or "it has ended meanwhile, or is being stopped")


class StdinClosedError(CurrantError):
    """A command has no open stdin to write to or to close.

    Attributes:
        name: the command's name.
        reason: why not: the command has no pipe, has closed it, or is not running.
        tail: the last lines of its output if it has ended, at most twenty.
        exit: how its process ended; None if no process has ended.
    """

    _fields = ("name", "reason", "tail", "exit")

    def __init__(
        self, name: str, reason: str, tail: Sequence[Line] = (), end: Exit | None = None
    ) -> None:
        super().__init__(with_lines(f"{name!r} has no open stdin: {reason}", tail))
        self.name = name
        self.reason = reason
        self.tail: tuple[Line, ...] = tuple(tail)
        self.exit: Exit | None = end


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


class NotCapturedError(CurrantError):
    """The text of an output was asked for, and the output was not captured.

    Attributes:
        name: the command's name.
        stream: ``"stdout"`` or ``"stderr"``.
        place: where the stream went instead of to currant, such as ``"the file 'log'"``; None: it
            came to currant, and no `capture` was set.
    """

    _fields = ("name", "stream", "place")

    def __init__(self, name: str, stream: str, place: str | None = None) -> None:
        why = (
            "; give the command or its Runner capture=True, a number of last bytes, or a Capture"
            if place is None
            else f", because it went to {place}"
        )
        super().__init__(f"the {stream} of {name!r} was not captured{why}")
        self.name = name
        self.stream = stream
        self.place = place


class OutputDiscardedError(CurrantError):
    """Output was discarded before a task read it, because no task read it in time.

    The next read goes on after the gap, so a stream that is read is never silently incomplete.

    Attributes:
        name: the command's name.
        stream: ``"stdout"`` or ``"stderr"``.
        size: how many bytes are missing.
    """

    _fields = ("name", "stream", "size")

    def __init__(self, name: str, stream: StreamName, size: int) -> None:
        super().__init__(
            f"{size} bytes of the {stream} of {name!r} were discarded before a task read them; "
            "begin to read before the command has written much, and keep reading while other "
            "tasks wait for the command; the next read goes on after the gap"
        )
        self.name = name
        self.stream: StreamName = stream
        self.size = size


class ExpectError(CurrantError):
    """The output of a command did not match: its time was over, or the output has ended.

    Attributes:
        name: the command's name.
        pattern: the regular expression.
        reason: why no match will come, and how the command ended if it has.
        before: what has come since the last match, at most the last 64 KiB.
        exit: how the process ended; None if it has not, or if that is not known.
    """

    _fields = ("name", "pattern", "reason", "before", "exit")

    def __init__(
        self, name: str, pattern: bytes, reason: str, before: bytes = b"", end: Exit | None = None
    ) -> None:
        last = f"; the last output: {before[-MAX_QUOTED:]!r}" if before else "; there is no output"
        super().__init__(f"no output of {name!r} matches {pattern!r}: {reason}{last}")
        self.name = name
        self.pattern = pattern
        self.reason = reason
        self.before = before
        self.exit: Exit | None = end


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


TimeLimitKind: TypeAlias = Literal["command", "runner", "idle"]

TIME_LIMIT_TEXTS: dict[TimeLimitKind, str] = {
    "command": "exceeded its time limit of {limit}",
    "runner": "exceeded the Runner's time limit of {limit}",
    "idle": "wrote nothing for {limit}, the limit of its idle_timeout",
}
"""The text of a `TimeLimitError` after the name of the command."""


class TimeLimitError(CurrantError):
    """A command exceeded its own time limit or the limit of the Runner, or was silent for too long.

    Attributes:
        name: the command's name.
        seconds: the limit.
        kind: the kind of limit: ``"command"`` (`Command.timeout`), ``"runner"`` (`Runner.timeout`)
            or ``"idle"`` (`Command.idle_timeout`).
    """

    _fields = ("name", "seconds", "kind")

    def __init__(self, name: str, seconds: float, kind: TimeLimitKind = "command") -> None:
        super().__init__(f"{name!r} {TIME_LIMIT_TEXTS[kind].format(limit=f'{seconds:g} s')}")
        self.name = name
        self.seconds = seconds
        self.kind: TimeLimitKind = kind


class SpillError(CurrantError):
    """The output of a command cannot be written to the file of `Capture.spill`.

    `__cause__` is the operating system's error.

    Attributes:
        name: the command's name.
        path: the file, which lacks output.
        reason: why the file cannot be written.
    """

    _fields = ("name", "path", "reason")

    def __init__(self, name: str, path: str, reason: str) -> None:
        super().__init__(f"{name!r} has failed: its output cannot be written to {path!r}: {reason}")
        self.name = name
        self.path = path
        self.reason = reason


class OutputLimitError(CurrantError):
    """A command wrote more than it may.

    Attributes:
        name: the command's name.
        limit: the number of bytes that each attempt may write, stdout and stderr together.
    """

    _fields = ("name", "limit")

    def __init__(self, name: str, limit: int) -> None:
        super().__init__(f"{name!r} wrote more than {limit} bytes, the limit of its max_output")
        self.name = name
        self.limit = limit


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
        advice: where the call works, and what to do elsewhere.
    """

    _fields = ("call", "advice")

    def __init__(
        self,
        call: str,
        advice: str = "works only in the event loop in which the Runner was entered; from another "
        "thread, use anyio.from_thread.run; from a signal handler, only kill and throw work",
    ) -> None:
        super().__init__(f"{call} {advice}")
        self.call = call
        self.advice = advice


class WrongTaskError(CurrantError, RuntimeError):
    """A Runner was left in another task than the one that entered it, and cannot go on there.

    All commands have been stopped.  The text names the ways out: enter and leave the block in one
    task, as the fixtures of anyio's pytest plugin do, or use a `currant.blocking.Runner`, or the
    fixtures of `currant.pytest_plugin`.
    """

    def __init__(
        self,
        message: str = (
            "a task left a Runner that another running task had entered; all its commands were "
            "stopped; enter and leave a Runner in the same task, as in the fixtures of a test that "
            "is marked with pytest.mark.anyio (close an async generator that yields inside the "
            "block with contextlib.aclosing); or use currant.blocking.Runner, which any task may "
            "leave; or, in tests, the fixture 'processes' of currant.pytest_plugin"
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


# Tracebacks show the path by which users import a class.  `pickle` finds the class there, too.
for _name in {*__all__} - {"SetupError"}:
    if _name.endswith(("Error", "Warning")):
        globals()[_name].__module__ = "currant"


def with_lines(message: str, lines: Sequence[Line]) -> str:
    """Return `message` followed by `lines`, one on each line, indented and with their stream.

    The lines come without escape sequences and control characters: a traceback is shown on a
    terminal, and the last lines of a program may clear the screen.
    """
    return "\n".join([message, *(f"    {line.stream}: {plain_text(line)}" for line in lines)])


def plain_text(line: Line) -> str:
    """Return the text of a line without escape sequences and control characters, but with tabs."""
    # Not above: the pattern needs Python 3.11, and this module is sent to hosts with Python 3.9.
    from currant._values.escape_sequences import ESCAPE_SEQUENCE  # noqa: PLC0415

    text = ESCAPE_SEQUENCE.sub(b"", line.data).decode(errors="replace")
    return text.translate(CONTROLS)


def suggestion(name: object, known: Sequence[str]) -> str:
    """Return the end of a message about an unknown name: the names that there are, if any."""
    if not known:
        return ""
    from difflib import get_close_matches  # noqa: PLC0415 - for errors only

    close: Sequence[str] = ()
    if isinstance(name, str):
        common = name.rpartition(".")[0]  # of "web.2", which may be one command
        close = [common] if common in known else get_close_matches(name, known, 1)
    begin = f"; did you mean {str(close[0])!r}? There are" if close else "; there are"
    shown = ", ".join(repr(str(each)) for each in known[:MAX_SHOWN])
    more = f" and {len(known) - MAX_SHOWN} more" if len(known) > MAX_SHOWN else ""
    return f"{begin}: {shown}{more}"
