"""What a question is, and what its answer is made of: runs, medians, ratios, targets."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from statistics import median
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = [
    "BACKENDS",
    "CUT_OFF",
    "NO_LOOP",
    "Figure",
    "LoopSide",
    "PlainSide",
    "Question",
    "Row",
    "Runs",
    "Sample",
    "Setting",
    "Trial",
    "figures_of",
    "numbered_lines",
]

BACKENDS = ("asyncio", "uvloop", "trio")
"""The event loops, by the names they have here."""

NO_LOOP = ""
"""What stands for the backend of a side that has nothing to do with an event loop."""

CUT_OFF = "cut off"
"""The quantity that is 1 in a sample of a run that had to be ended before its time."""


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

Runs: TypeAlias = dict[tuple[str, str], list[Sample]]
"""The samples of each side on each backend, in the order of the runs."""


@dataclass(frozen=True, slots=True)
class LoopSide:
    """A side that runs in an event loop, once on each.

    Attributes:
        run: one run.
        requires: a module or program without which it is skipped.
        backends: the event loops that it knows.
    """

    run: Callable[[Setting], Awaitable[Sample]]
    requires: str | None = None
    backends: tuple[str, ...] = BACKENDS

    @property
    def missing(self) -> bool:
        """Whether it has to be skipped."""
        return not _installed(self.requires)


@dataclass(frozen=True, slots=True)
class PlainSide:
    """A side that has nothing to do with an event loop.

    Attributes:
        run: one run.
        requires: a module or program without which it is skipped.
    """

    run: Callable[[Setting], Sample]
    requires: str | None = None

    @property
    def missing(self) -> bool:
        """Whether it has to be skipped."""
        return not _installed(self.requires)


def _installed(name: str | None) -> bool:
    return name is None or shutil.which(name) is not None or find_spec(name) is not None


@dataclass(frozen=True, slots=True)
class Row:
    """What is to be told of the samples: one figure for each backend of our side.

    Attributes:
        what: what was measured.
        unit: the unit of both; one that ends with "/s" is a rate, of which more is better.
        quantity: which of the quantities.
        peer: the side that is compared with; None: none is.
        versus: what the peer is.
        of: the peer's quantity, where that has another name.
        ours: our side.
        at_least, at_most: the target for the ratio of ours to the peer's.
        limit: the target for our figure itself.
    """

    what: str
    unit: str
    quantity: str
    peer: str | None = None
    versus: str = ""
    of: str | None = None
    ours: str = "currant"
    at_least: float | None = None
    at_most: float | None = None
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """Sides that are run in turn, and what is told of them.

    Attributes:
        name: what it is called in the JSON.
        runs: how often each side is run.
        sides: the sides by name.
        rows: the rows, by the amounts that a setting means.
    """

    name: str
    runs: int
    sides: Mapping[str, LoopSide | PlainSide]
    rows: Callable[[Setting], Sequence[Row]]


@dataclass(frozen=True, slots=True)
class Question:
    """One question: its name on the command line, and the trials that answer it."""

    name: str
    trials: Sequence[Trial]


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table.

    Attributes:
        question: the name of the question.
        row: what is told.
        backend: the event loop of our side, or `NO_LOOP`.
        ours: our figures, one for each run.
        peer: those of the peer, each measured in the same turn; empty where there is none.
        versus: what the peer is, and whether its runs had to be cut off.
    """

    question: str
    row: Row
    backend: str
    ours: Sequence[float]
    peer: Sequence[float]
    versus: str

    @property
    def ratio(self) -> float | None:
        """Ours to the peer's: the median over pairs from one turn, which had the same noise."""
        if not self.peer or not all(self.peer):
            return None
        return median(ours / peer for ours, peer in zip(self.ours, self.peer, strict=True))

    @property
    def times_as_good(self) -> float | None:
        """The ratio, or its reciprocal where less is better."""
        ratio = self.ratio
        if ratio is None or self.row.unit.endswith("/s"):
            return ratio
        return 1 / ratio if ratio else None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        row, ratio = self.row, self.ratio
        if row.limit is not None:  # of nothing, no run may have more
            return (median(self.ours) if row.limit else max(self.ours)) <= row.limit
        if ratio is not None and row.at_least is not None:
            return ratio >= row.at_least
        return ratio <= row.at_most if ratio is not None and row.at_most is not None else None


def figures_of(question: str, rows: Sequence[Row], runs: Runs) -> Iterator[Figure]:
    """Make the figures of one trial; rows whose peer did not run are left out."""
    for row in rows:
        for (side, backend), samples in runs.items():
            if side != row.ours:
                continue
            theirs, versus = _peer_of(row, backend, runs)
            if row.peer is None or theirs:
                yield Figure(
                    question,
                    row,
                    backend,
                    ours=[sample[row.quantity] for sample in samples],
                    peer=[sample[row.of or row.quantity] for sample in theirs],
                    versus=versus,
                )


def _peer_of(row: Row, backend: str, runs: Runs) -> tuple[Sequence[Sample], str]:
    """Return the peer's samples on `backend`, without any, or else on asyncio; and its name."""
    versus = row.versus
    for candidate in (backend, NO_LOOP, "asyncio"):
        samples = runs.get((row.peer or "", candidate))
        if samples:
            if candidate not in {backend, NO_LOOP}:
                versus += f", on {candidate}"
            if count := sum(sample.get(CUT_OFF, 0) for sample in samples):
                versus += f"; {count:.0f} of {len(samples)} runs cut off"
            return samples, versus
    return (), versus


def numbered_lines(folder: Path, count: int, size: int) -> Path:
    """Return a file of `count` lines of about `size` bytes, made by the first who asks for it.

    They differ in length, by 40 bytes, so that what is read at a time ends amid a line, and not
    always in the same place.
    """
    file = folder / f"{count}-of-{size}.txt"
    if not file.exists():
        text = b"x" * (size + 10)
        with file.open("wb") as out:
            out.writelines(b"%08d %s\n" % (n, text[: size - 30 + n * 7 % 41]) for n in range(count))
    return file
