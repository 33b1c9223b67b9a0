"""The command line: run the questions, print the table, and write table, runs and plot to files."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks._guard import guarded
from benchmarks._machine import machine, machine_line
from benchmarks._measure import BACKENDS, NO_LOOP, LoopSide, Setting, figures_of
from benchmarks._plot import draw
from benchmarks._table import insert, table
from benchmarks._worker import QUESTIONS, run_side

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks._measure import Figure, PlainSide, Runs, Sample, Trial


@dataclass(slots=True)
class Report:
    """The outcome of all questions.

    Attributes:
        figures: the lines of the table.
        trials: all runs, for the JSON file.
        skipped: the programs and modules that are not installed.
        failed: the sides that failed, each with its question, trial and backend.
    """

    figures: list[Figure] = field(default_factory=list)
    trials: list[dict[str, object]] = field(default_factory=list)
    skipped: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)


def main() -> None:
    """Run the selected questions."""
    options = _options()
    if sys.platform != "linux":
        sys.exit("the benchmarks need Linux: they read /proc")
    report = Report()
    with TemporaryDirectory(prefix="currant-benchmarks-") as folder, guarded() as env:
        setting = Setting(options.quick, Path(folder))
        for name in options.names or QUESTIONS:
            for number, trial in enumerate(QUESTIONS[name].trials):
                print(f"{name}: {trial.name}", file=sys.stderr)
                runs = _run(name, number, trial, options.backend, setting, env, report)
                _add(report, name, trial, setting, runs)
    text = "\n\n".join(["\n".join(table(report.figures)), *_notes(report, quick=options.quick)])
    print(text)
    if options.json is not None:
        options.json.write_text(json.dumps(_as_json(report, quick=options.quick), indent=1) + "\n")
    if options.table is not None:
        insert(options.table, text)
    if options.plot is not None:
        draw(report.figures, options.plot)
    sys.exit(1 if report.failed else 0)


def _options() -> argparse.Namespace:
    installed = ["asyncio", *(name for name in BACKENDS[1:] if find_spec(name))]
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument(
        "names", metavar="NAME", nargs="*", help="a question; default: all questions"
    )
    parser.add_argument("--backend", nargs="+", choices=installed, default=installed)
    parser.add_argument(
        "--quick", action="store_true", help="use small amounts, to check that all works"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all runs to FILE")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the ratios to FILE, as SVG")
    parser.add_argument(
        "--table", type=Path, metavar="FILE", help="put the table into FILE, between its two marks"
    )
    options = parser.parse_args()
    if unknown := set(options.names) - set(QUESTIONS):
        parser.error(f"no question {', '.join(unknown)}; there are {', '.join(QUESTIONS)}")
    if options.plot is not None and find_spec("matplotlib") is None:
        parser.error("--plot needs matplotlib, which is in the dependency group `bench`")
    return options


def _run(
    name: str,
    number: int,
    trial: Trial,
    backends: Sequence[str],
    setting: Setting,
    env: Mapping[str, str],
    report: Report,
) -> Runs:
    """Run all sides in turn (A B A B), so that other load on the machine affects all of them."""
    runs: Runs = {}
    for name_of_side, side in trial.sides.items():
        if side.missing:
            report.skipped.add(str(side.requires))
        else:
            runs |= {(name_of_side, backend): [] for backend in _backends(side, backends)}
    for _ in range(1 if setting.quick else trial.runs):
        for name_of_side, backend in list(runs):
            sample = _sample(name, number, name_of_side, backend, setting, env)
            if sample is None:
                report.failed.add(f"{name}, {trial.name}: {name_of_side} {backend}".rstrip())
                del runs[name_of_side, backend]
            else:
                runs[name_of_side, backend].append(sample)
    return runs


def _backends(side: LoopSide | PlainSide, chosen: Sequence[str]) -> Sequence[str]:
    if isinstance(side, LoopSide):
        return [backend for backend in chosen if backend in side.backends]
    return [NO_LOOP]


def _sample(
    name: str, number: int, side: str, backend: str, setting: Setting, env: Mapping[str, str]
) -> Sample | None:
    try:
        return run_side(name, number, side, backend, setting, env)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        print(error, file=sys.stderr)
        return None


def _add(report: Report, name: str, trial: Trial, setting: Setting, runs: Runs) -> None:
    report.figures += figures_of(name, trial.rows(setting), runs)
    report.trials += [
        {"question": name, "trial": trial.name, "side": side, "backend": backend, "runs": samples}
        for (side, backend), samples in runs.items()
    ]


def _notes(report: Report, *, quick: bool) -> list[str]:
    """Return the paragraphs below the table."""
    notes = [
        (
            "Medians (least–most) of several runs, taken in turn, each in a new process.  The "
            "ratio is that of currant to the peer: the median of the ratios of all turns."
        ),
        f"{machine_line()}; {datetime.now(UTC):%Y-%m-%d}.",
    ]
    if report.skipped:
        notes.append(f"Skipped, not installed: {', '.join(sorted(report.skipped))}.")
    if report.failed:
        notes.append(f"Failed: {'; '.join(sorted(report.failed))}.")
    if quick:
        notes.append("Quick run: the amounts are too small to judge the targets.")
    return notes


def _as_json(report: Report, *, quick: bool) -> dict[str, object]:
    figures = [
        {
            "question": figure.question,
            **asdict(figure.row),
            "backend": figure.backend or None,
            "versus": figure.versus,
            "ours_runs": figure.ours,
            "peer_runs": figure.peer,
            "ratio": figure.ratio,
            "times_as_good": figure.times_as_good,
            "met": figure.met,
        }
        for figure in report.figures
    ]
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "quick": quick,
        "skipped": sorted(report.skipped),
        "failed": sorted(report.failed),
        "figures": figures,
        "trials": report.trials,
    }


if __name__ == "__main__":
    main()
