"""The types of questions and answers: trials, sides, rows; runs, medians, ratios, targets."""

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
"""The names of the event loops."""

NO_LOOP = ""
"""The backend of a side that uses no event loop."""

CUT_OFF = "cut off"
"""The name of a quantity that is 1 if a run was ended early, because it took too long."""


@dataclass(frozen=True, slots=True)
class Setting:
    """The setting of each run.

    Attributes:
        quick: whether to use a small amount, to check that all works rather than to measure.
        folder: the folder of temporary files, shared by all runs.
    """

    quick: bool
    folder: Path


Sample: TypeAlias = dict[str, float]
"""The values that one run of one side has measured, by the name of the quantity."""

Runs: TypeAlias = dict[tuple[str, str], list[Sample]]
"""The samples of each side on each backend, in the order of the runs."""


@dataclass(frozen=True, slots=True)
class LoopSide:
    """A side that needs an event loop; it runs on each.

    Attributes:
        run: does one run.
        requires: a module or program; if it is not installed, the side is skipped.
        backends: the event loops that the side supports.
    """

    run: Callable[[Setting], Awaitable[Sample]]
    requires: str | None = None
    backends: tuple[str, ...] = BACKENDS

    @property
    def missing(self) -> bool:
        """Whether the required module or program is not installed."""
        return not _installed(self.requires)


@dataclass(frozen=True, slots=True)
class PlainSide:
    """A side that needs no event loop.

    Attributes:
        run: does one run.
        requires: a module or program; if it is not installed, the side is skipped.
    """

    run: Callable[[Setting], Sample]
    requires: str | None = None

    @property
    def missing(self) -> bool:
        """Whether the required module or program is not installed."""
        return not _installed(self.requires)


def _installed(name: str | None) -> bool:
    return name is None or shutil.which(name) is not None or find_spec(name) is not None


@dataclass(frozen=True, slots=True)
class Row:
    """A row to report: one figure for each backend of our side.

    Attributes:
        what: a description of the measurement.
        unit: the unit of both figures; if it ends with "/s", more is better, otherwise less.
        quantity: the name of the quantity in the samples.
        peer: the side to compare with; None: no peer.
        versus: a description of the peer.
        of: the name of the peer's quantity, if that differs.
        ours: the name of our side.
        at_least, at_most: the target for the ratio of our figure to the peer's.
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
    """Sides that run in turn, and the rows to report.

    Attributes:
        name: its name in the JSON file.
        runs: the number of runs of each side.
        sides: the sides by name.
        rows: returns the rows for a setting, on which the amounts depend.
    """

    name: str
    runs: int
    sides: Mapping[str, LoopSide | PlainSide]
    rows: Callable[[Setting], Sequence[Row]]


@dataclass(frozen=True, slots=True)
class Question:
    """A question: its name on the command line, and the trials that answer it."""

    name: str
    trials: Sequence[Trial]


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table.

    Attributes:
        question: the name of the question.
        row: the row that it belongs to.
        backend: the event loop of our side, or `NO_LOOP`.
        ours: our figures, one for each run.
        peer: the peer's figures, each measured in the same turn; empty without a peer.
        versus: a description of the peer, and how many of its runs were cut off.
    """

    question: str
    row: Row
    backend: str
    ours: Sequence[float]
    peer: Sequence[float]
    versus: str

    @property
    def ratio(self) -> float | None:
        """Our figure to the peer's: the median over pairs of one turn, which had the same noise."""
        if not self.peer or not all(self.peer):
            return None
        return median(ours / peer for ours, peer in zip(self.ours, self.peer, strict=True))

    @property
    def times_as_good(self) -> float | None:
        """The ratio, or its reciprocal if less is better."""
        ratio = self.ratio
        if ratio is None or self.row.unit.endswith("/s"):
            return ratio
        return 1 / ratio if ratio else None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without a target."""
        row, ratio = self.row, self.ratio
        if row.limit is not None:  # If the limit is 0, every run must meet it.
            return (median(self.ours) if row.limit else max(self.ours)) <= row.limit
        if ratio is not None and row.at_least is not None:
            return ratio >= row.at_least
        return ratio <= row.at_most if ratio is not None and row.at_most is not None else None


def figures_of(question: str, rows: Sequence[Row], runs: Runs) -> Iterator[Figure]:
    """Yield the figures of one trial, without the rows whose peer did not run."""
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
    """Return the samples and description of the peer: on `backend`, on no loop, or on asyncio."""
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
    """Return a file of `count` lines of about `size` bytes; create it if it does not exist.

    The lengths of the lines differ by up to 40 bytes, so a read usually ends amid a line, and not
    always at the same place.
    """
    file = folder / f"{count}-of-{size}.txt"
    if not file.exists():
        text = b"x" * (size + 10)
        with file.open("wb") as out:
            out.writelines(b"%08d %s\n" % (n, text[: size - 30 + n * 7 % 41]) for n in range(count))
    return file
