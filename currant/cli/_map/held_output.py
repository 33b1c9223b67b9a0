"""`HeldOutput`: the output of jobs that is held back until its turn comes, in bounded memory.

With ``--keep-order`` a thousand jobs may wait for an earlier one, which may be on a slow host.  So
a limit for the output of each job is not enough.  All jobs share a budget: if it is exceeded, the
job that has most in memory moves to disk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from currant.cli._errors import OutputError
from currant.sinks._spool import OutputSpool

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from currant._values.lines import Batch

__all__ = ["BUDGET", "HeldOutput"]

BUDGET = 64 << 20
"""Bytes in memory, of all jobs together."""


class HeldOutput:
    """The output of jobs, by the number of the job.

    Args:
        budget: how many bytes stay in memory; the others go to temporary files.

    Attributes:
        in_memory: how many bytes are in memory.
    """

    def __init__(self, budget: int = BUDGET) -> None:
        self.in_memory: int = 0
        self._budget = budget
        self._spools: dict[int, OutputSpool] = {}

    @property
    def numbers(self) -> Collection[int]:
        """The jobs whose output is held back."""
        return self._spools.keys()

    def add(self, number: int, batch: Batch) -> None:
        """Hold back a batch of a job.

        Raises:
            OutputError: a temporary file cannot be written.
        """
        spool = self._spools.get(number)
        if spool is None:
            spool = self._spools[number] = OutputSpool()
        self.in_memory -= spool.in_memory
        try:
            spool.add(batch)
            self.in_memory += spool.in_memory
            if self.in_memory > self._budget:
                largest = max(self._spools.values(), key=lambda each: each.in_memory)
                self.in_memory -= largest.in_memory
                largest.move_to_disk()
        except OSError as error:  # To show a part early would break the order.
            reason = f"{error.strerror}; TMPDIR names a folder with room"
            raise OutputError("output of a job to", "a temporary file", reason) from error

    def take(self, number: int) -> Iterator[Batch]:
        """Yield the output of a job, and forget it."""
        spool = self._spools.pop(number, None)
        if spool is not None:
            yield from spool.replay()
            self.in_memory -= spool.in_memory

    def discard(self, number: int) -> None:
        """Forget the output of a job."""
        spool = self._spools.pop(number, None)
        if spool is not None:
            self.in_memory -= spool.in_memory
