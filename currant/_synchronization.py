"""The kill barrier: the gate that holds each watcher task until the commands are to be stopped.

From the Rust crate `currant`, where a kill is a gate that opens once: it lets through all who wait
and, at once, all who come later, so that a process started after the kill is stopped like the ones
before.  Here each command has a barrier of its own below the Runner's; what throws the Runner's
throws them all, so a watcher needs to wait for one only, whoever asked for the kill.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["KillBarrier", "Notifier"]


class KillBarrier:
    """A gate that is thrown open once and never closes again.

    It may be built outside an event loop; all else belongs to the loop's thread.
    """

    __slots__ = ("_children", "_event", "_reason")

    def __init__(self) -> None:
        self._event = anyio.Event()
        self._reason: str | None = None
        self._children: list[KillBarrier] = []

    def __repr__(self) -> str:
        state = f"thrown, reason={self.reason!r}" if self.thrown else "closed"
        return f"<KillBarrier {state}>"

    @property
    def thrown(self) -> bool:
        """Whether it has been thrown."""
        return self._event.is_set()

    @property
    def reason(self) -> str | None:
        """What the first `throw` gave as its reason; None before, or where it gave none."""
        return self._reason

    def throw(self, reason: str | None = None) -> None:
        """Let all through who wait and all who come later; only the first call counts.

        Returns at once; waiters go on when the caller next yields to the event loop.
        """
        if self.thrown:
            return
        self._reason = reason
        self._event.set()
        for barrier in self._children:
            barrier.throw(reason)
        self._children.clear()

    async def wait(self) -> None:
        """Wait until it is thrown; return at once if it has been.

        It is the only wait of currant's that does not count as one for the commands: output that
        nobody reads makes them wait (see `Dropped`).
        Cancellation: harmless at any time.
        """
        await self._event.wait()

    def child(self) -> KillBarrier:
        """Make a barrier that this one throws along with itself, but that throws alone too."""
        barrier = KillBarrier()
        if self.thrown:
            barrier.throw(self._reason)
        else:
            self._children.append(barrier)
        return barrier


class Notifier:
    """Wakes all who wait at that moment; unlike an event, it then is as before.

    While nobody waits it costs nothing, and it may be built outside an event loop.
    """

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event: anyio.Event | None = None

    def notify_all(self) -> None:
        """Wake all who wait; return at once."""
        if self._event is not None:
            self._event.set()
            self._event = None

    async def wait_for(self, predicate: Callable[[], bool]) -> None:
        """Wait until `predicate` is true; it is called now and after each notification.

        Cancellation: harmless.
        """
        while not predicate():
            await self.wait()

    async def wait(self) -> None:
        """Wait for the next notice.

        Cancellation: harmless.
        """
        if self._event is None:
            self._event = anyio.Event()
        await self._event.wait()
