"""`critical_path`: the chain of commands that waited for one another, and kept the run going."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from currant._timeline._report import Link, Report, Row

__all__ = ["Step", "critical_path"]


class Step(NamedTuple):
    """A row of the critical path.

    Attributes:
        row: the index of the row.
        until: when the row let the next one go on; of the last row, when it ended by itself, or
            was ready if it did not.  In microseconds since the start.
    """

    row: int
    until: int


def critical_path(report: Report) -> list[Step]:
    """Return the critical path, from the first row to the last; empty if no row has waited.

    The path ends with the row that was done last, of all rows that waited for another one.  A
    server that runs until it is stopped was done when it was ready.  Before each row is the one
    that met its condition last.
    """
    latest: dict[int, Link] = {}
    for link in report.links:
        known = latest.get(link.target)
        if known is None or link.time >= known.time:
            latest[link.target] = link
    if not latest:
        return []
    row = max(latest, key=lambda row: _done_at(report.rows[row]))
    path, seen = [Step(row, _done_at(report.rows[row]))], {row}
    while row in latest and latest[row].source not in seen:
        row, until = latest[row].source, latest[row].time
        seen.add(row)
        path.append(Step(row, until))
    return path[::-1]


def _done_at(row: Row) -> int:
    """Return when a row ended by itself; if it did not, when it was ready or, at first, ran."""
    if row.end is not None and row.facts.get("status") != "stopped":
        return row.end
    return next((phase.begin for phase in row.phases if phase.name == "running"), row.begin)
