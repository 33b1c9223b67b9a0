"""`ask_stack`: find a running stack and talk to it, and what else its clients share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar, cast

import anyio
import click

from currant._values.printable import printable
from currant.cli._program import USAGE_ERROR
from currant.stack._client import StackClient
from currant.stack._errors import NoStackError, RequestError, StackError
from currant.stack._folder import find_stack

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from currant.stack._client import Listing
    from currant.stack._folder import StackPaths

__all__ = ["ANSWER_LIMIT", "ask_stack", "folder_option", "show_problems"]

F = TypeVar("F", bound="Callable[..., object]")

PATIENCE = 1.0
"""Seconds that a request may take before currant checks whether the stack answers at all."""

ANSWER_LIMIT = 2.0
"""Seconds that the stack has to answer a question that it answers at once."""


class _SilentStackError(StackError):
    """A stack accepts connections, as the system does on its behalf, and does not answer."""


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
            return anyio.run(_work, find_stack(folder), work)
        except ExceptionGroup as group:
            raise _first_of(group) from None
    except StackError as error:
        is_missing = folder is not None and not os.path.isdir(folder)
        if is_missing and isinstance(error, NoStackError):
            click.echo(f"currant: --folder: there is no folder {folder!r}", err=True)
            return USAGE_ERROR
        click.echo(f"currant: {error}", err=True)
        has_failed = isinstance(error, RequestError) and error.kind == "failed"
        return 1 if has_failed or isinstance(error, _SilentStackError) else USAGE_ERROR


async def _work(stack: StackPaths, work: Callable[[StackClient], Awaitable[int]]) -> int:
    """Talk to a stack until the work is done, or the stack turns out to be silent."""
    client = StackClient(stack.folder, stack.socket)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_check_that_it_answers, client, stack)
        status = await work(client)
        tasks.cancel_scope.cancel()
    # The type checkers assume that every task group swallows errors.
    return status  # pyright: ignore[reportPossiblyUnboundVariable]


async def _check_that_it_answers(client: StackClient, stack: StackPaths) -> None:
    """Ask a question that a stack answers at once, because the work itself may take long.

    Raises:
        _SilentStackError: there is no answer.
    """
    await anyio.sleep(PATIENCE)
    try:
        with anyio.fail_after(ANSWER_LIMIT):
            await client.info()
    except StackError:  # The stack has just ended, or is busy; the work learns that, too.
        return
    except TimeoutError:
        info = stack.read_info()
        process = "" if info is None else f" (pid {info.pid})"
        raise _SilentStackError(
            f"the stack{process} does not answer; it may be paused: 'fg' in its terminal "
            "continues it"
        ) from None


def _first_of(error: Exception) -> Exception:
    """Return the error that task groups have wrapped; it has ended the other tasks."""
    while isinstance(error, ExceptionGroup):
        error = cast("ExceptionGroup[Exception]", error).exceptions[0]
    return error


def show_problems(listing: Listing) -> int:
    """Write a line for each problem; return the exit status."""
    for name, problem in listing.problems.items():
        subject = "" if repr(name) in problem else f"{printable(name)}: "
        click.echo(f"currant: {subject}{problem}", err=True)
    return int(bool(listing.problems))
