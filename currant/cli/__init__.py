"""The `currant` command; its packages come with the extra ``cli``."""

from __future__ import annotations

import gc
import os
import signal as signals
import sys

__all__ = ["main"]

GARBAGE = 50_000
"""Objects after which Python looks for cycles among them, otherwise 700: they come with imports.

A start takes 0.02 s less.
"""


def main() -> None:
    """Run the command that the program's arguments give; ends the program."""
    _open_standard_streams()
    gc.set_threshold(GARBAGE)
    try:
        from currant.cli._commands import command_line  # noqa: PLC0415 - it needs the extra
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        sys.exit("currant: the command line needs its extra: pip install 'currant[cli]'")
    except KeyboardInterrupt:
        sys.exit(128 + signals.SIGINT)
    command_line()


def _open_standard_streams() -> None:
    """Open ``/dev/null`` where the shell closed a standard stream (``>&-``).

    Otherwise its number would go to the next file that is opened, and output into that.
    """
    for number, mode in enumerate("rww"):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
            stream = open(number, mode, closefd=False)  # noqa: SIM115 - for as long as we run
            setattr(sys, ("stdin", "stdout", "stderr")[number], stream)
