"""``currant reload``: let a running stack read its configuration again."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import click

from currant._values.printable import printable
from currant.cli._clients.ask import ask_stack, folder_option, show_problems
from currant.stack._configuration import Difference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from currant.stack._client import StackClient

__all__ = ["reload"]


@click.command()
@click.option("--dry-run", is_flag=True, help="Show what would happen, and do nothing.")
@folder_option
def reload(*, dry_run: bool, folder: str | None) -> int:
    """Apply what has changed in the configuration or the Procfile.

    currant reads the files again, starts new commands, stops removed commands, restarts changed
    commands, and starts commands again that were skipped because of these.  It shows the
    difference first.  If a file is wrong, nothing changes.  The exit status is 1 if a command is
    not ready then.
    """

    async def ask(client: StackClient) -> int:
        status = 0
        async with aclosing(client.reloading(apply=not dry_run)) as steps:
            async for step in steps:
                if isinstance(step, Difference):
                    click.echo("\n".join(_lines(step)))
                else:
                    status = show_problems(step)
        return status

    return ask_stack(folder, ask)


def _lines(change: Difference) -> Iterator[str]:
    yield from (f"start {printable(name)}: it is new" for name in change.start)
    yield from (f"stop {printable(name)}: it is gone" for name in change.stop)
    yield from (f"restart {printable(name)}: it has changed" for name in change.restart)
    yield from (f"start {printable(name)}: it was skipped" for name in change.again)
    is_same = not (change.start or change.stop or change.restart)
    # The top level is not compared.
    hint = "; settings at the top level apply from the next 'currant start'" if is_same else ""
    yield f"{len(change.unchanged)} unchanged{hint}"
