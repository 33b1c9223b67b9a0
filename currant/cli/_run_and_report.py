"""Run the Runner of a subcommand, then write its reports and its tables."""

from __future__ import annotations

from contextlib import closing, suppress
from typing import TYPE_CHECKING

from currant._values.errors import CurrantError
from currant.cli._ci.reports import Reports, ended_commands
from currant.cli._errors import report_error
from currant.cli._run import run_commands
from currant.cli._summary import show_summary, show_timings

if TYPE_CHECKING:
    from collections.abc import Callable

    from currant._supervisor.runner import Runner
    from currant.cli._options import Options
    from currant.cli._prepare.runner import Prepared
    from currant.cli._view import View
    from currant.stack._server import StackServer

__all__ = ["run_and_report"]


def run_and_report(
    subcommand: str,
    build: Callable[[], Prepared],
    options: Options,
    *,
    teardown: Callable[[], Prepared | None] = lambda: None,
) -> int:
    """Run the Runner that `build` returns, and return the exit status.

    Args:
        subcommand: the title of the reports, such as ``"currant run"``.
        build: returns the Runner.
        options: the options.
        teardown: returns a Runner to run afterwards, however the first has ended.  A failure of the
            second counts only if the first has succeeded.
    """
    try:
        with closing(Reports(subcommand, options["junit"])) as reports:
            prepared, later = build(), teardown()  # A mistake in either starts nothing.
            options = prepared.options or options
            status = _run_both(prepared, later, options)
            ended = ended_commands(prepared.runner)
            ended += [] if later is None else ended_commands(later.runner)
            status = reports.write(ended, status)
    except (CurrantError, ValueError) as error:
        return report_error(error)
    with suppress(OSError):  # stderr cannot be written, so the error cannot be reported.
        _show_tables(prepared, options)
    return status


def _run_both(prepared: Prepared, later: Prepared | None, options: Options) -> int:
    """Run a Runner, and then another one; return the exit status."""
    status = _run(prepared.runner, options["success"], prepared.server, prepared.view)
    if later is None or not prepared.runner.jobs:  # There are jobs if the commands could start.
        return status
    failure = _run(later.runner, "all")
    return status or failure


def _run(
    runner: Runner, success: str, server: StackServer | None = None, view: View | None = None
) -> int:
    """Run a Runner, report an error, and return the exit status."""
    try:
        return run_commands(runner, success, server, view)
    except (CurrantError, ValueError) as error:
        return report_error(error)


def _show_tables(prepared: Prepared, options: Options) -> None:
    results = prepared.runner.results.values()
    if not (results and (options["summary"] or options["timings"])):
        return
    if options["timings"]:
        show_timings(results, options["color"])
    if options["summary"]:
        lost = None if prepared.record is None else prepared.record.lost
        show_summary(results, options["color"], lost)
