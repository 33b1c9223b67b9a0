"""`write_page`: a report as one HTML file, which loads nothing from anywhere."""

from __future__ import annotations

import json
from html import escape
from importlib import resources
from string import Template
from typing import TYPE_CHECKING, Any

from currant._timeline._critical_path import critical_path

if TYPE_CHECKING:
    from currant._timeline._report import Report, Row, Slice

__all__ = ["write_page"]

SCRIPTS = ("report.js", "axis.js", "timeline.js", "table.js", "page.js")
"""The scripts of the page; each uses the names of those before it."""


def write_page(report: Report, title: str) -> str:
    """Return the page of a report.

    Args:
        report: what to show.
        title: the title, such as the name of the trace.
    """
    # No "<" in the JSON can end its element, or begin a comment there.
    data = json.dumps(_encode(report), ensure_ascii=False, separators=(",", ":"))
    return Template(_text_of("page.html")).substitute(
        title=escape(title),
        style=_text_of("page.css"),
        data=data.replace("<", "\\u003c"),
        script="\n".join(map(_text_of, SCRIPTS)),
    )


def _text_of(name: str) -> str:
    return resources.files("currant._timeline").joinpath(name).read_text(encoding="utf-8")


def _encode(report: Report) -> dict[str, Any]:
    """Return a report as values for JSON; `report.js` says what they mean."""
    return {
        "tracks": list(report.tracks.items()),
        "rows": [_encode_row(row) for row in report.rows],
        "marks": [[mark.track, mark.time, mark.name, mark.facts] for mark in report.marks],
        "links": [[link.source, link.target, link.time] for link in report.links],
        "path": critical_path(report),
        "counters": report.counters,
        "duration": report.duration,
        "isWhole": report.is_whole,
    }


def _encode_row(row: Row) -> dict[str, Any]:
    """Return a row as values for JSON, without the parts that it does not have."""
    facts = row.facts
    used = [facts[name] for name in ("user seconds", "system seconds") if name in facts]
    values = {
        "track": row.track,
        "name": row.name,
        "begin": row.begin,
        "end": row.end,
        "hasRun": row.has_run,
        "status": facts.get("status", "unfinished"),
        "exit": facts.get("exit"),
        "error": facts.get("error"),
        "attempt": facts.get("attempt"),
        "pid": facts.get("pid"),
        "host": facts.get("host"),
        "command": facts.get("command"),
        "cpu": used or None,
        "memory": facts.get("peak memory bytes"),
        "stdout": facts.get("stdout bytes"),
        "stderr": facts.get("stderr bytes"),
        "lines": facts.get("last lines"),
        "before": [_encode_slice(part) for part in row.before] or None,
        "phases": [_encode_slice(part) for part in row.phases] or None,
    }
    return {name: value for name, value in values.items() if value is not None}


def _encode_slice(part: Slice) -> list[Any]:
    return [part.name, part.begin, part.end]
