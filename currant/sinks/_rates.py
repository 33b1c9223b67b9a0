"""`Rates`: how many commands run, and how much they write, sampled over time.

A sample comes with the first message after its window, so nothing is done while nothing happens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Rates"]

WINDOW = 100_000
"""Microseconds that a sample is about."""

PER_SECOND = 1_000_000 // WINDOW

RUNNING, OUTPUT = "running commands", "output bytes per second"


class Rates:
    """The counters of a run, each with about one sample for each window in which it changes.

    Attributes:
        output: bytes of output in the present window.
    """

    def __init__(self) -> None:
        self.output = 0
        self._running = self._most_running = 0  # now, and the most in the present window
        self._window = 0  # counted from the start
        self._shown = {RUNNING: -1, OUTPUT: -1}  # the last samples

    def count_start(self) -> None:
        """Count a command that runs from now on."""
        self._running += 1
        self._most_running = max(self._most_running, self._running)

    def count_end(self) -> None:
        """Count the end of a command."""
        self._running -= 1

    def samples(self, time: int, *, is_last: bool = False) -> Iterator[tuple[int, str, int]]:
        """Yield the samples of windows that are over: when, of which counter, and its value.

        Args:
            time: the present, in microseconds since the start.
            is_last: whether the present window is over, too.
        """
        window = time // WINDOW + is_last
        if window <= self._window:
            return
        begin = self._window * WINDOW
        yield from self._changed(begin, OUTPUT, self.output * PER_SECOND)
        yield from self._changed(begin, RUNNING, self._most_running)
        if is_last or window > self._window + 1:  # Nothing has happened in the next window.
            yield from self._changed(begin + WINDOW, OUTPUT, 0)
            yield from self._changed(begin + WINDOW, RUNNING, self._running)
        self._window, self.output, self._most_running = window, 0, self._running

    def _changed(self, time: int, name: str, value: int) -> Iterator[tuple[int, str, int]]:
        if self._shown[name] != value:
            self._shown[name] = value
            yield time, name, value
