"""The tables of ``--summary``, how commands ended, and of ``--timings``, when commands ran."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from currant._values.errors import HostUnreachableError
from currant._values.host_names import fold, natural_key
from currant._values.printable import printable
from currant._values.results import lost_host
from currant.sinks._colors import color_system_of
from currant.sinks._files import terminal_columns
from currant.sinks._templates import THIS_MACHINE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rich.console import Console

    from currant._values.errors import HostLostError
    from currant._values.results import Result
    from currant.sinks import Color

__all__ = ["console_for", "show_summary", "show_timings"]

STYLES = {"succeeded": "green", "failed": "red", "stopped": "yellow", "skipped": "yellow"}

UNLIMITED_WIDTH = 10_000
"""Columns of the table if its file is not a terminal, so that rich breaks no line."""

MIN_WIDTH = 80
"""Columns of the table on a narrower terminal, which wraps the rows: rich would cut the words."""


def show_summary(
    results: Iterable[Result], color: Color, lost: Mapping[str, HostLostError] | None = None
) -> None:
    """Write a table of `results` to stderr.

    Args:
        results: the results, in the order of the table.
        color: whether the table is coloured.
        lost: the hosts that were lost; then the table is grouped by host.  None: all commands ran
            on this machine.
    """
    from rich.table import Table  # noqa: PLC0415 - the import takes 25 ms, and most runs show no table
    from rich.text import Text  # noqa: PLC0415

    by_host = lost is not None
    table = Table(*["host"] * by_host, "name", "status", "exit", box=None, pad_edge=False)
    for title in ("attempts", "duration"):
        table.add_column(title, justify="right")
    shown = sorted(results, key=lambda each: natural_key(_host_of(each))) if by_host else results
    for result in shown:
        table.add_row(
            *[Text(printable(_host_of(result)))] * by_host,
            Text(printable(result.command)),
            Text(result.status, STYLES[result.status]),
            Text(_end_of(result)),
            str(result.attempts),
            f"{result.duration:.1f} s",
        )
    console = console_for(color)
    console.print(table)
    for line in _lines_about(lost or {}):
        console.print(Text(printable(line), "red"))


def show_timings(results: Iterable[Result], color: Color) -> None:
    """Write a table of the times of all commands to stderr, the longest run first.

    Args:
        results: the results; a command that was never started has no times.
        color: whether the table is coloured.
    """
    from rich.table import Table  # noqa: PLC0415 - the import takes 25 ms, and most runs show no table
    from rich.text import Text  # noqa: PLC0415

    table = Table("name", "start", "end", box=None, pad_edge=False)
    table.add_column("duration", justify="right")
    table.add_column("status")
    for result in sorted(results, key=lambda each: -each.duration):
        start = result.started_at
        has_run = start is not None
        table.add_row(
            Text(printable(result.command)),
            "" if start is None else _time_of_day(start),
            "" if start is None else _time_of_day(start + result.duration),
            f"{result.duration:.3f} s" if has_run else "",
            Text(result.status, STYLES[result.status]),
        )
    console_for(color).print(table)


def _time_of_day(seconds: float) -> str:
    """Return a time since the epoch as the local time of day, in milliseconds."""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%H:%M:%S.%f")[:-3]


def console_for(color: Color, *, stderr: bool = True) -> Console:
    """Return a console that writes a table to stderr, or to stdout."""
    from rich.console import Console  # noqa: PLC0415

    file = sys.stderr if stderr else sys.stdout
    system = color_system_of(file, color)
    columns = terminal_columns(file.fileno()) if file.isatty() else UNLIMITED_WIDTH
    return Console(
        stderr=stderr,
        force_terminal=system is not None,
        color_system=cast("Any", system),
        no_color=system is None,
        width=max(columns or 0, MIN_WIDTH),
        highlight=False,
    )


def _host_of(result: Result) -> str:
    lost = lost_host(result.error)
    return result.host or (THIS_MACHINE if lost is None else lost.host)


def _end_of(result: Result) -> str:
    if (lost := lost_host(result.error)) is not None:
        return _fate(lost)
    return str(result.error or result.exit or "")


def _fate(lost: HostLostError) -> str:
    return "host never reached" if isinstance(lost, HostUnreachableError) else "host lost"


def _lines_about(lost: Mapping[str, HostLostError]) -> Iterable[str]:
    """Yield a line for each reason for which hosts were lost, with all hosts of that reason."""
    hosts: dict[tuple[str, str], list[str]] = {}
    for host, error in lost.items():
        *_, reason = error.reason.strip().splitlines() or ("",)
        hosts.setdefault((_fate(error), reason), []).append(host)
    for (fate, reason), names in hosts.items():
        yield f"{fate}: {fold(names)} ({len(names)}): {reason}"
