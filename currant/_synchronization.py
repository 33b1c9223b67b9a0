"""Two ways to wait: the kill barrier, which is thrown once, and a notifier, which repeats.

The kill barrier holds each watcher task until the command must stop.  The Rust crate `currant` has
the same barrier: a gate that opens once, lets all current waiters pass, and lets all later waiters
pass at once.  So a process that is started after a kill is stopped like every earlier process.
Here each command has a separate barrier, a child of the Runner's barrier.  Throwing the parent
throws every child in the same step, so a watcher waits for a single barrier, even if the kill is
meant for all commands.

The notifier announces that some state has changed.  Rejected: `anyio.Condition`.  A caller must
hold a lock to notify, and most changes are made in plain functions, which cannot wait for a lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ChildBarrier", "KillBarrier", "Notifier"]


class KillBarrier:
    """A gate that is thrown open once and never closes again.

    A barrier may be built outside an event loop; call its methods in the event loop's thread only.
    """

    __slots__ = ("_children", "_event", "_reason")

    def __init__(self) -> None:
        self._event = anyio.Event()
        self._reason: str | None = None
        self._children: list[ChildBarrier] = []

    def __repr__(self) -> str:
        state = f"thrown, reason={self.reason!r}" if self.thrown else "closed"
        return f"<KillBarrier {state}>"

    @property
    def thrown(self) -> bool:
        """Whether the barrier has been thrown."""
        return self._event.is_set()

    @property
    def reason(self) -> str | None:
        """The reason given to the first `throw`; None before that, or if there was no reason."""
        return self._reason

    def throw(self, reason: str | None = None) -> None:
        """Let all current and later waiters pass; only the first call counts.

        Returns at once; waiters continue when the caller next yields to the event loop.

        Args:
            reason: why the commands are stopped, for `reason`.
        """
        if self.thrown:
            return
        self._reason = reason
        self._event.set()
        for child in self._children:
            child.throw(reason)
        self._children.clear()

    async def wait(self) -> None:
        """Wait until the barrier is thrown; return at once if that has happened.

        Unlike every other wait in currant, this one does not count as waiting for the commands: if
        no reader takes their output, the commands wait for a reader first (see ``Runner(unread)``).

        Cancellation: harmless at any time.
        """
        await self._event.wait()


class ChildBarrier(KillBarrier):
    """A barrier that is thrown along with its parent, and may be thrown alone.

    Args:
        parent: if already thrown, the child is thrown from the start, for the same reason.
    """

    __slots__ = ()

    def __init__(self, parent: KillBarrier) -> None:
        super().__init__()
        if parent.thrown:
            self.throw(parent.reason)
        else:
            parent._children.append(self)  # noqa: SLF001 - the other half of the same class


class Notifier:
    """Wakes every task that waits at that moment; later waiters wait for the next call.

    A notifier costs nothing if no task waits, and may be built outside an event loop.
    """

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event: anyio.Event | None = None

    def notify_all(self) -> None:
        """Wake every waiting task; return at once."""
        if self._event is not None:
            self._event.set()
            self._event = None

    async def wait_for(self, predicate: Callable[[], bool]) -> None:
        """Wait until `predicate` returns true; check now and after each notification.

        Cancellation: harmless at any time.
        """
        while not predicate():
            await self.wait()

    async def wait(self) -> None:
        """Wait for the next notification.

        Cancellation: harmless at any time.
        """
        if self._event is None:
            self._event = anyio.Event()
        await self._event.wait()
