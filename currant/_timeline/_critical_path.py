"""`critical_path`: the chain of commands that waited for one another and ended last."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from currant._timeline._report import Link, Report

__all__ = ["Step", "critical_path"]


class Step(NamedTuple):
    """A row of the critical path.

    Attributes:
        row: the index of the row.
        until: when the row let the next one go on, or ended, in microseconds since the start.
    """

    row: int
    until: int


def critical_path(report: Report) -> list[Step]:
    """Return the critical path, from the first row to the last; empty if no row has waited.

    The path ends with the row that ended last, of all rows that waited for another one.  Before
    each row is the one that met its condition last.
    """
    latest: dict[int, Link] = {}
    for link in report.links:
        known = latest.get(link.target)
        if known is None or link.time >= known.time:
            latest[link.target] = link
    if not latest:
        return []

    def end_of(row: int) -> int:
        end = report.rows[row].end
        return report.duration if end is None else end

    row = max(latest, key=end_of)
    path, seen = [Step(row, end_of(row))], {row}
    while row in latest and latest[row].source not in seen:
        row, until = latest[row].source, latest[row].time
        seen.add(row)
        path.append(Step(row, until))
    return path[::-1]
