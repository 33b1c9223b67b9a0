"""``currant ps``: the commands of a running stack."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import anyio
import click

from currant._values.printable import printable
from currant._values.wire import encode_exit
from currant.cli._clients.ask import ask_stack, folder_option
from currant.sinks._live import is_live
from currant.stack._times import duration

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from currant.stack._client import CommandInfo, Listing, StackClient

__all__ = ["Screen", "ps", "table"]

STDOUT = 1

TITLES = ("name", "state", "ready", "pid", "restarts", "uptime", "memory", "cpu", "end")
RIGHT = frozenset(("pid", "restarts", "uptime", "memory", "cpu"))

UP_AND_CLEAR = "\x1b[{}A\x1b[J"
"""Move the cursor up by a number of lines, and clear the screen from there on."""

CLEAR_ALL = "\x1b[H\x1b[J"
"""Move the cursor to the top left, and clear the screen."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Write a JSON object for each command.")
@click.option("-w", "--watch", is_flag=True, help="Show the table again and again, until Ctrl-C.")
@click.option(
    "--interval",
    type=click.FloatRange(min=0.1),
    default=1.0,
    show_default=True,
    metavar="S",
    help="Seconds between two tables of --watch.",
)
@folder_option
def ps(*, as_json: bool, watch: bool, interval: float, folder: str | None) -> int:
    """Show the commands of the running stack.

    Memory and CPU count all processes in the session of a command.  The CPU is the share of one
    processor since the start of the process; with --watch, since the last table.
    """
    in_place = watch and not as_json and is_live(os.environ, STDOUT)

    async def show(client: StackClient) -> int:
        before: Listing | None = None
        screen = Screen()
        while True:
            listing = await client.list()
            lines = as_objects(listing) if as_json else table(listing, before, interval)
            text = screen.show(lines, os.get_terminal_size()) if in_place else "\n".join(lines)
            print(text, flush=True)
            before = listing
            if not watch:
                return 0
            await anyio.sleep(interval)

    return ask_stack(folder, show)


class Screen:
    """Replaces the table on a terminal by the next one."""

    def __init__(self) -> None:
        self._height = 0
        self._size: os.terminal_size | None = None

    def show(self, lines: Sequence[str], size: os.terminal_size) -> str:
        """Return the lines, as far as they fit, behind what erases the lines before them.

        A line that the terminal wraps, or a table that scrolls, could not be erased; and a terminal
        that changes its size may wrap the old lines in another way.
        """
        columns, rows = size.columns or sys.maxsize, size.lines or sys.maxsize
        shown = [line[:columns] for line in lines[: rows - 1]]
        erase = UP_AND_CLEAR.format(self._height) if self._height else ""
        if self._size not in (None, size):
            erase = CLEAR_ALL
        self._height, self._size = len(shown), size
        return erase + "\n".join(shown)


def as_objects(listing: Listing) -> list[str]:
    """Return a JSON object for each command."""
    objects: list[dict[str, object]] = []
    for command in listing.commands:
        end = None if command.exit is None else encode_exit(command.exit)
        objects.append({**asdict(command), "exit": end})
    return list(map(json.dumps, objects))


def table(listing: Listing, before: Listing | None = None, interval: float = 1.0) -> list[str]:
    """Return the lines of the table.

    Args:
        listing: the commands.
        before: the listing of the last table, for the CPU since then.
        interval: the seconds between the two listings.
    """
    earlier = {} if before is None else {each.name: each for each in before.commands}
    now = time.time()
    rows = [TITLES, *(_row(each, earlier, interval, now) for each in listing.commands)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if title in RIGHT else cell.ljust(width)
            for title, cell, width in zip(TITLES, row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]


def _row(
    command: CommandInfo, earlier: Mapping[str, CommandInfo], interval: float, now: float
) -> Sequence[str]:
    uptime = None if command.started_at is None else max(0.0, now - command.started_at)
    share = _share(command, earlier.get(command.name), interval, uptime)
    return (
        printable(command.name),
        command.state,
        "" if command.pid is None else "yes" if command.ready else "no",
        "" if command.pid is None else str(command.pid),
        str(command.restarts),
        "" if uptime is None else duration(uptime),
        "" if command.memory is None else size(command.memory),
        "" if share is None else f"{share:.1f}%",
        printable(_end(command)),
    )


def _end(command: CommandInfo) -> str:
    """Return how a command has ended; while it goes on, how its last attempt has failed."""
    end = command.error or ("" if command.exit is None else str(command.exit))
    label = ""
    if command.state in ("running", "restarting") and command.error is None and command.failure:
        end, label = command.failure, "last: "
    # The row has the name.
    return label + end.partition("\n")[0].removeprefix(f"{command.name!r} ")


def _share(
    command: CommandInfo, before: CommandInfo | None, interval: float, uptime: float | None
) -> float | None:
    """Return how many hundredths of a processor a command uses; None if that is unknown."""
    if command.cpu is None or uptime is None:
        return None
    if before is not None and before.cpu is not None and before.pid == command.pid:
        return max(0.0, command.cpu - before.cpu) / interval * 100
    return command.cpu / max(uptime, 0.01) * 100


def size(count: int) -> str:
    """Return a number of bytes with the largest unit that leaves at least 1."""
    amount, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.0f} {unit}" if unit in ("B", "KiB") else f"{amount:.1f} {unit}"
