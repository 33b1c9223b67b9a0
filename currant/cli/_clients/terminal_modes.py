"""The modes of the terminal during ``currant attach``: of its driver, and of its screen.

The driver's modes are those of `termios`.  The screen's are switched by escape sequences in the
output of the command, so a pause has to switch them back, and its end has to switch them on again.
"""

from __future__ import annotations

import os
import re
import termios
import tty
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

__all__ = ["STDIN", "STDOUT", "ScreenModes", "TerminalModes"]

STDIN, STDOUT = 0, 1

LFLAG, CC = 3, 6
"""The local modes and the control characters in what `termios.tcgetattr` returns."""


class TerminalModes:
    """The modes of the terminal of stdin, for a command; does nothing without a terminal.

    Args:
        stdin: what the command reads, as in `Attachment.stdin`.
        key: the detach key.
    """

    def __init__(self, stdin: str | None, key: bytes) -> None:
        self._stdin = stdin
        self._key = key
        self._before: list[int | list[bytes | int]] | None = None  # None: as they were

    def __enter__(self) -> Self:
        self._set()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.restore()

    def set(self) -> bool:
        """Set the modes for the command; return False if another program has the terminal.

        Keys that were typed before are kept: after a pause, the modes are set twice.
        """
        if not _is_in_foreground():
            return False
        with suppress(termios.error):  # The terminal is gone, which the next read finds.
            self._set()
        return True

    def restore(self) -> None:
        """Set the modes that the terminal had, unless another program uses it now."""
        before, self._before = self._before, None
        if before is not None and _is_in_foreground():
            with suppress(termios.error):
                termios.tcsetattr(STDIN, termios.TCSAFLUSH, before)

    def _set(self) -> None:
        if not os.isatty(STDIN):
            return
        if self._before is None:
            self._before = termios.tcgetattr(STDIN)
        if self._stdin == "terminal":
            tty.setraw(STDIN, termios.TCSADRAIN)
        elif self._stdin == "pipe":
            _set_line_mode(self._key)
        else:
            _set_key_mode()


def _is_in_foreground() -> bool:
    """Return whether this program has the terminal, or no shell controls the terminal."""
    try:
        return os.tcgetpgrp(STDIN) == os.getpgrp()
    except OSError:
        return True


def _set_line_mode(key: bytes) -> None:
    """Let the terminal collect lines, and let the detach key end one."""
    modes = termios.tcgetattr(STDIN)
    modes[CC][termios.VEOL] = key
    termios.tcsetattr(STDIN, termios.TCSADRAIN, modes)


def _set_key_mode() -> None:
    """Pass each key on without an echo; Ctrl-C is a signal as before."""
    modes = termios.tcgetattr(STDIN)
    modes[LFLAG] &= ~(termios.ECHO | termios.ICANON)
    termios.tcsetattr(STDIN, termios.TCSADRAIN, modes)


SWITCH = re.compile(rb"\x1b\[\?([0-9;]+)([hl])")
"""A sequence that switches modes of the screen on (``h``) or off (``l``)."""

ALTERNATE = (b"1049", b"47", b"1047")
"""The modes that show the alternate screen."""

CURSOR = b"25"
"""The mode that shows the cursor, the only one here that is on by default."""

INPUT = (b"1000", b"1002", b"1003", b"1006", b"1004", b"2004", b"1")
"""Reports of the mouse and of the focus, the ends of a paste, the keys of an application."""


class ScreenModes:
    """The modes of the screen that a command has changed."""

    def __init__(self) -> None:
        self._changed: dict[bytes, bytes] = {}  # the mode -> the end of the sequence that set it

    def note(self, output: bytes) -> None:
        """Note what `output` switches."""
        for modes, switch in SWITCH.findall(output):
            for mode in modes.split(b";"):
                if (mode == CURSOR) == (switch == b"h"):
                    self._changed.pop(mode, None)
                elif mode == CURSOR or mode in ALTERNATE or mode in INPUT:
                    self._changed[mode] = switch

    def sequence(self) -> bytes:
        """Return the bytes that switch the modes as the command did."""
        return b"".join(b"\x1b[?%s%s" % each for each in self._changed.items())

    def reset(self) -> bytes:
        """Return the bytes that leave a usual screen: no colour, a cursor, the usual keys."""
        usual = b"\x1b[0m\x1b[?25h" + b"".join(b"\x1b[?%sl" % mode for mode in INPUT) + b"\x1b>"
        alternate = [b"\x1b[?%sl" % mode for mode in ALTERNATE if mode in self._changed]
        return usual + b"".join(alternate) + b"\r\n"
