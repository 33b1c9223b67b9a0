"""The command line: run the questions, print one Markdown table, say what machine it was."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from dataclasses import asdict
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks._guard import guarded
from benchmarks._measure import Samples, Setting
from benchmarks._worker import BACKENDS, QUESTIONS, run_side

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from benchmarks._measure import Figure

Row = tuple[str, "Figure"]
"""A backend's name, and a figure measured on it."""


def main() -> None:
    """Run what the command line asks for."""
    options = _options()
    if sys.platform != "linux":
        sys.exit("the benchmarks need Linux: they read /proc")
    rows: list[Row] = []
    with TemporaryDirectory(prefix="currant-benchmarks-") as folder, guarded() as env:
        setting = Setting(options.quick, Path(folder))
        for name in options.names or QUESTIONS:
            for backend in options.backend:
                rows += [(backend, figure) for figure in _answer(name, backend, setting, env)]
    print("\n".join(_table(rows)), _machine(), sep="\n\n")
    if options.quick:
        print("Quick: these amounts are too small to judge the targets by.")
    if options.json is not None:
        figures = [
            {"backend": backend, "ratio": figure.ratio, "met": figure.met, **asdict(figure)}
            for backend, figure in rows
        ]
        report = {"machine": _machine(), "quick": options.quick, "figures": figures}
        options.json.write_text(json.dumps(report, indent=2))


def _options() -> argparse.Namespace:
    installed = [name for name in BACKENDS if find_spec(name)]
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("names", metavar="NAME", nargs="*", help="a question; none: all of them")
    parser.add_argument("--backend", nargs="+", choices=installed, default=installed)
    parser.add_argument("--quick", action="store_true", help="small amounts: does all work?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all runs there as well")
    options = parser.parse_args()
    if unknown := set(options.names) - set(QUESTIONS):
        parser.error(f"no question {', '.join(unknown)}; there are {', '.join(QUESTIONS)}")
    return options


def _answer(name: str, backend: str, setting: Setting, env: Mapping[str, str]) -> list[Figure]:
    """Run all sides in turn (A B A B), so that what else the machine does meets all of them."""
    question = QUESTIONS[name]
    runs: dict[str, list[dict[str, float]]] = {side: [] for side in question.sides}
    for turn in range(question.runs):
        print(f"{name}, {backend}: run {turn + 1} of {question.runs}", file=sys.stderr)
        for side in question.sides:
            runs[side].append(run_side(name, side, backend, setting, env))
    return question.figures(Samples(runs), setting)


def _table(rows: Iterable[Row]) -> Iterable[str]:
    yield "| what | backend | currant | peer | unit | ratio | target | peer is |"
    yield "|---|---|---:|---:|---|---:|---:|---|"
    for backend, figure in rows:
        cells = (
            figure.what,
            backend,
            _spread(figure.ours),
            _spread(figure.peer),
            figure.unit,
            _short(figure.ratio),
            _target(figure),
            figure.versus,
        )
        yield f"| {' | '.join(cells)} |"


def _spread(runs: Sequence[float]) -> str:
    return f"{_short(median(runs))} ({_short(min(runs))}–{_short(max(runs))})"


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _target(figure: Figure) -> str:
    if figure.met is None:
        return ""
    bound = f"≤ {figure.at_most:g}" if figure.at_least is None else f"≥ {figure.at_least:g}"
    return bound if figure.met else f"**{bound} missed**"


def _machine() -> str:
    parts = [
        f"{os.cpu_count()} cores",
        f"{platform.python_implementation()} {platform.python_version()}",
        f"{platform.system()} {platform.release()}",
        *(f"{name} {version(name)}" for name in ("anyio", "trio", "uvloop") if find_spec(name)),
    ]
    return f"Medians (least–most) of runs in turn, each in a new process.  {', '.join(parts)}."


if __name__ == "__main__":
    main()
