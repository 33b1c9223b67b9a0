"""`Places`: lets tasks wait until `Placement` gives them a place."""

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

    `give_up` ends the waiting for hosts that are gone.
    """

    def __init__(self) -> None:
        self._placement = Placement()
        self._waiting: dict[Request, anyio.Event] = {}

    async def acquire(self, needs: Needs) -> Place | None:
        """Wait for a place; return None if no host can give one any more.

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
        """End a request that waits, or that got a place or was given up a moment ago."""
        self._waiting.pop(request, None)
        if request.place is None:
            self._wake(self._placement.withdraw(request))
        else:
            self.release(request.place)

    def release(self, place: Place) -> None:
        """Give a place back."""
        self._wake(self._placement.give_back(place))

    def add(self, host: str) -> None:
        """Add a host, which gives no places yet; see `Placement.add`."""
        self._placement.add(host)

    def open(self, host: str, capacity: Capacity) -> None:
        """Give places on a host from now on."""
        self._wake(self._placement.open(host, capacity))

    def close(self, host: str) -> None:
        """Give no more places on a host."""
        self._placement.close(host)

    def give_up(self, hosts: dict[str, Capacity]) -> None:
        """End the requests that none of `hosts` could hold: their `acquire` returns None."""
        self._wake(request for request, _ in self._placement.give_up(hosts))

    def running(self, host: str) -> int:
        """Return how many places of a host are taken."""
        return self._placement.running(host)

    def _wake(self, requests: Iterable[Request]) -> None:
        for request in requests:
            self._waiting.pop(request).set()
