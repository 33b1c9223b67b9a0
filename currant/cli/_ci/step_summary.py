"""The summary of a step, in Markdown, that GitHub Actions shows on the page of a run.

A step has one file for that, named by ``GITHUB_STEP_SUMMARY``.  Several programs of the step add to
the file, and GitHub shows nothing of it if there is more than 1 MiB.  So a summary is short, and is
left out if there is no room.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from currant._values.printable import printable
from currant.cli._ci.annotations import is_on_github
from currant.cli._ci.result_texts import end_in_a_line, last_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from currant._values.results import Result

__all__ = ["SummaryRow", "add_to_summary", "summary_text"]

MAX_SIZE = 1 << 20
"""Bytes of the file that GitHub accepts."""

MAX_ROWS = 100
"""Rows of a table; failures come first."""

MAX_CELL = 200
"""Characters of a cell."""

MAX_BLOCK = 16 * 1024
"""Characters of the last lines of a command."""

_MARKDOWN = re.compile(r"[\\`*_~\[\]<>&|@#:$]")
"""The characters that could begin markup, a link or a mention."""


class SummaryRow(NamedTuple):
    """A row of the table: the name of a command, and how it ended."""

    name: str
    result: Result


def summary_text(title: str, totals: str, rows: Iterable[SummaryRow]) -> str:
    """Return a summary: a title, the totals, a table, and the last lines of the first failure.

    Args:
        title: the title in Markdown, such as ``"currant run"``.
        totals: a line about all commands, in Markdown.
        rows: the commands of the table; without any, there is no table.
    """
    rows = sorted(rows, key=_failures_first)
    parts = [f"### {title}", totals]
    if rows:
        parts.append(_table(rows[:MAX_ROWS]))
        failed = rows[0]
        if failed.result.status == "failed" and failed.result.tail:
            of = "" if _has_one_failure(rows) else "the first failure, "
            parts += [
                f"The last lines of {of}{_escaped(failed.name)}:",
                _block(last_lines(failed.result)),
            ]
    if len(rows) > MAX_ROWS:
        parts.append(f"{len(rows) - MAX_ROWS:,} more are not shown.")
    return "\n\n".join(parts) + "\n\n"


def add_to_summary(environment: Mapping[str, str], text: str) -> None:
    """Add a text to the summary of the step.

    Do nothing outside GitHub Actions, or if the file has no room or cannot be written.
    """
    path = environment.get("GITHUB_STEP_SUMMARY")
    if not path or not is_on_github(environment):
        return
    data = text.encode(errors="replace")
    with suppress(OSError), open(path, "ab", opener=_open_at_once) as file:
        if file.tell() + len(data) <= MAX_SIZE:
            file.write(data)


def _open_at_once(path: str, flags: int) -> int:
    """Open a file; a named pipe that no process reads is an error."""
    return os.open(path, flags | os.O_NONBLOCK, 0o666)


def _failures_first(row: SummaryRow) -> tuple[bool, float]:
    """Return the key of a row: failures in the order of their ends, the others as they come."""
    result = row.result
    if result.status != "failed":
        return True, 0.0
    return False, inf if result.started_at is None else result.started_at + result.duration


def _has_one_failure(rows: Sequence[SummaryRow]) -> bool:
    return sum(row.result.status == "failed" for row in rows) == 1


def _table(rows: Iterable[SummaryRow]) -> str:
    lines = ["| command | status | end | duration |", "|---|---|---|--:|"]
    for name, result in rows:
        cells = (_escaped(name), result.status, _escaped(end_in_a_line(result)))
        lines.append(f"| {' | '.join(cells)} | {result.duration:.1f} s |")
    return "\n".join(lines)


def _escaped(text: str) -> str:
    text = printable(text)
    text = text if len(text) <= MAX_CELL else f"{text[:MAX_CELL]}…"
    return _MARKDOWN.sub(r"\\\g<0>", text)


def _block(text: str) -> str:
    """Return a block of code, between fences that the text does not have."""
    text = text[-MAX_BLOCK:]
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}text\n{text}\n{fence}"
