"""How much output of a process may be under way: a window for each stream, within a budget.

An agent may send as many bytes as it has credit for.  The driver returns credit when a reader takes
bytes, so a command whose output nobody reads waits, as it does for a full pipe.  On a long way an
agent runs out of credit while more is on its way there, and the driver cannot see that.  So a
window doubles when as much as it holds was read in a short time: the larger it is, the more bytes
may be under way in one round trip.  The windows of all streams of a host share a budget, so memory
is bounded.
"""

from __future__ import annotations

from math import inf

from currant._agent.frames import FrameError

__all__ = ["FIRST_WINDOW", "Budget", "Window"]


FIRST_WINDOW = 64 * 1024
"""The bytes of a window at first: as many as a pipe of Linux holds."""

LARGEST_WINDOW = 4 * 1024 * 1024
"""The bytes of a window at most: enough for 80 MB/s if a round trip takes 50 ms."""

SHORT = 0.5
"""Seconds: a window that is read in less time may be what slows a command, and doubles.

No round trip takes longer.
"""

BUDGET = 64 * 1024 * 1024
"""The bytes by which all windows of a host may grow."""


class Budget:
    """Bytes by which windows may grow."""

    def __init__(self, total: int = BUDGET) -> None:
        self._left = total

    def take(self, count: int) -> bool:
        """Take `count` bytes; return False if so many are not left."""
        if count > self._left:
            return False
        self._left -= count
        return True

    def give_back(self, count: int) -> None:
        """Give back bytes that were taken."""
        self._left += count


class Window:
    """The credit of one stream.

    Args:
        budget: that of the host.

    Attributes:
        size: how many bytes may be under way or unread.
    """

    def __init__(self, budget: Budget) -> None:
        self.size = FIRST_WINDOW
        self._budget = budget
        self._credit = FIRST_WINDOW  # of the agent
        self._owed = 0
        self._read = 0  # since `_read_from`
        self._read_from = -inf

    def note_received(self, count: int) -> None:
        """Note bytes that the agent has sent.

        Raises:
            FrameError: the agent had no credit for so many.
        """
        self._credit -= count
        if self._credit < 0:
            raise FrameError("the host has sent more output than it may")

    def note_read(self, count: int, now: float) -> int:
        """Note bytes that a reader has taken; return how much credit to give now, perhaps 0.

        Args:
            count: how many bytes.
            now: the time in seconds.
        """
        self._owed += count
        if self._is_small(count, now) and self._budget.take(self.size):
            self._owed += self.size
            self.size *= 2
        if self._credit and self._owed < self.size // 2:
            return 0
        given, self._owed = self._owed, 0
        self._credit += given
        return given

    def _is_small(self, count: int, now: float) -> bool:
        """Return whether as much as the window holds was read in a short time."""
        self._read += count
        if self._read < self.size:
            return False
        is_short = now < self._read_from + SHORT
        self._read, self._read_from = 0, now
        return is_short and self.size < LARGEST_WINDOW

    def close(self) -> None:
        """Give back what was taken from the budget."""
        self._budget.give_back(self.size - FIRST_WINDOW)
        self.size = FIRST_WINDOW
