"""When the next command may start: ``--delay``, ``--max-load`` and ``--memfree``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import anyio

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable

__all__ = ["Pace", "Pacer", "available_memory"]

T = TypeVar("T")

LOOK_INTERVAL = 0.5
"""Seconds between two looks at the load or the memory of the machine."""

MEMORY_FILE = "/proc/meminfo"


class Pace(NamedTuple):
    """What has to hold before a command starts.

    Attributes:
        delay: seconds that have to pass since the start of the last command.
        max_load: the highest load of the machine, averaged over a minute; None: any.
        memfree: bytes of memory that have to be available; None: any number.  It has no effect if
            the system does not say how many are.
    """

    delay: float = 0.0
    max_load: float | None = None
    memfree: int | None = None

    def allows_start(self) -> bool:
        """Return whether the machine has room for one more command."""
        if self.max_load is not None and os.getloadavg()[0] > self.max_load:
            return False
        if self.memfree is None:
            return True
        available = available_memory()
        return available is None or available >= self.memfree


class Pacer:
    """Spaces the starts of the commands, and their retries.

    Args:
        pace: what has to hold before each start.
    """

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._last = -pace.delay
        self._unused = 0  # turns of items whose commands have not started yet
        self._lock = anyio.Lock()

    async def paced(self, items: AsyncIterable[T]) -> AsyncGenerator[T]:
        """Yield each item when its command may start.

        Cancellation: the item is lost.
        """
        async for item in items:
            await self._wait()
            self._unused += 1
            yield item

    async def take_turn(self) -> None:
        """Wait until a process may start; for the first of an item, `paced` has waited."""
        if self._unused:
            self._unused -= 1
        else:
            await self._wait()

    async def _wait(self) -> None:
        async with self._lock:
            await anyio.sleep(max(0.0, self._last + self._pace.delay - anyio.current_time()))
            while not self._pace.allows_start():  # noqa: ASYNC110 - the system tells nobody
                await anyio.sleep(LOOK_INTERVAL)
            self._last = anyio.current_time()


def available_memory(file: str = MEMORY_FILE) -> int | None:
    """Return the bytes of memory that programs can still get; None if the system does not say."""
    try:
        with open(file, encoding="ascii") as lines:
            for line in lines:
                name, _, rest = line.partition(":")
                if name == "MemAvailable":
                    return int(rest.split()[0]) * 1024
    except OSError:
        pass
    return None
