"""What a question is, and what its answer is made of: runs, medians, ratios, targets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from statistics import median
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "LINE_SIZE",
    "Figure",
    "Question",
    "Sample",
    "Samples",
    "Setting",
    "Side",
    "numbered_lines",
]

LINE_SIZE = 30
"""Bytes of a line of `numbered_lines` in the mean, its ending included."""

TEXT = b"what a command has to say, at most 40 by"


@dataclass(frozen=True, slots=True)
class Setting:
    """What each run is told.

    Attributes:
        quick: whether to take a small amount, to see that all works rather than to measure.
        folder: where temporary files go; all runs have the same one.
    """

    quick: bool
    folder: Path


Sample: TypeAlias = dict[str, float]
"""What one run of one side has measured, by the name of the quantity."""

Side: TypeAlias = Callable[[Setting], Awaitable[Sample]]
"""One run of one side."""


@dataclass(frozen=True, slots=True)
class Samples:
    """All runs of all sides of one question, on one backend."""

    runs: Mapping[str, Sequence[Sample]]

    def of(self, side: str, quantity: str) -> tuple[float, ...]:
        """Return what was measured of one quantity, in the order of the runs."""
        return tuple(sample[quantity] for sample in self.runs[side])


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the table: currant's runs beside the peer's, and what is aimed at.

    Attributes:
        what: what was measured.
        unit: the unit of both.
        ours: currant's figures, one for each run.
        peer: those of the peer, each measured right after ours.
        versus: what the peer is.
        at_least, at_most: the target for the ratio; both None: only shown.
    """

    what: str
    unit: str
    ours: Sequence[float]
    peer: Sequence[float]
    versus: str
    at_least: float | None = None
    at_most: float | None = None

    @property
    def ratio(self) -> float:
        """Ours to the peer's: the median over pairs of neighbours, which had the same noise."""
        pairs = zip(self.ours, self.peer, strict=True)
        return median(ours / peer if peer else inf for ours, peer in pairs)

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        if self.at_least is not None:
            return self.ratio >= self.at_least
        return self.ratio <= self.at_most if self.at_most is not None else None


@dataclass(frozen=True, slots=True)
class Question:
    """One question.

    Attributes:
        name: what it is called on the command line.
        runs: how often each side is run, in turn with the others.
        sides: the sides by name.
        figures: makes the answer of what was measured.
    """

    name: str
    runs: int
    sides: Mapping[str, Side]
    figures: Callable[[Samples, Setting], list[Figure]]


def numbered_lines(folder: Path, count: int) -> Path:
    """Return a file of `count` lines of 10 to 50 bytes, made by the first who asks for it.

    They differ in length so that what is read at a time ends amid a line, and not always in the
    same place.
    """
    file = folder / f"{count}.txt"
    if not file.exists():
        with file.open("wb") as out:
            out.writelines(b"%08d %s\n" % (n, TEXT[: n * 7 % 41]) for n in range(count))
    return file
