"""Limit how much output is under way: a window for each stream, within a budget for each host.

An agent may send as many bytes of a stream as it has credit for.  The driver returns credit when a
reader takes bytes.  So a command whose output is not read has to wait, as for a full pipe.

If a round trip takes long, the agent uses up its credit while new credit is on its way.  The driver
cannot see that.  So a window doubles if its whole size was read in a short time: the larger the
window, the more bytes may be under way in one round trip.  The windows of all streams of a host
share a budget, which bounds the memory.
"""

from __future__ import annotations

from math import inf

from currant._agent.frames import FrameError

__all__ = ["FIRST_WINDOW", "Budget", "Window"]


FIRST_WINDOW = 64 * 1024
"""The size of a window at first, in bytes: that of a pipe on Linux."""

LARGEST_WINDOW = 4 * 1024 * 1024
"""The largest size of a window, in bytes: enough for 80 MB/s if a round trip takes 50 ms."""

SHORT = 0.5
"""Seconds: a window that is read in less time doubles, because it may slow the command.

Round trips are shorter than this.
"""

BUDGET = 64 * 1024 * 1024
"""The bytes by which all windows of a host together may grow."""


class Budget:
    """Bytes by which windows may grow."""

    def __init__(self, total: int = BUDGET) -> None:
        self._left = total

    def take(self, count: int) -> bool:
        """Take `count` bytes; return False, and take none, if fewer are left."""
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
        budget: the budget of the host.

    Attributes:
        size: how many bytes may be under way or unread.
    """

    def __init__(self, budget: Budget) -> None:
        self.size = FIRST_WINDOW
        self._budget = budget
        self._credit = FIRST_WINDOW  # bytes that the agent may still send
        self._owed = 0  # bytes that were read, and not returned as credit yet
        self._read = 0  # bytes that were read since `_read_from`
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
        """Note bytes that a reader has taken; return the credit to give now, which may be 0.

        Args:
            count: how many bytes.
            now: the time in seconds.
        """
        self._owed += count
        if self._should_grow(count, now) and self._budget.take(self.size):
            self._owed += self.size
            self.size *= 2
        if self._credit and self._owed < self.size // 2:
            return 0
        given, self._owed = self._owed, 0
        self._credit += given
        return given

    def _should_grow(self, count: int, now: float) -> bool:
        """Return whether the whole size of the window was read in a short time."""
        self._read += count
        if self._read < self.size:
            return False
        is_short = now < self._read_from + SHORT
        self._read, self._read_from = 0, now
        return is_short and self.size < LARGEST_WINDOW

    def close(self) -> None:
        """Give the bytes that were taken from the budget back."""
        self._budget.give_back(self.size - FIRST_WINDOW)
        self.size = FIRST_WINDOW
