"""Run what a subcommand has built, and report errors and the summary."""

from __future__ import annotations

import signal as signals
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from currant._values.errors import CurrantError, HostLostError
from currant.cli._run import run_commands
from currant.cli._summary import show_summary

if TYPE_CHECKING:
    from collections.abc import Callable

    from currant.cli._build import Prepared
    from currant.cli._options import Options

__all__ = ["USAGE_ERROR", "run_and_report"]

USAGE_ERROR = 2


def run_and_report(build: Callable[[], Prepared], options: Options) -> int:
    """Run the Runner that `build` returns, and return the exit status."""
    try:
        runner, record, own = build()
        options = own or options
        status = run_commands(runner, options["success"])
        if options["summary"]:
            if signals.getsignal(signals.SIGINT) is signals.default_int_handler:
                # Writing the table may block, for example on a terminal that accepts no output.
                # Ctrl-C must still end the program.
                signals.signal(signals.SIGINT, signals.SIG_DFL)
            with suppress(OSError):  # stderr cannot be written, so the error cannot be reported.
                lost = None if record is None else record.lost
                show_summary(runner.results.values(), options["color"], lost)
    except HostLostError as error:  # No host at all can be reached.
        click.echo(f"currant: {error}", err=True)
        status = 1
    except (CurrantError, ValueError) as error:
        click.echo(f"currant: {error}", err=True)
        status = USAGE_ERROR
    return status
