"""`KeyReader`: single keys from a terminal, whose modes are as before whenever others use it.

Three rules hold.  A program in the background (``currant run … &``) neither reads the terminal nor
changes its modes, since the system would stop it or the shell would suffer; `tcgetpgrp` tells.  The
modes are restored before a pause (Ctrl-Z), and by `__exit__` whatever happens; only SIGKILL leaves
no time for that, and then ``stty sane`` helps.  Signals stay with the terminal: Ctrl-C and Ctrl-Z
are no keys.

A shell sends no signal if it puts a running program into the foreground, so that is looked at twice
a second, while the program is in the background.
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

__all__ = ["KeyReader", "is_in_foreground", "resize_terminals", "terminal_size"]

FOREGROUND_INTERVAL = 0.5
"""Seconds between two looks whether the program has come into the foreground."""

AT_ONCE = 4096
"""Bytes to read at once; a terminal holds no more."""


class KeyReader:
    """Reads single keys, without an echo, from a terminal.

    Args:
        fd: the terminal.
        on_turn: called with whether this program has the terminal, when that changes.
    """

    def __init__(self, fd: int, on_turn: Callable[[bool], None] = lambda _: None) -> None:
        self._fd = fd
        self._on_turn = on_turn
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

        Cancellation: loses nothing.
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
            self._on_turn(False)  # noqa: FBT003 - what `on_turn` takes

    def _take(self) -> bool:
        """Set the modes for single keys, unless another program has the terminal; return whether.

        Raises:
            termios.error: the terminal is gone.
        """
        if self._is_paused or not is_in_foreground(self._fd):
            if self._before is not None:
                self._before = None  # Whoever has the terminal now has set the modes.
                self._on_turn(False)  # noqa: FBT003
            return False
        if self._before is None:
            before = termios.tcgetattr(self._fd)
            termios.tcsetattr(self._fd, termios.TCSANOW, _with_single_keys(before))
            self._before = before
            self._on_turn(True)  # noqa: FBT003
        return True


def _with_single_keys(modes: list[int | list[bytes | int]]) -> list[int | list[bytes | int]]:
    """Return the modes in which each key arrives at once, as it is, and is not shown."""
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
    """Return whether no other program has the terminal now, as far as a shell hands it around."""
    try:
        return os.tcgetpgrp(fd) == os.getpgrp()
    except OSError as error:  # The terminal is gone, or controls another session, or none.
        return error.errno == errno.ENOTTY and os.isatty(fd)


def terminal_size(fd: int) -> Pty | None:
    """Return the size of a terminal; None if it has none."""
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
        labels: the columns that the label of a command takes, by the names of the commands to
            resize.
    """
    size = terminal_size(fd)
    if size is not None:
        for name, label in labels.items():
            await runner[name].resize(size.rows, max(1, size.columns - label))
