"""The figures as a Markdown table."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from benchmarks._measure import Figure

__all__ = ["insert", "table"]

BEGIN, END = "<!-- table -->\n", "<!-- end -->"


def table(figures: Iterable[Figure]) -> Iterable[str]:
    """Yield the lines of the table."""
    yield "| question | what | backend | currant | peer | unit | ratio | target | peer is |"
    yield "|---|---|---|---:|---:|---|---:|---:|---|"
    for figure in figures:
        cells = (
            figure.question,
            figure.row.what,
            figure.backend or "–",
            _spread(figure.ours),
            _spread(figure.peer),
            figure.row.unit,
            "–" if figure.ratio is None else _short(figure.ratio),
            _target(figure),
            figure.versus or "–",
        )
        escaped = [cell.replace("|", "\\|") for cell in cells]
        yield f"| {' | '.join(escaped)} |"


def insert(file: Path, text: str) -> None:
    """Put `text` between the two marks in `file`."""
    before, begin, rest = file.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{file} lacks {BEGIN.strip()} or {END}")
    file.write_text(f"{before}{BEGIN}\n{text}\n\n{END}{after}")


def _spread(runs: Sequence[float]) -> str:
    if not runs:
        return "–"
    return f"{_short(median(runs))} ({_short(min(runs))}–{_short(max(runs))})"


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _target(figure: Figure) -> str:
    if figure.met is None:
        return ""
    row = figure.row
    if row.limit is not None:
        bound = f"≤ {row.limit:g} {row.unit}"
    elif row.at_least is not None:
        bound = f"≥ {row.at_least:.3g} ×"
    else:
        bound = f"≤ {row.at_most:.3g} ×"
    return bound if figure.met else f"**{bound} missed**"
