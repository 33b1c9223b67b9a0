"""Files and pipes: open a file without waiting or in memory, and query or enlarge a pipe."""

from __future__ import annotations

import errno
import os
import stat
import struct

from currant._system.terminal import TERMINAL_CAPACITY

if os.name == "posix":  # On other systems `require_posix` raises a clear error later.
    import fcntl
    import termios

__all__ = [
    "bytes_in_pipe",
    "check_access",
    "enlarge_pipe",
    "is_named_pipe",
    "open_file_in_memory",
    "open_for_reading",
    "open_for_writing",
]

USUAL_PAGES = 16
"""The pages of memory that Linux gives to a new pipe."""


def is_named_pipe(path: str) -> bool:
    """Return whether `path` leads to a named pipe, which waits for a writer when opened."""
    return stat.S_ISFIFO(_mode_of(path))


def open_for_reading(path: str) -> int:
    """Open a file as the stdin of a process, without waiting.

    Raises:
        OSError: `path` cannot be read, or is a directory or a named pipe; the error names it.
    """
    return _open_at_once(path, os.O_RDONLY)


def open_for_writing(path: str, umask: int = 0) -> int:
    """Open a file as an output of a process, without waiting: create the file, or empty it.

    Args:
        path: the file.
        umask: the permissions that a new file does not get, besides those of this program's umask.

    Raises:
        OSError: `path` cannot be written, or is a directory or a named pipe; the error names it.
    """
    return _open_at_once(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666 & ~umask)


def _open_at_once(path: str, flags: int, permissions: int = 0) -> int:
    mode = _mode_of(path)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if stat.S_ISFIFO(mode):  # Opened without waiting, it would be empty, or not open.
        raise OSError(errno.EINVAL, "it is a named pipe", path)
    # O_NONBLOCK, because the path may lead to a named pipe by now.
    fd = os.open(path, flags | os.O_NOCTTY | os.O_NONBLOCK, permissions)
    os.set_blocking(fd, True)
    return fd


def _mode_of(path: str) -> int:
    """Return the mode of a file; 0 if there is no such file, or none that we may look at."""
    try:
        return os.stat(path).st_mode
    except OSError:
        return 0


def check_access(fd: int, *, for_writing: bool) -> None:
    """Check that a descriptor is open for writing, or for reading.

    Raises:
        OSError: EBADF: it is not, as a write or a read would say.
    """
    access = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE
    if access == (os.O_RDONLY if for_writing else os.O_WRONLY):
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))


def open_file_in_memory(name: str) -> int:
    """Open an empty file without a path, for reading and writing.

    Only Linux keeps such a file in memory; elsewhere it is in the folder for temporary files.

    Raises:
        OSError: no descriptor is left, or the folder cannot be written.
    """
    if hasattr(os, "memfd_create"):
        return os.memfd_create(name)
    import tempfile  # noqa: PLC0415 - takes several milliseconds

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def bytes_in_pipe(fd: int) -> int:
    """Return the number of unread bytes in a pipe, or the most that a terminal may hold."""
    if os.isatty(fd):  # FIONREAD misses bytes that have not passed through the terminal yet.
        return TERMINAL_CAPACITY
    (count,) = struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, bytes(4)))
    return int(count)


def enlarge_pipe(fd: int, size: int) -> bool:
    """Set the capacity of a pipe to `size` bytes; return False if that is not possible.

    Only Linux can, and only within the user's limit.  If another program has set the capacity, it
    stays.
    """
    if not hasattr(fcntl, "F_SETPIPE_SZ"):
        return False
    try:
        if fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ) != USUAL_PAGES * os.sysconf("SC_PAGE_SIZE"):
            return False
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, size)
    except OSError:  # EBADF: no pipe.  EPERM: /proc/sys/fs/pipe-user-pages-soft, see pipe(7)
        return False
    return True
