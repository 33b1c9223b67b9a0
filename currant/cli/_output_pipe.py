"""The pipe that takes the output, as in ``currant run ... | head``: notice that its reader is gone.

A write into a pipe without a reader fails, but a program that has nothing to write would go on.
"""

from __future__ import annotations

import fcntl
import os
import stat

import anyio

__all__ = ["is_pipe", "wait_reader_gone"]


def is_pipe(fd: int) -> bool:
    """Return True if `fd` is the write-only end of a pipe."""
    is_write_only = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY
    return is_write_only and stat.S_ISFIFO(os.fstat(fd).st_mode)


async def wait_reader_gone(pipe: int) -> None:
    """Wait until the read end of a pipe is closed, even if this program writes nothing.

    The write end of a pipe never has data to read.  It becomes "readable" only if it has an error
    to report (Linux: ``EPOLLERR``, poll(2)).
    """
    await anyio.wait_readable(pipe)
