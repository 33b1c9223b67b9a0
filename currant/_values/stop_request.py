"""`StopRequest`: a request to stop a process, with its time and grace."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["StopRequest"]


class StopRequest(NamedTuple):
    """A request to stop one process.  A second kill makes the same request hurried.

    Attributes:
        at: the time of the request, on the event loop's clock.
        grace: seconds from then until SIGKILL.
        is_hurried: whether a second kill has ended the grace.
    """

    at: float
    grace: float
    is_hurried: bool = False

    def hurried(self) -> StopRequest:
        """Return the same request without any grace."""
        return self._replace(grace=0.0, is_hurried=True)

    def remaining(self, now: float) -> float:
        """Return the seconds of grace that are left; negative if the grace is over."""
        return self.at + self.grace - now
