"""Errors and warnings, as lines on stderr that begin with ``currant:``, and their exit statuses.

`OutputError` is raised if a log or a report cannot be written.
"""

from __future__ import annotations

import os
import sys
import warnings
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import click

from currant._values.errors import NO_CURRENT_FOLDER, CurrantError, HostLostError
from currant.cli._program import STATUS_BROKEN_PIPE, USAGE_ERROR, is_about_current_folder
from currant.sinks import SinkWarning
from currant.sinks._live import is_live
from currant.sinks._progress import ERASE

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = [
    "STATUS_LOST_HOSTS",
    "OutputError",
    "noting_output_error",
    "print_error",
    "report_error",
    "showing_warnings",
    "status_without_output",
]

STDERR = 2

STATUS_LOST_HOSTS = 1


class OutputError(CurrantError):
    """A log or a report cannot be written, because the disk is full for example.

    `__cause__` is the operating system's error.

    Attributes:
        what: what the file is, such as ``"job log"``.
        path: the path of the file.
        reason: the text of the operating system's error.
    """

    _fields = ("what", "path", "reason")

    def __init__(self, what: str, path: str, reason: str) -> None:
        super().__init__(f"cannot write the {what} {path}: {reason}")
        self.what = what
        self.path = path
        self.reason = reason

    @classmethod
    def of(cls, error: OSError, what: str, path: str) -> OutputError:
        """Build from an error of the operating system, which may name a file itself."""
        return cls(what, path, error.strerror or str(error))


def report_error(error: Exception) -> int:
    """Show an error, and return the exit status."""
    click.echo(f"currant: {error}", err=True)
    # If hosts are lost here, no host at all can be reached.
    return STATUS_LOST_HOSTS if isinstance(error, HostLostError) else USAGE_ERROR


def print_error(text: str) -> None:
    """Write a line to stderr; on a terminal, it replaces the progress line."""
    with suppress(OSError):  # stderr may be on a full disk, too.
        start = ERASE.decode() if is_live(os.environ, STDERR) else ""
        print(f"{start}currant: {text}", file=sys.stderr, flush=True)


@contextmanager
def showing_warnings() -> Generator[None]:
    """Show the warnings of sinks as messages of currant."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", SinkWarning)
        warnings.showwarning = _show_warning
        yield


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    print_error(str(message))


@contextmanager
def noting_output_error(reasons: list[int]) -> Generator[None]:
    """End the block if a sink cannot write the output; the exit status goes to `reasons`."""
    try:
        yield
    except CurrantError:
        raise
    except OSError as error:
        reasons.append(status_without_output(error))


def status_without_output(error: OSError) -> int:
    """Return the exit status if the output cannot be written, and report why."""
    if isinstance(error, BrokenPipeError):
        return STATUS_BROKEN_PIPE
    if is_about_current_folder(error):
        print_error(NO_CURRENT_FOLDER)
        return USAGE_ERROR
    file = f" to {error.filename.strip('<>')}" if error.filename else ""  # Python's "<stdout>"
    print_error(f"cannot write the output{file}: {error.strerror}")
    return 1
