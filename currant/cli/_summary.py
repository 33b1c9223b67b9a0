"""The table of ``--summary``, which shows how each command ended."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, cast

from currant._values.names import printable
from currant.sinks._colors import color_system_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from currant._values.results import Result
    from currant.sinks import Color

__all__ = ["show_summary"]

STYLES = {"succeeded": "green", "failed": "red", "stopped": "yellow", "skipped": "yellow"}

UNLIMITED_WIDTH = 10_000
"""Columns of the table if stderr is not a terminal, so that rich breaks no line."""


def show_summary(results: Iterable[Result], color: Color) -> None:
    """Write a table of `results` to stderr, in the order of the argument."""
    from rich.console import Console  # noqa: PLC0415 - the import takes 25 ms, and most runs show no table
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table("name", "status", "exit", box=None, pad_edge=False)
    for title in ("attempts", "duration"):
        table.add_column(title, justify="right")
    for result in results:
        end = result.error or result.exit or ""
        table.add_row(
            Text(printable(result.command)),
            Text(result.status, STYLES[result.status]),
            Text(str(end)),
            str(result.attempts),
            f"{result.duration:.1f} s",
        )
    system = color_system_of(sys.stderr, color)
    console = Console(
        stderr=True,
        force_terminal=system is not None,
        color_system=cast("Any", system),
        no_color=system is None,
        width=None if sys.stderr.isatty() else UNLIMITED_WIDTH,
        highlight=False,
    )
    console.print(table)
