"""`UsageRates`: the memory and the processor time of all commands over time, from samples.

A command that ends between two samples counts, too, with the usage that its `Exited` has: a
`currant.map` of short commands would otherwise seem idle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from currant._system.session_usage import SessionUsage
    from currant._values.usage import Usage

__all__ = ["UsageRates"]

MEMORY, PROCESSOR = "memory bytes", "processor percent"

SHORTEST = 10_000
"""The shortest time between two samples, in microseconds: Linux counts hundredths of a second."""


class UsageRates:
    """Two counters: bytes of memory, and percent of one processor (200: two are busy)."""

    def __init__(self) -> None:
        self._ended = 0.0  # seconds of processor time of the processes that have ended
        self._running: Mapping[int, SessionUsage] = {}  # by pid, at the last sample
        self._time = 0  # of the last sample
        self._total = 0.0  # seconds of processor time until then
        self._shown: dict[str, int] = {}  # the last samples

    def count_end(self, pid: int, usage: Usage | None) -> None:
        """Count what a process that has ended has used."""
        last = self._running.get(pid)
        if usage is not None:
            self._ended += usage.user + usage.system
        elif last is not None:
            self._ended += last.cpu

    def samples(
        self, time: int, running: Mapping[int, SessionUsage]
    ) -> Iterator[tuple[int, str, int]]:
        """Yield the samples at `time`: when, of which counter, and its value.

        Args:
            time: the present, in microseconds since the start.
            running: the usage of the processes that run, by pid.
        """
        if not (running or self._ended or self._shown):  # A system without samples.
            return
        yield from self._changed(time, MEMORY, sum(used.memory for used in running.values()))
        total = self._ended + sum(used.cpu for used in running.values())
        seconds = max(time - self._time, SHORTEST) / 1e6
        # The total falls if a command did not wait for a child: its `Exited` lacks the child.
        percent = max(0, round(100 * (total - self._total) / seconds))
        yield from self._changed(self._time, PROCESSOR, percent)
        self._running, self._time, self._total = running, time, total

    def last_samples(self, time: int) -> Iterator[tuple[int, str, int]]:
        """Yield the samples at the end of the run, when no process runs."""
        yield from self.samples(time, {})
        if self._shown:
            yield from self._changed(time, PROCESSOR, 0)

    def _changed(self, time: int, name: str, value: int) -> Iterator[tuple[int, str, int]]:
        if self._shown.get(name) != value:
            self._shown[name] = value
            yield time, name, value
