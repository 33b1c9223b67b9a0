"""Pseudo-terminals: open, resize, and make a controlling terminal."""

from __future__ import annotations

import errno
import os
import struct
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

if os.name == "posix":  # On other systems `require_posix` raises a clear error later.
    import fcntl
    import termios

__all__ = [
    "PTMX",
    "TERMINAL_CAPACITY",
    "end_of_file_character",
    "open_terminal",
    "resize_terminal",
    "take_terminal",
]


PTMX = "/dev/ptmx"
"""The file that an error names if the system has no terminal left."""

TERMINAL_CAPACITY = 64 * 1024
"""An upper bound for the unread bytes in a terminal; Linux 6.18 holds 20 kB."""


def open_terminal(rows: int, columns: int) -> tuple[int, int]:
    """Open a pseudo-terminal of that size; return our end and the process's end.

    Raises:
        OSError: no terminal is left, in which case the error names `PTMX`, or no file descriptor.
    """
    try:
        our_end, child_end = os.openpty()
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise
        raise OSError(error.errno, error.strerror, PTMX) from error
    try:
        _set_size(our_end, rows, columns)
    except BaseException:
        os.close(our_end)
        os.close(child_end)
        raise
    return our_end, child_end


def resize_terminal(fd: int, rows: int, columns: int) -> None:
    """Set a terminal's size; the system sends SIGWINCH to the foreground group, if any."""
    with suppress(OSError):  # No process has the terminal open any longer.
        _set_size(fd, rows, columns)


def _set_size(fd: int, rows: int, columns: int) -> None:
    # Python 3.9, on another host, has no `termios.tcsetwinsize`.
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def end_of_file_character(fd: int) -> bytes:
    """Return the character that ends the input of a terminal: ^D unless its program changed it.

    Return no character if no process has the terminal open any longer.
    """
    try:
        character = termios.tcgetattr(fd)[6][termios.VEOF]
    except termios.error:
        return b""
    assert isinstance(character, bytes)
    return character


def take_terminal() -> Callable[[], object]:
    """Return a `preexec_fn` that makes the stdin of a session leader its controlling terminal.

    The function is a single system call.  Between fork and exec a child has no other thread, so
    the function must not wait for a lock that another thread held.
    """
    return partial(fcntl.ioctl, 0, termios.TIOCSCTTY, 0)
