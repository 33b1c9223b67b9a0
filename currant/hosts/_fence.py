"""`Fence`: how long a command that was lost with its host must not start again anywhere.

The driver cannot know when such a command ends.  But its agent ends it, at the latest when it has
heard nothing for its time of silence.  Until then a second copy could run beside the first one.

Two things move that time.  An agent that was told to wait for us (`hold`) knows no silence, so the
end is unknown.  And an agent that takes the place of the lost one kills it; from then on its guard
ends its commands, and gives each the whole grace once more.
"""

from __future__ import annotations

from math import inf
from typing import NamedTuple

__all__ = ["Fence"]


class _Copy(NamedTuple):
    """A copy of a command on a lost host: when it has ended, and how long its guard needs."""

    end: float
    needs: float


class Fence:
    """The times until which lost commands may still run; pure, in seconds of any clock.

    Attributes:
        agents: the identity of the last agent of each host, by the host's name; an agent that
            takes its place kills it, if it still runs.
    """

    def __init__(self) -> None:
        self.agents: dict[str, str] = {}
        self._copies: dict[str, dict[str, _Copy]] = {}  # by the names of the command and the host

    def raise_until(self, name: str, host: str, end: float, needs: float) -> None:
        """Note that a command was lost.

        Args:
            name: the command.
            host: its host.
            end: when it has ended for sure; infinite: unless another agent comes, nobody knows.
            needs: how long the guard over there needs to end it.
        """
        copies = self._copies.setdefault(name, {})
        before = copies.get(host, _Copy(end, needs))
        copies[host] = _Copy(max(end, before.end), max(needs, before.needs))

    def note_replaced(self, host: str, now: float) -> None:
        """Note that another agent has taken the place of the one with which commands were lost."""
        for copies in self._copies.values():
            if (copy := copies.get(host)) is not None and copy.end > now:
                end = now + copy.needs
                copies[host] = copy._replace(end=end if copy.end == inf else max(copy.end, end))

    def delay(self, name: str, now: float, host: str | None = None) -> float:
        """Return for how many seconds a copy of a command may run on; 0.0: there is none.

        Args:
            name: the command.
            now: the time.
            host: where; None: anywhere.
        """
        copies = self._copies.get(name, {})
        for each in [each for each, copy in copies.items() if copy.end <= now]:
            del copies[each]
        if not copies:
            self._copies.pop(name, None)
        ends = [copy.end for each, copy in copies.items() if host is None or each == host]
        return max([0.0, *(end - now for end in ends)])

    def hosts_of_unknown_end(self, name: str) -> list[str]:
        """Return the hosts where a copy of a command runs on until another agent comes."""
        return [host for host, copy in self._copies.get(name, {}).items() if copy.end == inf]
