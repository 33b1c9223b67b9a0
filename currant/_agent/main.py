"""Run the agent, whose stdin and stdout are the link, until the driver is gone."""

from __future__ import annotations

import os
import signal as signals

import anyio

from currant._agent.link import Link
from currant._agent.server import ENDING_SIGNALS, Server
from currant._system.files import enlarge_pipe
from currant._system.rlimits import FileLimit

__all__ = ["main"]


PIPE_SIZE = 1024 * 1024
"""The capacity of stdin and stdout, if they are pipes and the system allows that, in bytes."""


def main() -> None:
    """Run the agent."""
    signals.signal(signals.SIGCHLD, signals.SIG_DFL)  # Ignored, it would hide all exit statuses.
    read_fd, write_fd = _take_standard_files()
    anyio.run(_serve, read_fd, write_fd, _watch_signals(), FileLimit())


async def _serve(read_fd: int, write_fd: int, signal_fd: int, limit: FileLimit) -> None:
    await Server(Link(read_fd, write_fd), signal_fd, limit).run()


def _take_standard_files() -> tuple[int, int]:
    """Move the link away from stdin and stdout, and open ``/dev/null`` in their place."""
    read_fd, write_fd = os.dup(0), os.dup(1)
    for fd in (read_fd, write_fd):
        os.set_blocking(fd, False)
        enlarge_pipe(fd, PIPE_SIZE)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)
    return read_fd, write_fd


def _watch_signals() -> int:
    """Return a file on which each signal that has a handler arrives as a byte.

    The handler does nothing.  The signals are not ignored, because every command would inherit
    that.
    """
    read_end, write_end = os.pipe()
    for fd in (read_end, write_end):
        os.set_blocking(fd, False)
    signals.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    for number in ENDING_SIGNALS:
        signals.signal(number, _do_nothing)
    return read_end


def _do_nothing(*_: object) -> None:
    """Handle a signal; Python has written its byte already."""
