"""`Places`: waits for a place that `Placement` gives, and takes it back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from currant.hosts._placement import Placement

if TYPE_CHECKING:
    from collections.abc import Iterable

    from currant.hosts._placement import Capacity, Needs, Place, Request

__all__ = ["Places"]


class Places:
    """The places on all hosts, and the tasks that wait for one.

    A request that none of the hosts could hold any more is not left waiting: see `give_up`.
    """

    def __init__(self) -> None:
        self._placement = Placement()
        self._waiting: dict[Request, anyio.Event] = {}

    async def acquire(self, needs: Needs) -> Place | None:
        """Wait for a place; return None if no host could give one any more.

        Cancellation: the place is given back.
        """
        request = self._placement.request(needs)
        if request.place is None:
            self._waiting[request] = woken = anyio.Event()
            try:
                await woken.wait()
            except BaseException:
                self._withdraw(request)
                raise
        return request.place

    def _withdraw(self, request: Request) -> None:
        """End a request that waits, or has just got a place or an end."""
        self._waiting.pop(request, None)
        if request.place is None:
            self._wake(self._placement.withdraw(request))
        else:
            self.release(request.place)

    def release(self, place: Place) -> None:
        """Give a place back."""
        self._wake(self._placement.give_back(place))

    def add(self, host: str) -> None:
        """Note that there is a host; among equal hosts, the first one added comes first."""
        self._placement.add(host)

    def open(self, host: str, capacity: Capacity) -> None:
        """Give places of a host from now on."""
        self._wake(self._placement.open(host, capacity))

    def close(self, host: str) -> None:
        """Give no more places of a host."""
        self._placement.close(host)

    def give_up(self, hosts: dict[str, Capacity]) -> None:
        """End the waiting for what none of `hosts` could hold."""
        self._wake(request for request, _ in self._placement.give_up(hosts))

    def running(self, host: str) -> int:
        """Return how many places of a host are taken."""
        return self._placement.running(host)

    def _wake(self, requests: Iterable[Request]) -> None:
        for request in requests:
            self._waiting.pop(request).set()
