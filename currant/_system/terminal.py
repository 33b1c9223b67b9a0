"""Pseudo-terminals: open, resize, and make a controlling terminal."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

if os.name == "posix":  # elsewhere `require_posix` says what is wrong
    import fcntl
    import termios

__all__ = [
    "TERMINALS",
    "TERMINAL_HOLDS",
    "end_of_file_character",
    "open_terminal",
    "resize_terminal",
    "take_terminal",
]


TERMINALS = "/dev/ptmx"
"""The file that an error names where the system has no terminal for us."""

TERMINAL_HOLDS = 64 * 1024
"""More bytes than a terminal holds that nobody has read; on Linux 6.18 it is 20 kB."""


def open_terminal(rows: int, columns: int) -> tuple[int, int]:
    """Open a pseudo-terminal of that size; return our end and the one for a process.

    Raises:
        OSError: there is none left; where that is no lack of files, it names `TERMINALS`.
    """
    try:
        ours, its = os.openpty()
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise
        raise OSError(error.errno, error.strerror, TERMINALS) from error
    try:
        termios.tcsetwinsize(ours, (rows, columns))
    except BaseException:
        os.close(ours)
        os.close(its)
        raise
    return ours, its


def resize_terminal(fd: int, rows: int, columns: int) -> None:
    """Set a terminal's size, and have the system tell who is in it, if there is anybody."""
    with suppress(termios.error):  # nobody is in it any longer
        termios.tcsetwinsize(fd, (rows, columns))


def end_of_file_character(fd: int) -> bytes:
    """Return what a terminal takes for the end of the input: ^D, unless its program chose another.

    Empty where nobody is in it any longer.
    """
    try:
        character = termios.tcgetattr(fd)[6][termios.VEOF]
    except termios.error:
        return b""
    assert isinstance(character, bytes)
    return character


def take_terminal() -> Callable[[], object]:
    """Return what has a new process, the leader of its session, take its stdin for its terminal.

    It is a call of the system and nothing else: it runs in a child in which no thread goes on but
    its own, so nothing there may wait for another one.
    """
    return partial(fcntl.ioctl, 0, termios.TIOCSCTTY, 0)
