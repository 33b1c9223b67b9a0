"""The report: a table for each tool, a table that compares them, and the leftover processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.faults.cell import LEEWAY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tests.faults.cell import Cell, Outcome
    from tests.faults.tools import Tool

__all__ = ["report"]

LEGEND = (
    "Seconds from the event until every process was gone, including the tool; `left 2`: two "
    "processes were left one second after the grace; –: the event cannot happen to that tool. "
    "Signals are sent to the tool only."
)


def report(outcomes: Mapping[Cell, Outcome]) -> str:
    """Return the whole report in Markdown."""
    tools = list(dict.fromkeys(cell.tool for cell in outcomes))
    parts = [
        LEGEND,
        *("\n".join(_table_of_one(tool, outcomes)) for tool in tools),
        "Events after which a process was left:",
        "\n".join(_table_of_all(tools, outcomes)),
        "\n".join(_details(outcomes)),
    ]
    return "\n\n".join(filter(None, parts))


def _table_of_one(tool: Tool, outcomes: Mapping[Cell, Outcome]) -> Iterator[str]:
    mine = {cell: outcome for cell, outcome in outcomes.items() if cell.tool == tool}
    events = list(dict.fromkeys(cell.event for cell in outcomes))
    clean = sum(outcome.is_clean for outcome in mine.values())
    yield (
        f"**{tool.name}**: {clean} of {len(mine)} cells clean; the limit is its grace of "
        f"{tool.grace:g} s ({tool.grace_from}) + {LEEWAY:g} s"
    )
    yield ""
    yield from _head(tool.name, events)
    for kind in dict.fromkeys(cell.kind for cell in outcomes):
        found = {cell.event: outcome for cell, outcome in mine.items() if cell.kind == kind}
        yield _row(kind.name, (str(found.get(event, "–")) for event in events))


def _table_of_all(tools: Sequence[Tool], outcomes: Mapping[Cell, Outcome]) -> Iterator[str]:
    yield from _head("", [tool.name for tool in tools])
    for kind in dict.fromkeys(cell.kind for cell in outcomes):
        yield _row(kind.name, (_unclean_events(tool, kind, outcomes) for tool in tools))
    yield _row("cells clean", (_count(tool, outcomes) for tool in tools))


def _unclean_events(tool: Tool, kind: object, outcomes: Mapping[Cell, Outcome]) -> str:
    mine = {c.event: o for c, o in outcomes.items() if (c.tool, c.kind) == (tool, kind)}
    unclean = [event for event, outcome in mine.items() if not outcome.is_clean]
    if not unclean:
        return "clean"
    return "all" if len(unclean) == len(mine) > 1 else ", ".join(unclean)


def _count(tool: Tool, outcomes: Mapping[Cell, Outcome]) -> str:
    mine = [outcome.is_clean for cell, outcome in outcomes.items() if cell.tool == tool]
    return f"{sum(mine)} of {len(mine)}"


def _details(outcomes: Mapping[Cell, Outcome]) -> Iterator[str]:
    for cell, outcome in outcomes.items():
        if not outcome.is_clean and not cell.tool.is_peer:
            yield f"- {cell}: {outcome.problem or outcome}"
            yield from (f"  - {pid} `{line}`" for pid, line in outcome.left)


def _head(corner: str, names: Sequence[str]) -> Iterator[str]:
    yield _row(corner, names)
    yield "|---" * (len(names) + 1) + "|"


def _row(name: str, cells: Iterable[str]) -> str:
    return f"| {' | '.join((name, *cells))} |"
