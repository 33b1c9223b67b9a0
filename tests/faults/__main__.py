"""The command line: run the selected cells, a few at a time, and print the report."""

from __future__ import annotations

import argparse
import os
import sys
from importlib.util import find_spec

from tests.faults import hosts
from tests.faults.cell import EVENTS, Cell, run_cells
from tests.faults.kinds import KINDS
from tests.faults.report import report
from tests.faults.tools import PEERS, Tool, currant, peer


def main() -> None:
    """Run the selected cells; exit with 1 if a cell of currant is not clean."""
    if sys.argv[1:2] == ["--hosts"]:
        sys.exit(hosts.main(sys.argv[2:]))
    options = _options()
    if sys.platform != "linux":
        sys.exit("the fault matrix needs Linux: it finds processes in /proc")
    cells = [
        cell
        for tool in _tools(options)
        for kind in options.kind or KINDS
        for event in options.event or EVENTS
        if (cell := Cell(tool, KINDS[kind], event)).has_meaning
    ]
    outcomes = run_cells(cells, jobs=options.jobs, show=lambda line: print(line, file=sys.stderr))
    print(report(outcomes))
    ours = [outcome for cell, outcome in outcomes.items() if not cell.tool.is_peer]
    sys.exit(0 if all(outcome.is_clean for outcome in ours) else 1)


def _options() -> argparse.Namespace:
    installed = [name for name in ("asyncio", "trio") if name == "asyncio" or find_spec(name)]
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults",
        description="Search for leftover processes, for each kind of command and each event. "
        "All options may be repeated; default: all cells of currant.",
        epilog="With --hosts as the first option: what tools for many hosts leave there; "
        "see --hosts --help.",
    )

    def choice(option: str, values: list[str], text: str) -> None:
        parser.add_argument(option, action="append", choices=values, help=text)

    choice("--backend", installed, "event loop of currant")
    choice("--tool", ["currant", *PEERS], "tool that runs the commands")
    choice("--kind", list(KINDS), "kind of command")
    choice("--event", list(EVENTS), "event to cause")
    parser.add_argument("--peers", action="store_true", help="also run all installed peers")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="cells at a time")
    parser.add_argument("--grace", type=float, default=1.0, help="seconds; fixed for honcho")
    for name in PEERS[1:]:
        parser.add_argument(
            f"--{name}", metavar="PATH", help=f"path of {name}; default: look in PATH"
        )
    options = parser.parse_args()
    options.backend = options.backend or installed
    options.tool = options.tool or ["currant", *(PEERS if options.peers else ())]
    return options


def _tools(options: argparse.Namespace) -> list[Tool]:
    tools: list[Tool] = []
    for name in options.tool:
        if name == "currant":
            tools += [currant(backend, options.grace) for backend in options.backend]
        elif tool := peer(name, getattr(options, name, None), options.grace):
            tools.append(tool)
        else:
            print(f"skipped: {name} is not installed\n")
    return tools


if __name__ == "__main__":
    main()
