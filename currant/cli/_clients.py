"""The shared parts of the subcommands that talk to a running stack."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

import anyio
import click

from currant._values.printable import printable
from currant.cli._program import USAGE_ERROR
from currant.stack._client import StackClient
from currant.stack._errors import RequestError, StackError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from currant.stack._client import Listing

__all__ = ["ask_stack", "folder_option", "show_problems"]

F = TypeVar("F", bound="Callable[..., object]")


def folder_option(function: F) -> F:
    """Add the option ``--folder``."""
    return click.option(
        "--folder",
        type=click.Path(file_okay=False),
        metavar="DIR",
        help="The folder in which the stack was started.  [default: this one, or the nearest "
        "parent with a stack]",
    )(function)


def ask_stack(folder: str | None, work: Callable[[StackClient], Awaitable[int]]) -> int:
    """Find the stack, talk to it, and return the exit status.

    Args:
        folder: the value of ``--folder``.
        work: talks to the stack, and returns the exit status.
    """
    try:
        try:
            return anyio.run(work, StackClient.find(folder))
        except ExceptionGroup as group:
            raise _first_of(group) from None
    except StackError as error:
        click.echo(f"currant: {error}", err=True)
        has_failed = isinstance(error, RequestError) and error.kind == "failed"
        return 1 if has_failed else USAGE_ERROR


def _first_of(error: Exception) -> Exception:
    """Return the error that task groups have wrapped; it has ended the other tasks."""
    while isinstance(error, ExceptionGroup):
        error = cast("ExceptionGroup[Exception]", error).exceptions[0]
    return error


def show_problems(listing: Listing) -> int:
    """Write a line for each problem; return the exit status."""
    for name, problem in listing.problems.items():
        subject = "" if name in problem else f"{printable(name)}: "
        click.echo(f"currant: {subject}{problem}", err=True)
    return int(bool(listing.problems))
