"""``currant report``: a page that shows a run, from its trace."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from currant._timeline import TraceError, read_report, write_page
from currant._values.errors import CommandError
from currant.cli._errors import report_error

__all__ = ["report"]

STDOUT = "-"


@click.command()
@click.argument("trace", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    metavar="PAGE",
    help="The page; -: stdout.  [default: the name of FILE with .html]",
)
def report(trace: Path, output: str | None) -> int:
    """Make a page with the timeline and the results of a run.

    FILE is a trace, which run, start and map write with --trace FILE; the trace of a run that was
    killed will do.  The page is one file.  It has the timeline, the exit, the usage and the last
    lines of each command, and the critical path.  Any browser opens it, without a network.
    """
    try:
        page = _page_of(trace)
        _write(page, trace, output or str(trace.with_suffix(".html")))
    except CommandError as error:
        return report_error(error)
    return 0


def _page_of(trace: Path) -> bytes:
    """Return the page; raise `CommandError` if the trace cannot be read."""
    try:
        with trace.open("rb") as file:
            page = write_page(read_report(file), trace.name)
    except OSError as error:
        raise CommandError(f"{trace}: {error.strerror}") from error
    except TraceError as error:
        raise CommandError(f"{trace}: {error}") from error
    return page.encode(errors="replace")


def _write(page: bytes, trace: Path, target: str) -> None:
    """Write the page; raise `CommandError` if that fails, or would overwrite the trace."""
    try:
        if target == STDOUT:
            sys.stdout.buffer.write(page)
            sys.stdout.buffer.flush()
            return
        if os.path.exists(target) and os.path.samefile(target, trace):
            raise CommandError(f"{target} is the trace itself; give the page another name, with -o")
        Path(target).write_bytes(page)
    except BrokenPipeError:  # `run_group` ends the program, as after `| head`.
        raise
    except OSError as error:
        raise CommandError(f"{target}: {error.strerror}") from error
