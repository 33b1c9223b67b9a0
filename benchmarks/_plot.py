"""The ratios as one picture: one row per comparison; to the right of 1, currant is better."""

from __future__ import annotations

from importlib import import_module
from itertools import groupby
from typing import TYPE_CHECKING, Any

from benchmarks._measure import BACKENDS, NO_LOOP

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks._measure import Figure

__all__ = ["draw"]

COLORS: dict[str, str] = {
    NO_LOOP: "#666666",
    **dict(zip(BACKENDS, ("#0072b2", "#d55e00", "#009e73"), strict=True)),
}
ROW = 0.22
"""The height of a row of the picture, in inches."""


def draw(figures: Sequence[Figure], file: Path) -> None:
    """Draw an SVG on a white background, which is readable on any page."""
    figures = [figure for figure in figures if figure.times_as_good]
    if not figures:
        raise ValueError("no figure has a peer: there is nothing to draw")
    # Imported by name, because types are checked without matplotlib.
    matplotlib: Any = import_module("matplotlib")
    matplotlib.use("svg")
    pyplot: Any = import_module("matplotlib.pyplot")
    # Keep text as text, which is smaller than paths and can be searched.
    matplotlib.rcParams.update({"svg.hashsalt": "currant", "svg.fonttype": "none", "font.size": 8})
    groups = [(name, list(group)) for name, group in groupby(figures, lambda each: each.question)]
    heights = [len(set(map(_label, group))) + 2 for _, group in groups]
    picture, axes = pyplot.subplots(
        len(groups),
        figsize=(11, ROW * sum(heights) + 1),
        height_ratios=heights,
        sharex=True,
        squeeze=False,
        layout="constrained",
        facecolor="white",
    )
    for (name, group), (ax,) in zip(groups, axes, strict=True):
        _points(ax, name, group)
    axes[-1][0].set_xlabel(
        "times as good as the peer (logarithmic scale); a black mark is the target"
    )
    picture.legend(handles=_legend(pyplot, figures), loc="outside upper right", ncols=4)
    picture.savefig(file, format="svg", metadata={"Date": None})


def _points(ax: Any, name: str, figures: Sequence[Figure]) -> None:  # noqa: ANN401
    labels = list(dict.fromkeys(map(_label, figures)))
    for figure in figures:
        times, place = figure.times_as_good, labels.index(_label(figure))
        assert times
        ax.plot([1, times], [place, place], color="#bbbbbb", linewidth=1, zorder=1)
        ax.scatter(times, place, s=28, color=COLORS[figure.backend], zorder=2)
        target = _target(figure)
        if target is not None:
            ax.plot([target, target], [place - 0.4, place + 0.4], color="black", linewidth=1.5)
    ax.set_title(name, loc="left", fontweight="bold")
    ax.set_yticks(range(len(labels)), labels)
    ax.set_ylim(len(labels) - 0.3, -0.7)
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter("{x:g}")
    ax.axvline(1, color="black", linewidth=0.8)
    ax.grid(axis="x", color="#dddddd")
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def _label(figure: Figure) -> str:
    return f"{figure.row.what}  vs  {figure.row.versus}"


def _target(figure: Figure) -> float | None:
    """Return the target on the scale of the picture."""
    row = figure.row
    if row.at_least is not None:
        return row.at_least
    return None if row.at_most is None else 1 / row.at_most


def _legend(pyplot: Any, figures: Sequence[Figure]) -> list[Any]:  # noqa: ANN401
    used = {figure.backend for figure in figures}
    return [
        pyplot.Rectangle((0, 0), 1, 1, color=color, label=backend or "no event loop")
        for backend, color in COLORS.items()
        if backend in used
    ]
