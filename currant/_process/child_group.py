"""`ChildGroup`: a child of ours and the process group that it leads, as the kill path sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from currant._process.child import Child
from currant._process.stop import FORBIDDEN_TIMEOUT, Forbidden, wait_empty
from currant._system.dispositions import sigchld_is_ignored
from currant._system.groups import ProcessGroup
from currant._values.exit import Exit

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.abc import Process

    from currant._process.watch import Watch
    from currant._values.usage import Usage

__all__ = ["ChildGroup"]


class ChildGroup:
    """A child of ours and the process group that it leads, in the form that a `Stopper` needs.

    Args:
        name: the command's name.
        leader: the child.
        on_gone: called once, with the number, when the group is found to be gone.

    Attributes:
        name: the command's name.
        id: the group's number, which is the leader's pid.
        is_gone: whether the leader has been reaped and the group was found empty.
        watch: may be waited for by a task that reaps the leader.
    """

    def __init__(self, name: str, leader: Child | Process, on_gone: Callable[[int], None]) -> None:
        self.name = name
        self.id = leader.pid
        self.is_gone = False
        self.watch: Watch | None = None
        self._exit: Exit | None = None
        self._looking: anyio.Lock | None = None  # as soon as a task waits for that
        self._leader = leader
        self._group = ProcessGroup(leader.pid, leader.pidfd if isinstance(leader, Child) else None)
        self._on_gone = on_gone

    @property
    def usage(self) -> Usage | None:
        # The event loop does not report the usage of the processes that it reaps.
        return self._leader.usage if isinstance(self._leader, Child) else None

    @property
    def pidfd(self) -> int | None:
        return self._leader.pidfd if isinstance(self._leader, Child) else None

    def leader_is_alive(self) -> bool:
        if self._leader.returncode is not None:
            return False
        # Reading the return code of a `Child` has looked already.
        return isinstance(self._leader, Child) or self._group.leader_is_alive()

    def send(self, *signals: int) -> bool:
        reaches_live = self._leader.returncode is None or self._group.has_live_member()
        return self._group.send(*signals) and reaches_live

    def send_to_leader(self, signal: int) -> bool:
        return self._leader.returncode is None and self._group.send_to_leader(signal)

    def is_forbidden(self) -> bool:
        """Return whether this program may signal no member, although one is alive."""
        return self._group.is_forbidden()

    async def wait_exit(self) -> Exit:
        """Wait until the leader has been reaped, and return how it ended."""
        returncode = await self._leader.wait()
        if self._exit is None:
            if isinstance(self._leader, Child):
                is_lost = self._leader.is_status_lost
            else:  # The event loop itself reports 255, or on trio even 0.
                is_lost = sigchld_is_ignored()
            self._exit = Exit(None, None) if is_lost else Exit.from_returncode(returncode)
        return self._exit

    async def wait_leader(self) -> None:
        if self.is_forbidden():
            with anyio.move_on_after(FORBIDDEN_TIMEOUT):
                await self._leader.wait()
            if self.is_forbidden():
                raise Forbidden
        # A task that waits already wakes this one, which costs less than a second wait for a file.
        while self.watch is not None and self.watch.is_waited_for:
            await self.watch.resumed.wait()
        await self._leader.wait()

    async def wait_gone(self) -> None:
        await self.wait_leader()
        if self.is_gone:
            return
        if self._looking is None:
            self._looking = anyio.Lock(fast_acquire=True)
        async with self._looking:  # One task looks, for all that wait.
            if not self.is_gone:
                await wait_empty(self._group)
                self.check_gone()

    def check_gone(self) -> bool:
        """Look whether the group is gone, and return `is_gone`."""
        if not self.is_gone and self._leader.returncode is not None and self._group.is_empty():
            self.is_gone = True
            self._on_gone(self.id)  # Only now: from here on, another process may get the number.
        return self.is_gone

    def leave(self) -> None:
        """Take the group for gone, whatever processes are left in it."""
        self._group.close()
        self.check_gone()

    def close(self) -> None:
        """Release the pidfd; the group is not signalled again."""
        self._group.close()
        if isinstance(self._leader, Child):
            self._leader.close()
