"""`Row`: the values of one job."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Row"]


class Row(NamedTuple):
    """The values of one job.

    Attributes:
        values: the values.
        names: the names of the columns, if they have names.
    """

    values: tuple[str, ...]
    names: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The values, joined by spaces."""
        return " ".join(self.values)
