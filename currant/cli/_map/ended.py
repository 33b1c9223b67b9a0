"""`Ended`: a job of `currant map` that has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from currant._batch.rows import Row
    from currant._values.results import Result
    from currant.cli._map.job import Job

__all__ = ["Ended"]


class Ended(NamedTuple):
    """A job that has ended, as all logs and reports see it.

    Attributes:
        job: the job.
        result: how the command ended.
        line_of: returns the command of a job as it is typed in a shell.
        received: bytes of stdout and stderr that came from the command.
    """

    job: Job
    result: Result
    line_of: Callable[[Job], str]
    received: int = 0

    @property
    def number(self) -> int:
        """The number of the job in the order of the input, from 1."""
        return self.job.number

    @property
    def row(self) -> Row:
        """The values of the job."""
        return self.job.row

    @property
    def line(self) -> str:
        """The command as it is typed in a shell; most jobs end without anybody asking for it."""
        return self.line_of(self.job)

    @property
    def sent(self) -> int:
        """Bytes of stdin that the command was given."""
        return 0 if self.job.block is None else len(self.job.block)
