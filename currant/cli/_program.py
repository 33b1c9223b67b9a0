"""Run a group of subcommands as this program, and end the program."""

from __future__ import annotations

import os
import signal as signals
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from currant._values.errors import NO_CURRENT_FOLDER
from currant.cli._peers import advice_on
from currant.cli._signal_death import die_of
from currant.cli._signals import SignalStatus

if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ["STATUS_BROKEN_PIPE", "USAGE_ERROR", "is_about_current_folder", "run_group"]

USAGE_ERROR = 2

STATUS_BROKEN_PIPE = 128 + signals.SIGPIPE
"""The shell's exit status for a program that wrote into a pipe without a reader."""


def run_group(group: click.Group) -> NoReturn:
    """Run the subcommand that the program's arguments name, and end the program.

    A usage error is reported in one line on stderr.
    """
    try:
        status = group.main(standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        status = USAGE_ERROR
    except click.UsageError as error:
        click.echo(f"currant: {' '.join(_message_of(error).split())}", err=True)
        status = USAGE_ERROR
    except click.Abort:  # Ctrl-C arrived before the commands were started.
        status = SignalStatus(128 + signals.SIGINT)
    except SystemExit as error:
        if error.code != 1:  # Words for the completion in a shell have been printed.
            raise
        status = STATUS_BROKEN_PIPE  # Click has caught a BrokenPipeError.
    except OSError as error:  # Writing the help or a list failed.
        text = f"cannot write the output to stdout: {error.strerror}"
        status = 1
        if is_about_current_folder(error):
            text, status = NO_CURRENT_FOLDER, USAGE_ERROR
        click.echo(f"currant: {text}", err=True)
    _exit(status)


def is_about_current_folder(error: OSError) -> bool:
    """Return whether `os.getcwd` has failed, because the current folder was deleted."""
    return isinstance(error, FileNotFoundError) and error.filename is None


def _message_of(error: click.UsageError) -> str:
    """Return the message of an error, with advice on an option that other programs have."""
    if isinstance(error, click.NoSuchOption):
        subcommand = None if error.ctx is None else error.ctx.info_name
        if advice := advice_on(error.option_name, subcommand):
            # Without options that are spelled alike, and the same with every release of click.
            return f"No such option '{error.option_name}'.{advice}"
    return error.format_message()


def _exit(status: int | None) -> NoReturn:
    """End the program without a wait for threads: one may be blocked in a write.

    If a signal has ended currant, currant dies of that signal.
    """
    # The disk may be full, but that error has been reported.  The package mcp may have closed
    # stdout, which is a ValueError.
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    if isinstance(status, SignalStatus):
        die_of(status.signal)
    os._exit(status or 0)
