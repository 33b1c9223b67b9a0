"""`Result`: how a command ended; `Results`: how all commands of a Runner ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from currant._values.errors import CurrantError, NotReadyError, UnknownNameError, with_lines

if TYPE_CHECKING:
    from currant._values.exit import Exit
    from currant._values.lines import Line

__all__ = ["CommandFailed", "Result", "Results", "Status"]


Status: TypeAlias = Literal["succeeded", "failed", "stopped", "skipped"]


@dataclass(frozen=True, slots=True)
class Result:
    """How a command ended; if it was run again after an end, how one of its lives did.

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
            if stdout goes to a file.
        stderr: the stderr of the last attempt in the same way.
        tail: the last lines of the last attempt, both streams together, at most twenty.
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
