"""`Job`: one command to run, and its number in the name of the command."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from currant._batch.rows import Row

__all__ = ["Job", "job_name", "number_of"]


class Job(NamedTuple):
    """One command to run.

    Attributes:
        number: the number in the order of the input, from 1.
        row: the values.
        block: the bytes that the command reads from stdin; None: there are none.
    """

    number: int
    row: Row
    block: bytes | None = None


def job_name(program: str, number: int) -> str:
    """Return the name of the command of a job."""
    return f"{program}#{number}"


def number_of(name: str) -> int:
    """Return the number of the job whose command has that name."""
    return int(name.rpartition("#")[2])
