"""`Fence`: how long a command that was lost with its host must not start again anywhere.

The driver cannot see when such a command ends.  But the agent on the lost host stops the command,
at the latest after a time of silence (`Hosts(silence=...)`).  Until then, a second copy of the
command would run beside the first.

Two events change the end of that time:

- The driver has asked the agent to wait (`Hosts.hold`).  Such an agent accepts any silence, so the
  end is unknown, which is written as infinite.
- A new agent on the host kills the lost agent.  From then on, the guard of the lost agent stops the
  command, and gives it the whole grace once more.
"""

from __future__ import annotations

from math import inf
from typing import NamedTuple

__all__ = ["Fence"]


class _Copy(NamedTuple):
    """A copy of a command that was lost with its host.

    Attributes:
        end: when the copy has ended for sure; infinite if that is unknown.
        needs: how many seconds the guard of the lost agent needs to end the copy.
    """

    end: float
    needs: float


class Fence:
    """The times until which lost commands may still run.

    Pure: the caller passes the time, in seconds of any clock.

    Attributes:
        agents: the identity of the last agent of each host, by the name of the host.  The next
            agent of a host kills the last one if it still runs.
    """

    def __init__(self) -> None:
        self.agents: dict[str, str] = {}
        self._copies: dict[str, dict[str, _Copy]] = {}  # by the names of the command and the host

    def is_last(self, host: str, agent: str | None) -> bool:
        """Return whether no agent has taken the place of this one, as far as that is known."""
        return agent is None or self.agents.get(host, agent) == agent

    def raise_until(self, name: str, host: str, end: float, needs: float) -> None:
        """Note that a command was lost with its host.

        Args:
            name: the name of the command.
            host: the name of the host.
            end: when the command has ended for sure; infinite if that is unknown until a new agent
                comes.
            needs: how many seconds the guard of the lost agent needs to end the command.
        """
        copies = self._copies.setdefault(name, {})
        before = copies.get(host, _Copy(end, needs))
        copies[host] = _Copy(max(end, before.end), max(needs, before.needs))

    def note_replaced(self, host: str, now: float, *, is_certain: bool = True) -> None:
        """Note that a new agent of a host has killed the agent with which commands were lost.

        Args:
            host: the name of the host.
            now: the time.
            is_certain: False if nothing was heard of the new agent, which was asked to do that.
        """
        for copies in self._copies.values():
            if (copy := copies.get(host)) is not None and copy.end > now:
                is_known = copy.end < inf or not is_certain
                end = max(copy.end if is_known else now, now + copy.needs)
                copies[host] = copy._replace(end=end)

    def delay(self, name: str, now: float, host: str | None = None) -> float:
        """Return for how many seconds a lost copy of a command may still run; 0.0 if there is none.

        Args:
            name: the name of the command.
            now: the time.
            host: the name of the host to ask about; None: all hosts.
        """
        copies = self._copies.get(name, {})
        for each in [each for each, copy in copies.items() if copy.end <= now]:
            del copies[each]
        if not copies:
            self._copies.pop(name, None)
        ends = [copy.end for each, copy in copies.items() if host is None or each == host]
        return max([0.0, *(end - now for end in ends)])

    def hosts_of_unknown_end(self, name: str) -> list[str]:
        """Return the hosts on which a copy of a command may run until a new agent comes."""
        return [host for host, copy in self._copies.get(name, {}).items() if copy.end == inf]
