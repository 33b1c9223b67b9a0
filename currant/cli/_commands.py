"""The options of `currant`, as click reads them; what they do is in `currant.cli._run`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, get_args

import click

from currant._command import KillOthersOn
from currant._errors import CurrantError
from currant._restart import RestartWhen
from currant.cli._run import build, run_commands

if TYPE_CHECKING:
    from collections.abc import Sequence

USAGE_ERROR = 2


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="currant")
def currant() -> None:
    """Run many commands at once; nothing of them is left behind."""


@currant.command()
@click.option("-n", "--names", metavar="A,B,…", help="A name for each command, in order.")
@click.option(
    "--restart",
    type=click.Choice(get_args(RestartWhen)),
    default="never",
    show_default=True,
    help="Start a command again that has ended by itself, after a growing wait.",
)
@click.option(
    "-k",
    "--kill-others-on",
    type=click.Choice(get_args(KillOthersOn)),
    help="Stop all when one command ends this way.",
)
@click.option(
    "-m",
    "--max-processes",
    type=click.IntRange(min=1),
    metavar="N",
    help="Run at most N at the same time; the others wait their turn.",
)
@click.option(
    "--grace",
    type=click.FloatRange(min=0),
    default=5.0,
    show_default=True,
    metavar="S",
    help="Seconds from asking a command to stop to killing it.",
)
@click.argument("commands", metavar="COMMAND...", nargs=-1, required=True)
def run(
    commands: Sequence[str],
    names: str | None,
    restart: RestartWhen,
    kill_others_on: KillOthersOn | None,
    max_processes: int | None,
    grace: float,
) -> None:
    """Run each COMMAND, one line for the shell, and show what they write.

    Ctrl-C stops all of them; a second one kills what does not stop.  The exit status is that of the
    first command that failed, 128 + n where signal n ended it.
    """
    try:
        runner = build(
            commands,
            names=None if names is None else names.split(","),
            restart=restart,
            kill_others_on=kill_others_on,
            max_processes=max_processes,
            grace=grace,
        )
        status = run_commands(runner)
    except CurrantError as error:
        click.echo(f"currant: {error}", err=True)
        status = USAGE_ERROR
    sys.stdout.flush()
    # Not sys.exit: a thread may still be writing to a file that takes nothing.
    os._exit(status)
