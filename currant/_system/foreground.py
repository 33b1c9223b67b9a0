"""The controlling terminal of this program, which one process group of the session has at a time.

That group is in the foreground: it reads the keyboard, and Ctrl-C and Ctrl-Z send it signals.  The
system stops any other group that reads, by SIGTTIN.
"""

from __future__ import annotations

import os
import signal as signals
from contextlib import suppress

if os.name == "posix":  # On other systems `require_posix` raises a clear error later.
    import termios

__all__ = ["ControllingTerminal", "signal_that_stopped"]


class ControllingTerminal:
    """The terminal of this program's session.

    Raises:
        OSError: the session has no terminal.
    """

    def __init__(self) -> None:
        self._fd = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
        try:
            self._modes = termios.tcgetattr(self._fd)
        except termios.error as error:
            os.close(self._fd)
            raise OSError(*error.args) from error

    def is_ours(self) -> bool:
        """Return whether the process group of this program is in the foreground."""
        with suppress(OSError):
            return os.tcgetpgrp(self._fd) == os.getpgrp()
        return False

    def give_to(self, group: int) -> None:
        """Put a process group into the foreground; do nothing if it is gone, or the terminal is."""
        # The system stops a group in the background that does this, unless it blocks SIGTTOU.
        mask = signals.pthread_sigmask(signals.SIG_BLOCK, {signals.SIGTTOU})
        try:
            with suppress(OSError):
                os.tcsetpgrp(self._fd, group)
        finally:
            signals.pthread_sigmask(signals.SIG_SETMASK, mask)

    def restore_modes(self) -> None:
        """Set the modes that the terminal had at first; a program that died may leave others."""
        with suppress(termios.error):
            # Now, because a terminal that accepts no output would never be drained.
            termios.tcsetattr(self._fd, termios.TCSANOW, self._modes)

    def close(self) -> None:
        """Close the file; the terminal stays as it is."""
        os.close(self._fd)


def signal_that_stopped(pid: int) -> int | None:
    """Return the signal that has stopped a child since the last call; None if none has.

    Does not reap the child.  None on a system that cannot tell (macOS, before Python 3.13).
    """
    if not hasattr(os, "waitid"):
        return None
    try:
        change = os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOHANG)
    except ChildProcessError:  # It has been reaped.
        return None
    return None if change is None else change.si_status
