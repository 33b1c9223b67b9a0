"""`CommandInput`: passes the input of this program to one command."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

import anyio

from currant._channel.threads import in_thread
from currant._values.errors import StdinClosedError
from currant.view._terminal import FOREGROUND_INTERVAL, KeyReader, is_in_foreground

if TYPE_CHECKING:
    from currant._supervisor.job import Job
    from currant._supervisor.runner import Runner

__all__ = ["CommandInput"]

STDIN = 0
AT_ONCE = 65536


class CommandInput:
    """Passes stdin to one command: typed keys or lines, or the bytes of a pipe or a file.

    A command with a pipe gets a line once it is complete, so a person can edit the line.  A command
    with a terminal of its own gets each key, and its terminal echoes the key.

    Args:
        name: the name of the command.
        by_keys: whether both the command and this program have a terminal.
    """

    def __init__(self, name: str, *, by_keys: bool) -> None:
        self._name = name
        self._reader = KeyReader(STDIN) if by_keys else None

    async def run(self, runner: Runner) -> None:
        """Pass on the input until its end.

        Cancellation: restores the modes of the terminal.
        """
        job = runner[self._name]
        if self._reader is None:
            await self._pass_on(job)
            return
        with self._reader:
            while keys := await self._reader.receive():
                await _send(job, keys)

    async def pause(self) -> None:
        """Read no input until `resume`; call `restore` then."""
        if self._reader is not None:
            self._reader.pause()

    def restore(self) -> None:
        """Set the modes that the terminal had."""
        if self._reader is not None:
            self._reader.restore()

    def resume(self) -> None:
        """Take the terminal again, if this program is in the foreground."""
        if self._reader is not None:
            self._reader.resume()

    def resize(self) -> None:
        """Do nothing, because `View.resize` resizes the terminals of commands."""

    async def _pass_on(self, job: Job) -> None:
        while data := await _read():
            await _send(job, data)
        try:
            await job.close_stdin()
        except StdinClosedError:
            return


async def _send(job: Job, data: bytes) -> None:
    """Send input.  If no process can read it, the input is lost, as on an idle terminal."""
    try:
        await job.send(data)
    except StdinClosedError:
        return


async def _read() -> bytes:
    """Wait for input, and return the bytes; b"" at the end."""
    while True:
        if os.isatty(STDIN) and not is_in_foreground(STDIN):
            await anyio.sleep(FOREGROUND_INTERVAL)
            continue
        try:
            await anyio.wait_readable(STDIN)
        except OSError:  # The system does not poll files, which are always readable.
            return await in_thread(partial(os.read, STDIN, AT_ONCE))
        if os.isatty(STDIN) and not is_in_foreground(STDIN):
            continue
        try:
            return os.read(STDIN, AT_ONCE)
        except OSError:  # The terminal is gone.
            return b""
