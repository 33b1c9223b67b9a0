"""How commands ended: `Result` of one command, `Results` of all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from currant._values.errors import CurrantError, NotReadyError, with_lines

if TYPE_CHECKING:
    from currant._values.exit import Exit
    from currant._values.lines import Line

__all__ = ["CommandFailed", "Result", "Results", "Status"]


Status: TypeAlias = Literal["succeeded", "failed", "stopped", "skipped"]


@dataclass(frozen=True, slots=True)
class Result:
    """How a command ended.

    Attributes:
        command: the command's name.
        exit: how its last attempt ended; None where that could not be started or never was.
        error: why it could not be started or stopped, was not ready or not alive, took too long, or
            was skipped; None otherwise.
        status: ``"succeeded"``, ``"failed"``, ``"stopped"`` (by us; never a failure) or
            ``"skipped"`` (never started, since what it waited for cannot come).
        attempts: how often it was started, or tried to be.
        duration: seconds from the first start to the end, waits before restarts included.
        started_at: when it was first started, in seconds since the epoch; None where it never was.
        stdout: what the last attempt wrote, where `capture` was asked for; None otherwise.
        stderr: the same of its stderr.
        tail: the last lines of the last attempt, both streams, at most twenty.
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
    """The results of a Runner's commands by name, in the order in which they were given."""

    __slots__ = ("_results",)

    def __init__(self, results: Mapping[str, Result]) -> None:
        self._results = dict(results)

    def __getitem__(self, name: str) -> Result:
        return self._results[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._results)

    def __len__(self) -> int:
        return len(self._results)

    def __repr__(self) -> str:
        return f"Results({self._results!r})"

    @property
    def ok(self) -> bool:
        """Whether none has failed."""
        return not self.failed

    @property
    def failed(self) -> Results:
        """The results of the commands that failed."""
        return Results({n: result for n, result in self.items() if result.status == "failed"})

    def check(self) -> None:
        """Return where none has failed.

        Raises:
            ExceptionGroup: of one `CommandFailed` for each command that has.
        """
        if failed := self.failed:
            errors = [CommandFailed(result) for result in failed.values()]
            raise ExceptionGroup(f"{len(failed)} of {len(self)} commands failed", errors)


class CommandFailed(CurrantError):  # noqa: N818 - an outcome, named as in subprocess's CalledProcess
    """A command ended as a failure; `Results.check` raises a group of these.

    Attributes:
        result: the failed command's `Result`.
    """

    _fields = ("result",)

    def __init__(self, result: Result) -> None:
        if isinstance(result.error, NotReadyError):  # it shows lines of its own
            what = f"{result.command!r} is not ready: {result.error.reason}"
        elif result.error is not None:
            what = str(result.error)
        else:
            what = f"{result.command!r}: {result.exit}"
        super().__init__(with_lines(what, result.tail))
        self.result = result
