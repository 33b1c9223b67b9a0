"""`StopRequest`: a request to stop a process, with its time and grace."""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["StopRequest"]


@dataclass(frozen=True, slots=True)
class StopRequest:
    """A request to stop one process.  A second kill is the same request with no grace left.

    Attributes:
        at: the time of the request, on the event loop's clock.
        grace: seconds from then until SIGKILL.
    """

    at: float
    grace: float

    def hurried(self) -> StopRequest:
        """Return the same request without any grace."""
        return replace(self, grace=0.0)

    def remaining(self, now: float) -> float:
        """Return the seconds of grace that are left; negative if the grace is over."""
        return self.at + self.grace - now
