"""Which server has ended before the test, and why."""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from currant._values.errors import NotReadyError, with_lines
from currant._values.policies import StopReason
from currant._values.printable import printable
from currant.cli._errors import print_error

if TYPE_CHECKING:
    from currant._values.results import Result
    from currant.cli._ci.reports import EndedCommand
    from currant.cli._with.plan import Plan

__all__ = ["as_failed", "explain", "first_ended"]

IN_USE = re.compile(rb"EADDRINUSE|address (is )?already in use", re.IGNORECASE)
"""The message of a server that cannot bind to its port."""

OPTIONS_FOR = {
    "pass own=False to the probe": "give --any-owner",
    "name the file of its authority with ca, or pass verify=False to the probe": (
        "set SSL_CERT_FILE to the file of its authority, or give --any-certificate"
    ),
}
"""What the reason of a failure says about Python, and the option to name instead."""


def first_ended(plan: Plan) -> Result | None:
    """Return the result of the server that has ended before the test; None if none has."""
    ended = [each for each in plan.runner.results.values() if each.command != plan.test]
    ended = [each for each in ended if each.status != "stopped"]
    reason = plan.runner.barrier.reason
    if isinstance(reason, StopReason):
        ended.sort(key=lambda each: each.command != reason.command)
    return next(iter(ended), None)


def as_failed(ended: EndedCommand, failed: Result | None) -> EndedCommand:
    """Return a command for the reports, in which a server that ended by itself has failed."""
    if ended.result is not failed:
        return ended
    return ended._replace(result=replace(ended.result, status="failed"))


def explain(plan: Plan, failed: Result | None, *, quiet: bool) -> None:
    """Say which server has ended before the test."""
    if failed is None:
        return
    has_begun = bool(plan.runner[plan.test].attempts)
    if has_begun:  # It may have left a line unfinished.
        with suppress(OSError):  # as in `print_error`
            print(file=sys.stderr)
    # If the test has not started, the last lines of the server are the last lines that were shown.
    is_shown = not quiet and not has_begun
    print_error(with_lines(_end_of(failed), () if is_shown else failed.tail))
    if plan.has_ports and any(IN_USE.search(line.data) for line in failed.tail):
        print_error(
            "a port of --port is held until the server binds to it, which needs SO_REUSEADDR; "
            "give a server without that a port of your own"
        )


def _end_of(result: Result) -> str:
    """Return in one line how a server has failed."""
    name = printable(result.command)
    if isinstance(result.error, NotReadyError):
        reason = result.error.reason
        for argument, option in OPTIONS_FOR.items():
            reason = reason.replace(argument, option)
        return f"{name} is not ready: {reason}"
    if result.error is not None:
        return str(result.error).partition("\n")[0]
    return f"{name} ended before the test: {result.exit}"
