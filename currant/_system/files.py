"""Files and pipes: open for reading without waiting, and look into a pipe."""

from __future__ import annotations

import errno
import os
import stat
import struct

from currant._system.terminal import TERMINAL_HOLDS

if os.name == "posix":  # elsewhere `require_posix` says what is wrong
    import fcntl
    import termios

__all__ = ["bytes_in_pipe", "enlarge_pipe", "is_named_pipe", "open_for_reading"]


def is_named_pipe(path: str) -> bool:
    """Tell whether `path` leads to a named pipe, whose opening waits for the other side."""
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except OSError:
        return False


def open_for_reading(path: str) -> int:
    """Open a file that a process is to read, without waiting for anybody.

    Raises:
        OSError: it cannot be read, or is a directory or a named pipe; the error names it.
    """
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if stat.S_ISFIFO(mode):  # opened like this, it would be at its end where nobody writes yet
        raise OSError(errno.EINVAL, "it is a named pipe", path)
    # O_NONBLOCK: it may be another file by now.
    fd = os.open(path, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
    os.set_blocking(fd, True)
    return fd


def bytes_in_pipe(fd: int) -> int:
    """Return how many bytes a pipe holds that nobody has read; of a terminal, the most it may."""
    if os.isatty(fd):  # it tells only of those that have come to its end
        return TERMINAL_HOLDS
    (count,) = struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, bytes(4)))
    return int(count)


def enlarge_pipe(fd: int, size: int) -> bool:
    """Let a pipe hold `size` bytes, where the system can (Linux) and its limits allow it."""
    if not hasattr(fcntl, "F_SETPIPE_SZ"):
        return False
    try:
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, size)
    except OSError:  # EPERM: /proc/sys/fs/pipe-user-pages-soft, see pipe(7)
        return False
    return True
