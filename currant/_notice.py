"""A notice to all who wait for something to change, so that they look again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Notice"]


class Notice:
    """Wakes all who wait at that moment; unlike an event, it then is as before.

    While nobody waits it costs nothing, and it may be built outside an event loop.
    """

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event: anyio.Event | None = None

    def give(self) -> None:
        """Wake all who wait; return at once."""
        if self._event is not None:
            self._event.set()
            self._event = None

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` is true, looking now and after each notice.

        Cancellation: harmless.
        """
        while not condition():
            await self.wait()

    async def wait(self) -> None:
        """Wait for the next notice.

        Cancellation: harmless.
        """
        if self._event is None:
            self._event = anyio.Event()
        await self._event.wait()
