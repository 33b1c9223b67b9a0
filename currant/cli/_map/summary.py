"""`Summary`: how many jobs ended how, and the job that failed first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from currant._values.errors import with_lines
from currant._values.printable import printable
from currant._values.results import end_of
from currant.cli._ci.result_texts import LAST_LINES
from currant.cli._ci.step_summary import SummaryRow, summary_text

if TYPE_CHECKING:
    from currant.cli._map.ended import Ended

__all__ = ["Summary", "skipped_text"]

MAX_FAILED = 10
"""Jobs that failed first, which the summary of a CI shows."""

MAX_LINE = 500
"""Characters of a command line that the summary shows."""


class Summary:
    """Counts jobs, and keeps the first that failed.

    Attributes:
        succeeded, failed, stopped: how many jobs ended so.
        first_failed: the jobs that failed before all others, at most ten.
    """

    def __init__(self) -> None:
        self.succeeded: int = 0
        self.failed: int = 0
        self.stopped: int = 0
        self.first_failed: list[Ended] = []

    def add(self, ended: Ended) -> None:
        """Count a job."""
        match ended.result.status:
            case "succeeded":
                self.succeeded += 1
            case "failed":
                self.failed += 1
                if len(self.first_failed) < MAX_FAILED:
                    self.first_failed.append(ended)
            case _:
                self.stopped += 1

    def is_wanted(self, *, on_terminal: bool) -> bool:
        """Return whether to show the summary.

        A person at a terminal wants to see it; the stderr of a script stays clean if all is well.
        """
        return on_terminal or self.failed > 0 or self.stopped > 0

    def text(self, seconds: float, logged: int = 0) -> str:
        """Return the summary: a line, and lines about the first failure; the last has a newline.

        Args:
            seconds: how long all jobs took together.
            logged: how many jobs were skipped, because the job log of an earlier run has them.
        """
        line = f"currant: {self._totals(seconds, logged)}\n"
        return line + self._first_failure(self.first_failed[0]) if self.first_failed else line

    def markdown(self, seconds: float, logged: int = 0) -> str:
        """Return the summary for a step of GitHub Actions, with the first ten failures."""
        failed = self.first_failed
        rows = [SummaryRow(f"{each.number}: {each.line}", each.result) for each in failed]
        return summary_text("currant map", self._totals(seconds, logged), rows)

    def _totals(self, seconds: float, logged: int) -> str:
        jobs = self.succeeded + self.failed + self.stopped
        rate = f" ({_rate(jobs / seconds)}/s)" if jobs and seconds > 0 else ""
        skipped = f", {logged:,} more in the job log" if logged else ""
        return (
            f"{jobs:,} {'job' if jobs == 1 else 'jobs'}: {self.succeeded:,} succeeded, "
            f"{self.failed:,} failed, {self.stopped:,} stopped{skipped}, {_time(seconds)}{rate}"
        )

    def _first_failure(self, first: Ended) -> str:
        result = first.result
        which = "job" if self.failed == 1 else "first failure: job"
        attempts = f" after {result.attempts:,} attempts" if result.attempts > 1 else ""
        line = printable(first.line)
        shown = line if len(line) <= MAX_LINE else f"{line[:MAX_LINE]}…"
        about = f"currant: {which} {first.number}: {end_of(result)}{attempts}: {shown}"
        return with_lines(about, result.tail[-LAST_LINES:]) + "\n"


def skipped_text(skipped: int, failed: int) -> str:
    """Return a line about the jobs that ``--resume`` left out, of which some have failed."""
    return (
        f"currant: skipped {skipped:,} {'job' if skipped == 1 else 'jobs'} in the job log, of "
        f"which {failed:,} failed; --resume-failed runs failed jobs again\n"
    )


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def _time(seconds: float) -> str:
    """Return a time such as ``12.3 s``, ``5 min 7 s`` or ``2 h 5 min``."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min"
