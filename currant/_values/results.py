"""`Result`: how a command ended; `Results`: how all commands of a Runner ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

from currant._values.capture import NOTHING_OMITTED, Omitted, decode_around
from currant._values.errors import (
    CurrantError,
    HostLostError,
    LaunchError,
    NotCapturedError,
    NotReadyError,
    OutputLimitError,
    UnknownNameError,
    with_lines,
)
from currant._values.launch_spec import Places

if TYPE_CHECKING:
    from currant._values.exit import Exit
    from currant._values.lines import Line, StreamName
    from currant._values.usage import Usage

__all__ = ["CommandFailed", "Result", "Results", "Status", "end_of", "lost_host"]


Status: TypeAlias = Literal["succeeded", "failed", "stopped", "skipped"]

MAX_SHOWN = 200
"""Bytes of an output that a repr shows; of a longer output it shows the size."""


@dataclass(frozen=True, slots=True, repr=False)
class Result:
    """How a command ended; if it was run again after an end, how one of its lives did.

    Its repr shows an output of more than 200 bytes by its size.

    Attributes:
        command: the command's name.
        exit: how the last attempt ended; None if there was no attempt or its launch failed.
        error: why the command could not be started or stopped, was not ready or not alive, exceeded
            a time limit, or was skipped; None otherwise.
        status: ``"succeeded"``, ``"failed"``, ``"stopped"`` (by currant, never a failure) or
            ``"skipped"`` (never started, because a condition of `Command.after` could not come
            true).
        attempts: the number of starts in this life, failed launches included.
        duration: seconds from the first start to the end, delays before restarts included.
        started_at: the time of the first start, in seconds since the epoch; None if the command was
            never started.
        stdout: the stdout of the last attempt as bytes, if `capture` is set; None otherwise, and
            if stdout goes to a file.  If a `Capture` left out the middle, these are the bytes
            before and after, joined.
        stderr: the stderr of the last attempt in the same way.
        tail: the last lines of the last attempt, both streams together, at most twenty.
        usage: the processor time and memory that the last attempt has used; None if there was no
            attempt, if another part of the program reaped the process, or if the event loop did
            (on systems without pidfds, such as macOS).
        omitted: the numbers of bytes that `capture` left out of `stdout` and of `stderr`.
        places: where `stdout` and `stderr` went, as texts such as ``"the file 'log'"``; None for a
            stream that came to currant.
        host: the host of the last attempt; None: this machine, or the attempt has not started.
    """

    command: str
    exit: Exit | None
    error: CurrantError | None
    status: Status
    attempts: int
    duration: float
    started_at: float | None
    stdout: bytes | None = None
    stderr: bytes | None = None
    tail: tuple[Line, ...] = field(default=(), repr=False)
    usage: Usage | None = field(default=None, repr=False)
    omitted: Omitted = NOTHING_OMITTED
    places: Places = field(default=Places(), repr=False)
    host: str | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        names = (each.name for each in fields(self) if each.repr)
        shown = (f"{name}={_shown(getattr(self, name))}" for name in names)
        return f"Result({', '.join(shown)})"

    @property
    def text(self) -> str:
        """`stdout` decoded as UTF-8; U+FFFD replaces invalid bytes.

        If bytes were left out, a line such as ``[... 1,234,567 bytes omitted ...]`` is in their
        place.  A character that was cut there, or at the end by `Command.max_output`, is left out
        of the text as a whole.

        Raises:
            NotCapturedError: `capture` was not set, or stdout went to a file.
        """
        return self._decoded("stdout", self.stdout, self.omitted.stdout)

    @property
    def stderr_text(self) -> str:
        """`stderr` decoded in the same way.

        Raises:
            NotCapturedError: `capture` was not set, or stderr went to a file.
        """
        return self._decoded("stderr", self.stderr, self.omitted.stderr)

    def _decoded(self, stream: StreamName, kept: bytes | None, omitted: int) -> str:
        if kept is None:
            raise NotCapturedError(self.command, stream, getattr(self.places, stream))
        is_cut = isinstance(self.error, OutputLimitError)
        return decode_around(kept, self.omitted.after, omitted, is_cut=is_cut)


def _shown(value: object) -> str:
    is_long = isinstance(value, bytes) and len(value) > MAX_SHOWN
    return f"<{len(cast('bytes', value))} bytes>" if is_long else repr(value)


def end_of(result: Result) -> CurrantError | Exit | Status:
    """Return what says best how the command ended, as a text."""
    return result.error or result.exit or result.status


def lost_host(error: BaseException | None) -> HostLostError | None:
    """Return the loss of a host that `error` is, or that is its cause; None if there is none."""
    if isinstance(error, LaunchError):
        error = error.__cause__
    return error if isinstance(error, HostLostError) else None


class Results(Mapping[str, Result]):
    """The results of a Runner's commands: a mapping from their names, in the order given.

    An unknown name raises `UnknownNameError`, which is a `KeyError` and lists the names.
    """

    __slots__ = ("_results",)

    def __init__(self, results: Mapping[str, Result]) -> None:
        self._results = dict(results)

    def __getitem__(self, name: str) -> Result:
        try:
            return self._results[name]
        except KeyError:
            problem = f"there is no result of {name!r}, which has not ended or does not exist"
            raise UnknownNameError(name, tuple(self._results), problem) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._results)

    def __len__(self) -> int:
        return len(self._results)

    def __repr__(self) -> str:
        return f"Results({self._results!r})"

    @property
    def ok(self) -> bool:
        """Whether no command has failed."""
        return not self.failed

    @property
    def failed(self) -> Results:
        """The results of the commands that failed."""
        return Results({name: each for name, each in self.items() if each.status == "failed"})

    def check(self) -> None:
        """Raise an error if a command has failed.

        Raises:
            ExceptionGroup: a group with one `CommandFailed` for each failed command.
        """
        if failed := self.failed:
            errors = [CommandFailed(result) for result in failed.values()]
            raise ExceptionGroup(f"{len(failed)} of {len(self)} commands failed", errors)


class CommandFailed(CurrantError):  # noqa: N818 - an outcome, named as in subprocess's CalledProcess
    """A command has failed; `Results.check` raises a group of them.

    Attributes:
        result: the failed command's `Result`.
    """

    __module__ = "currant"

    _fields = ("result",)

    def __init__(self, result: Result) -> None:
        if isinstance(result.error, NotReadyError):  # the message of this error has a tail already
            message = f"{result.command!r} is not ready: {result.error.reason}"
        elif result.error is not None:
            message = str(result.error)
        else:
            message = f"{result.command!r}: {result.exit}"
        super().__init__(with_lines(message, result.tail))
        self.result = result
