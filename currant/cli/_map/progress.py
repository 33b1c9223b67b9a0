"""How far a map is: a line on the terminal, or one in ten seconds in the log of a CI."""

from __future__ import annotations

from collections import deque
from io import StringIO
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

from currant.sinks._progress import ProgressLine

if TYPE_CHECKING:
    from collections.abc import Callable

    from currant._batch.work import Work

__all__ = ["CI_INTERVAL", "INTERVAL", "MapProgress"]

INTERVAL = 0.2
"""Seconds between two updates on a terminal."""

CI_INTERVAL = 10.0
"""Seconds between two lines in the log of a CI."""

BAR = 20
"""Columns of the bar."""

SPAN = 30.0
"""Seconds over which the rate is taken."""


class MapProgress(ProgressLine):
    """How many jobs are done and failed, how fast they end, and which takes longest.

    Args:
        work: the jobs.
        total: returns how many items there are; None while that is not known.
        line_of: returns the command of a job by its number, to show.
        color_system: the colours that the terminal takes, by rich's name; None: none.
    """

    def __init__(
        self,
        work: Work[Any],
        total: Callable[[], int | None],
        line_of: Callable[[int], str],
        color_system: str | None = None,
    ) -> None:
        super().__init__()
        self._is_shown = True
        self._work, self._total, self._line_of = work, total, line_of
        self._color_system = color_system
        self._ends: deque[tuple[float, int]] = deque([(monotonic(), 0)])

    def _line(self, width: int) -> str:
        total = self._total()
        text = self.text()
        if not total or width < 3 * BAR:
            return _cut(f"currant: {text}", width)
        done = self._work.succeeded + self._work.failed
        return f"{self._bar(done, total)} {_cut(text, width - BAR - 1)}"

    def text(self) -> str:
        """Return the state as a text of any length."""
        work, now = self._work, monotonic()
        total = self._total()
        done = work.succeeded + work.failed
        rate = self._rate(now, done)
        parts = [f"{done:,}/{'?' if total is None else f'{total:,}'}"]
        if work.failed:
            parts.append(f"{work.failed:,} failed")
        if rate:
            parts.append(f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.2g}/s")
            if total is not None and total > done:
                parts.append(f"{_duration((total - done) / rate)} left")
        slowest = next(iter(work.running.copy().items()), None)
        if slowest is not None:
            number, running = slowest
            parts.append(f"slowest: {_duration(now - running.since)} {self._line_of(number)}")
        return ", ".join(parts)

    def _rate(self, now: float, done: int) -> float:
        """Return how many jobs a second have ended, over the last `SPAN` seconds."""
        self._ends.append((now, done))
        while len(self._ends) > 2 and self._ends[0][0] < now - SPAN:
            self._ends.popleft()
        began, before = self._ends[0]
        return (done - before) / (now - began) if now > began else 0.0

    def _bar(self, done: int, total: int) -> str:
        from rich.console import Console  # noqa: PLC0415 - for a terminal alone
        from rich.progress_bar import ProgressBar  # noqa: PLC0415

        file = StringIO()
        console = Console(
            file=file,
            width=BAR,
            force_terminal=True,
            color_system=cast("Any", self._color_system),
            legacy_windows=False,
        )
        console.print(ProgressBar(total=total, completed=done, width=BAR), end="")
        return file.getvalue().ljust(BAR)  # Without colours, rich leaves out what is to come.


def _cut(text: str, width: int) -> str:
    """Return as much of a text as fits into so many columns."""
    from rich.cells import cell_len, set_cell_size  # noqa: PLC0415 - for a terminal alone

    return text if cell_len(text) <= width else set_cell_size(text, width)


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
