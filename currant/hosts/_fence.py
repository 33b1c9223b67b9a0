"""`Fence`: how long a command that was lost with its host must not start again anywhere.

The driver cannot know when such a command ends.  But its agent ends it, at the latest when it has
heard nothing for its time of silence.  Until then a second copy could run beside the first one.
"""

from __future__ import annotations

__all__ = ["Fence"]


class Fence:
    """The times until which lost commands may still run, by name; pure, in seconds of any clock."""

    def __init__(self) -> None:
        self._ends: dict[str, float] = {}

    def raise_until(self, name: str, end: float) -> None:
        """Note that a command of that name may run until `end`."""
        self._ends[name] = max(end, self._ends.get(name, end))

    def delay(self, name: str, now: float) -> float:
        """Return the seconds for which a command of that name must not start; 0.0: it may."""
        if (end := self._ends.get(name)) is None:
            return 0.0
        if end <= now:
            del self._ends[name]
            return 0.0
        return end - now
