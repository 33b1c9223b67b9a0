"""`Placement`: which command runs on which host, and which waits.

Pure: no clock, no I/O and no tasks.  The caller reports each event, and the call returns the
requests that have got a place because of the event.

- A host has amounts: slots, cpus, gpus and others by any name.  A command takes one slot and its
  `resources`.  An amount may be infinite.
- **First come, first served, on each host.**  A request never overtakes an earlier request that
  waits for the same host.  So a large request gets its place in the end, and a request that waits
  for one host delays the other requests for that host alone.
- A request gets the host with the lowest share taken, of the hosts that have room.  The share of a
  host is the largest share of any of its amounts.  If shares are equal, the host with the fewest
  commands comes first, then the host with the fewest scarce resources, so that small commands leave
  the GPUs alone.  A resource is scarce if not every host has it.

Requests with the same needs form a queue.  Each host has a heap of the queues that wait for the
host, ordered by the number of the first request in each queue.  So a change of one host costs the
work for that host alone, although thousands of requests may wait.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush, heapreplace
from itertools import count
from typing import TYPE_CHECKING, TypeAlias

from currant._values.errors import suggestion

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

__all__ = ["Capacity", "Needs", "Place", "Placement", "Request", "shortage"]


GPUS = "gpus"

_COMMON = ("slots", "cpus")
"""The resources that every host has, so that they are not scarce."""

Amounts: TypeAlias = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Capacity:
    """The amounts that commands may take of a host.

    Attributes:
        amounts: the amounts by name; inf: no limit.  A missing name means 0.
        gpus: the ids of its GPUs.
    """

    amounts: Amounts
    gpus: tuple[str, ...] = ()

    def of(self, name: str) -> float:
        """Return the amount of a resource."""
        return len(self.gpus) if name == GPUS else self.amounts.get(name, 0)

    def items(self) -> Iterable[tuple[str, float]]:
        """Return the name and the amount of each resource."""
        return (*self.amounts.items(), (GPUS, len(self.gpus)))

    def holds(self, needs: Needs) -> bool:
        """Return whether the host has enough if no other command runs there."""
        return all(amount <= self.of(name) for name, amount in needs.amounts)

    def count_scarce(self) -> int:
        """Return how many scarce resources the host has."""
        others = [name for name, amount in self.amounts.items() if amount and name not in _COMMON]
        return len(others) + bool(self.gpus)


@dataclass(frozen=True, slots=True)
class Needs:
    """The amounts that a command needs, and the hosts on which it may run.

    Attributes:
        amounts: pairs of a name and an amount, without amounts of 0.
        host: the only host on which the command may run; None: any host.
        not_on: the hosts on which the command cannot run.
    """

    amounts: tuple[tuple[str, int], ...] = (("slots", 1),)
    host: str | None = None
    not_on: frozenset[str] = frozenset()

    @staticmethod
    def of(
        resources: Mapping[str, int], host: str | None = None, not_on: Iterable[str] = ()
    ) -> Needs:
        """Return the needs of a command: its resources, and one slot if they do not name slots."""
        amounts = {"slots": 1} | dict(resources)
        needed = sorted((name, amount) for name, amount in amounts.items() if amount)
        return Needs(tuple(needed), host, frozenset(not_on))

    def may_be_on(self, host: str) -> bool:
        """Return whether the command may run on a host."""
        return self.host in (None, host) and host not in self.not_on


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """A host for one command, and the amounts that the command takes of it.

    Attributes:
        host: the name of the host.
        amounts: pairs of a name and an amount.
        gpus: the ids of the GPUs that the command gets; None if the host has no GPUs.
    """

    host: str
    amounts: tuple[tuple[str, int], ...]
    gpus: tuple[str, ...] | None


@dataclass(slots=True, eq=False)
class Request:
    """One command that waits for a place, or has got one.

    Attributes:
        needs: the needs of the command.
        place: the place of the command; None as long as the request waits.
    """

    needs: Needs
    number: int = field(repr=False)
    place: Place | None = None


class Placement:
    """The hosts, the amounts that are taken, and the requests that wait."""

    def __init__(self) -> None:
        self._hosts: dict[str, _Host] = {}
        self._order: list[_Host] = []  # the open hosts, by rank
        self._queues: dict[Needs, _Queue] = {}  # without empty queues
        self._numbers = count()

    # ---- events ----

    def add(self, name: str) -> None:
        """Add a host, which is not open yet; among equal hosts, the first one added comes first."""
        if name not in self._hosts:
            self._hosts[name] = _Host(name, len(self._hosts))

    def open(self, name: str, capacity: Capacity) -> Sequence[Request]:
        """Note that a host may run commands; amounts that were taken before are still taken.

        Return the requests that have got a place.
        """
        self.add(name)
        host = self._hosts[name]
        if host.is_open:
            self._order.remove(host)
        host.open(capacity, self._queues.values())
        insort(self._order, host, key=_rank)
        return self._fill([host])

    def close(self, name: str) -> None:
        """Give a host no more commands; the places of those that run are given back later."""
        if (host := self._hosts.get(name)) is not None and host.is_open:
            self._order.remove(host)
            host.close()

    def request(self, needs: Needs) -> Request:
        """Ask for a place.

        The request gets a place at once if a host has room and no request waits for that host.
        Otherwise the request waits.
        """
        request = Request(needs, next(self._numbers))
        if (queue := self._queues.get(needs)) is not None:
            queue.waiting[request.number] = request
        elif (host := self._find(needs)) is not None:
            self._give(host, request)
        else:
            self._queues[needs] = queue = _Queue(needs)
            queue.waiting[request.number] = request
            for host in self._candidates(needs):
                host.add(queue)
        return request

    def withdraw(self, request: Request) -> Sequence[Request]:
        """End a request that waits; return the requests that get a place because of that."""
        queue = self._queues.get(request.needs)
        if queue is None or queue.waiting.pop(request.number, None) is None:
            return ()
        return self._fill(self._left_by(queue))

    def give_back(self, place: Place) -> Sequence[Request]:
        """Note that the command of a place has ended; return the requests that get a place now."""
        host = self._hosts[place.host]
        with self._changing(host):
            host.take_back(place)
        return self._fill([host])

    def give_up(self, hosts: Mapping[str, Capacity]) -> Sequence[tuple[Request, str]]:
        """End the requests that none of `hosts` could ever hold; return them with the reasons."""
        hopeless = [
            (request, reason)
            for queue in self._queues.values()
            if (reason := shortage(queue.needs, hosts)) is not None
            for request in queue.waiting.values()
        ]
        for request, _ in hopeless:
            self.withdraw(request)
        return hopeless

    # ---- figures ----

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return sum(len(queue.waiting) for queue in self._queues.values())

    def running(self, host: str) -> int:
        """Return how many places of a host are taken."""
        return self._hosts[host].running

    # ---- decisions ----

    def _find(self, needs: Needs) -> _Host | None:
        """Return the best host that has room for a new request, and for which no request waits."""
        hosts = self._candidates(needs)
        return next((host for host in hosts if host.fits(needs) and host.first() is None), None)

    def _candidates(self, needs: Needs) -> Sequence[_Host]:
        """Return the open hosts to try, the best first: all, or the one that `needs` names."""
        if needs.host is None:
            return self._order
        host = self._hosts.get(needs.host)
        return [host] if host is not None and host.is_open else []

    def _fill(self, changed: Iterable[_Host]) -> Sequence[Request]:
        """Give places on hosts to the requests that wait for them; the best host first."""
        given: list[Request] = []
        pending = {host for host in changed if host.serves_next()}
        ranks = [(host.rank, host) for host in pending]
        heapify(ranks)
        while ranks:
            host = heappop(ranks)[1]
            pending.remove(host)
            if (queue := host.first()) is None or not host.fits(queue.needs):
                continue  # The requests that waited here have got another host meanwhile.
            request = queue.waiting.popitem(last=False)[1]
            self._give(host, request)
            given.append(request)
            for other in {host, *self._left_by(queue)} - pending:
                if other.serves_next():
                    pending.add(other)
                    heappush(ranks, (other.rank, other))
        return given

    def _left_by(self, queue: _Queue) -> Sequence[_Host]:
        """Return the hosts on which another queue may be first, now that `queue` is shorter."""
        if queue.waiting and len(self._queues) == 1:
            return ()  # The next request has the same needs, and fits nowhere either.
        hosts = [host for host in self._candidates(queue.needs) if queue in host.queues]
        if not queue.waiting:
            del self._queues[queue.needs]
            for host in hosts:
                host.remove(queue)
        return hosts if self._queues else ()

    def _give(self, host: _Host, request: Request) -> None:
        with self._changing(host):
            request.place = host.take(request.needs)

    @contextmanager
    def _changing(self, host: _Host) -> Generator[None]:
        """Keep `_order` sorted while the rank of a host changes."""
        if host.is_open:
            del self._order[bisect_left(self._order, host.rank, key=_rank)]
        yield
        if host.is_open:
            insort(self._order, host, key=_rank)


@dataclass(slots=True, eq=False)
class _Queue:
    """The requests that wait with the same needs, by their numbers."""

    needs: Needs
    waiting: OrderedDict[int, Request] = field(default_factory=OrderedDict[int, Request])

    @property
    def head(self) -> int:
        """The number of the first request."""
        return next(iter(self.waiting))


Rank: TypeAlias = "tuple[float, int, int, int]"


class _Host:
    """One host: the amounts that are taken, and the queues that wait for the host."""

    def __init__(self, name: str, index: int) -> None:
        self.name = name
        self.is_open = False
        self.running = 0
        self.queues: set[_Queue] = set()
        self.rank: Rank = (0.0, 0, 0, index)
        self._index = index
        self._capacity = Capacity({})
        self._scarce = 0
        self._totals: Amounts = {}
        self._left: dict[str, float] = {}
        self._taken: dict[str, int] = {}
        self._gpus_taken: set[str] = set()
        # A heap, by the number of the first request of a queue; `first` corrects old numbers.
        self._heads: list[tuple[int, _Queue]] = []

    def open(self, capacity: Capacity, queues: Iterable[_Queue]) -> None:
        self.is_open = True
        self._capacity = capacity
        self._scarce = capacity.count_scarce()
        self._totals = {name: total for name, total in capacity.items() if total}
        self._left = {}
        self._note_change()
        for queue in queues:
            self.add(queue)

    def close(self) -> None:
        self.is_open = False
        self.queues.clear()
        self._heads.clear()

    # ---- amounts ----

    def could_hold(self, needs: Needs) -> bool:
        return needs.may_be_on(self.name) and self._capacity.holds(needs)

    def fits(self, needs: Needs) -> bool:
        for name, amount in needs.amounts:
            if self._left.get(name, 0) < amount:
                return False
        return needs.may_be_on(self.name)

    def take(self, needs: Needs) -> Place:
        gpus = dict(needs.amounts).get(GPUS, 0)
        ids = tuple(each for each in self._capacity.gpus if each not in self._gpus_taken)[:gpus]
        place = Place(self.name, needs.amounts, ids if self._capacity.gpus else None)
        self._gpus_taken.update(ids)
        self._change(place, 1)
        return place

    def take_back(self, place: Place) -> None:
        self._gpus_taken.difference_update(place.gpus or ())
        self._change(place, -1)

    def _change(self, place: Place, sign: int) -> None:
        self.running += sign
        for name, amount in place.amounts:
            self._taken[name] = self._taken.get(name, 0) + sign * amount
        self._note_change()

    def _note_change(self) -> None:
        share = 0.0
        for name, total in self._totals.items():
            taken = self._taken.get(name, 0)
            self._left[name] = total - taken
            share = max(share, taken / total)
        self.rank = (share, self.running, self._scarce, self._index)

    # ---- queues ----

    def add(self, queue: _Queue) -> None:
        """Note that a queue waits for this host, if the host could hold its requests."""
        if self.could_hold(queue.needs):
            self.queues.add(queue)
            heappush(self._heads, (queue.head, queue))

    def remove(self, queue: _Queue) -> None:
        """Note that a queue has ended."""
        self.queues.discard(queue)
        if len(self._heads) > 2 * len(self.queues):  # Most entries are of queues that have ended.
            self._heads = [(each.head, each) for each in self.queues]
            heapify(self._heads)

    def serves_next(self) -> bool:
        """Return whether the first request that waits for the host fits."""
        return (queue := self.first()) is not None and self.fits(queue.needs)

    def first(self) -> _Queue | None:
        """Return the queue whose first request has waited longest; None if no request waits."""
        while self._heads:
            number, queue = self._heads[0]
            if queue not in self.queues:
                heappop(self._heads)
            elif queue.head > number:
                heapreplace(self._heads, (queue.head, queue))
            else:
                return queue
        return None


def _rank(host: _Host) -> Rank:
    return host.rank


def shortage(needs: Needs, hosts: Mapping[str, Capacity]) -> str | None:
    """Return why no host could ever hold a request; None if a host could."""
    if needs.host is not None and needs.host not in hosts:
        return f"there is no host {needs.host!r}{suggestion(needs.host, list(hosts))}"
    asked = hosts if needs.host is None else {needs.host: hosts[needs.host]}
    # Fast, because each start asks: usually the first of a thousand hosts is enough.
    if any(each.holds(needs) and needs.may_be_on(name) for name, each in asked.items()):
        return None
    possible = {name: each for name, each in asked.items() if needs.may_be_on(name)}
    where = "on one host" if needs.host is None else f"on its host {needs.host!r}"
    for name, amount in needs.amounts:
        most = max((capacity.of(name) for capacity in possible.values()), default=0)
        if amount > most:
            return f"it needs {amount} {name}, and the most {where} is {most:g}"
    wanted = ", ".join(f"{amount} {name}" for name, amount in needs.amounts)
    return f"it needs {wanted}, and no host has all of that"
