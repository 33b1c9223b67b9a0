"""`KeyReader`: single keys from a terminal, with the usual modes while other programs use it.

Three rules hold:

- A program in the background (``currant run … &``) neither reads the terminal nor changes the
  modes: the system would stop the program, or the shell would get the wrong modes.
- The modes are restored before a pause (Ctrl-Z), and by `__exit__` after any error.  Only SIGKILL
  leaves no time for that; ``stty sane`` restores the modes then.
- The terminal still turns Ctrl-C and Ctrl-Z into signals.

A shell that puts a running program into the foreground sends no signal.  So a program in the
background asks the system twice a second (`tcgetpgrp`).
"""

from __future__ import annotations

import errno
import os
import termios
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio

from currant._values.launch_spec import Pty

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Self

    from currant._supervisor.runner import Runner

__all__ = ["KeyReader", "is_in_foreground", "resize_terminals", "shows_interrupts", "terminal_size"]

FOREGROUND_INTERVAL = 0.5
"""Seconds between two checks whether the program is in the foreground."""

AT_ONCE = 4096
"""Bytes to read at once.  A terminal buffers at most this many."""


class KeyReader:
    """Reads single keys, without an echo, from a terminal.

    Args:
        fd: the terminal.
        on_terminal: called when this program takes the terminal (True), and gives it back (False).
    """

    def __init__(self, fd: int, on_terminal: Callable[[bool], None] = lambda _: None) -> None:
        self._fd = fd
        self._on_terminal = on_terminal
        self._before: list[int | list[bytes | int]] | None = None  # the modes; None: as they were
        self._is_paused = False
        self._waiting: anyio.CancelScope | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.restore()

    async def receive(self) -> bytes:
        """Wait for keys, and return their bytes; b"" if the terminal is gone.

        Cancellation: loses no key.
        """
        while True:
            try:
                is_ours = self._take()
            except termios.error:
                return b""
            if not is_ours:
                await anyio.sleep(FOREGROUND_INTERVAL)
                continue
            with anyio.CancelScope() as self._waiting:
                await anyio.wait_readable(self._fd)
            self._waiting = None
            if self._before is not None and is_in_foreground(self._fd):
                try:
                    return os.read(self._fd, AT_ONCE)
                except OSError:
                    return b""

    def pause(self) -> None:
        """Restore the modes, and read no keys until `resume`."""
        self._is_paused = True
        self.restore()
        if self._waiting is not None:
            self._waiting.cancel()

    def resume(self) -> None:
        """Read keys again, as soon as the program is in the foreground."""
        self._is_paused = False
        with suppress(termios.error):  # The next `receive` finds that the terminal is gone.
            self._take()

    def restore(self) -> None:
        """Set the modes that the terminal had, unless another program uses it now."""
        before, self._before = self._before, None
        if before is not None and is_in_foreground(self._fd):
            with suppress(termios.error):  # The terminal is gone.
                termios.tcsetattr(self._fd, termios.TCSANOW, before)
        if before is not None:
            self._on_terminal(False)  # noqa: FBT003 - as `on_terminal` takes it

    def _take(self) -> bool:
        """Set the modes for single keys, unless another program has the terminal.

        Returns:
            Whether this program has the terminal.

        Raises:
            termios.error: the terminal is gone.
        """
        if self._is_paused or not is_in_foreground(self._fd):
            if self._before is not None:
                self._before = None  # The program that has the terminal now has set the modes.
                self._on_terminal(False)  # noqa: FBT003
            return False
        if self._before is None:
            before = termios.tcgetattr(self._fd)
            termios.tcsetattr(self._fd, termios.TCSANOW, _with_single_keys(before))
            self._before = before
            self._on_terminal(True)  # noqa: FBT003
        return True


def _with_single_keys(modes: list[int | list[bytes | int]]) -> list[int | list[bytes | int]]:
    """Return modes in which each key arrives at once, unchanged and without an echo."""
    inputs, outputs, control, local, *speeds, characters = modes
    assert isinstance(inputs, int)
    assert isinstance(local, int)
    assert isinstance(characters, list)
    keys = [*characters]
    keys[termios.VMIN], keys[termios.VTIME] = 1, 0
    inputs &= ~termios.ICRNL
    local &= ~(termios.ECHO | termios.ICANON | termios.IEXTEN)
    return [inputs, outputs, control, local, *speeds, keys]


def is_in_foreground(fd: int) -> bool:
    """Return whether this program has the terminal, or no shell controls the terminal."""
    try:
        return os.tcgetpgrp(fd) == os.getpgrp()
    except OSError as error:  # The terminal is gone, or controls another session, or none.
        return error.errno == errno.ENOTTY and os.isatty(fd)


def shows_interrupts(fd: int) -> bool:
    """Return whether a terminal shows ``^C`` if a person interrupts this program."""
    shown = termios.ECHO | termios.ECHOCTL | termios.ISIG
    try:
        return is_in_foreground(fd) and termios.tcgetattr(fd)[3] & shown == shown
    except termios.error:  # The terminal is gone.
        return False


def terminal_size(fd: int) -> Pty | None:
    """Return the size of a terminal; None if the size is unknown."""
    try:
        size = os.get_terminal_size(fd)
    except OSError:
        return None
    return Pty(size.lines, size.columns) if size.lines and size.columns else None


async def resize_terminals(runner: Runner, fd: int, labels: Mapping[str, int]) -> None:
    """Give the terminals of commands the size of this program's terminal.

    Args:
        runner: the commands.
        fd: the terminal.
        labels: the names of the commands to resize -> the columns of the label before each line.
    """
    size = terminal_size(fd)
    if size is not None:
        for name, label in labels.items():
            await runner[name].resize(size.rows, max(1, size.columns - label))
