"""`Ended`: a job of `currant map` that has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from currant._batch.rows import Row
    from currant._values.results import Result

__all__ = ["Ended"]


class Ended(NamedTuple):
    """A job that has ended, as all logs and reports see it.

    Attributes:
        number: the number of the job in the order of the input, from 1.
        row: the values of the job.
        line: the command as it is typed in a shell.
        result: how the command ended.
        sent: bytes of stdin that the command was given.
        received: bytes of stdout and stderr that came from the command.
    """

    number: int
    row: Row
    line: str
    result: Result
    sent: int = 0
    received: int = 0
