"""What a process is started with."""

from __future__ import annotations

from dataclasses import dataclass

from currant._values.checks import check_size

__all__ = ["Pty"]


@dataclass(frozen=True, slots=True)
class Pty:
    """A pseudo-terminal for a command, by its size.

    Attributes:
        rows: how many lines it has, from 1 to 65535.
        columns: how many characters a line has, from 1 to 65535.

    Raises:
        CommandError: one of them is something else.
    """

    rows: int = 24
    columns: int = 80

    def __post_init__(self) -> None:
        for what, number in (("rows", self.rows), ("columns", self.columns)):
            check_size(what, number)
