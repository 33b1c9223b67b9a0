"""The whole kill path: request, wait, kill, reap.

`Stopper.end` is one straight function over the four steps; it needs a process group that can be
signalled and waited for.  Each call has a timer: the call whose grace ends first kills the group,
and the other calls find it gone.  So hurrying is a second call with a shorter grace.

With the kill mode "mixed", as in systemd, the request goes to the leader alone, and the rest of the
group is killed as soon as the leader has exited.
"""

from __future__ import annotations

from contextlib import suppress
from signal import SIGCONT, SIGKILL
from typing import TYPE_CHECKING, NamedTuple, Protocol

from anyio import move_on_after, sleep

from currant._system.groups import LOOK_INTERVAL
from currant._system.proc import seconds_to_next_snapshot
from currant._values.exit import Exit

if TYPE_CHECKING:
    from currant._system.groups import ProcessGroup
    from currant._values.launch_spec import KillMode

__all__ = ["FORBIDDEN_TIMEOUT", "Forbidden", "StopSpec", "Stoppable", "Stopper", "wait_empty"]


FORBIDDEN_TIMEOUT = 0.2
"""Seconds until a group that may not be signalled is given up: it may be about to exit."""


class Forbidden(Exception):  # noqa: N818 - it never leaves this package
    """This program lacks the permission to signal any member of a group: see `sudo`, `su`."""


class StopSpec(NamedTuple):
    """How to stop the processes of a command: request with `signal`, kill after `grace` s."""

    signal: int
    grace: float
    kill_mode: KillMode = "group"


class Stoppable(Protocol):
    """A process group that can be stopped."""

    def leader_is_alive(self) -> bool:
        """Return whether the leader has not exited yet."""
        ...

    def send(self, *signals: int) -> bool:
        """Send signals in this order to all members; return whether the first was delivered.

        A group that is gone gets no signal: another group may have the number.
        """
        ...

    def send_to_leader(self, signal: int, /) -> bool:
        """Send a signal to the leader alone; return whether it was delivered."""
        ...

    async def wait_leader(self) -> object:
        """Wait until the leader has exited.

        Raises:
            Forbidden: this program may not signal the group.
        """
        ...

    async def wait_gone(self) -> None:
        """Wait until no member is alive, and a leader that is our child has been reaped.

        Raises:
            Forbidden: this program may not signal the group.
        """
        ...


class Stopper:
    """Stops a process group, for any number of tasks, and remembers which steps were needed.

    Args:
        group: the group.
        reap_limit: how long the group may exist after SIGKILL, in seconds.
        kill_mode: the processes that are requested to stop.
    """

    def __init__(self, group: Stoppable, reap_limit: float, kill_mode: KillMode = "group") -> None:
        self._group = group
        self._reap_limit = reap_limit
        self._asks_leader_alone = kill_mode == "mixed"
        self._requested = False
        self._stopped = False
        self._forced = False

    async def end(self, signal: int, grace: float) -> bool:
        """End the group: request with `signal`, wait up to `grace` seconds, kill, reap.

        Returns:
            Whether the group is gone; False if a member outlived SIGKILL for `reap_limit` seconds,
            or, at once, if this program lacks the permission to signal the group.

        Cancellation: the stop was requested; SIGKILL may or may not have been sent.
        """
        self._request_stop(signal)
        with suppress(Forbidden):
            with move_on_after(grace):
                if not self._asks_leader_alone:
                    await self._group.wait_gone()
                    return True
                await self._group.wait_leader()
            self._kill()
            with move_on_after(self._reap_limit):
                await self._group.wait_gone()
                return True
        return False

    def annotate(self, end: Exit) -> Exit:
        """Return the leader's exit with `stopped` and `forced` set as this stopper knows them."""
        if not self._stopped:
            return end
        return Exit(end.code, end.signal, stopped=True, forced=self._forced)

    def _request_stop(self, signal: int) -> None:
        if self._requested:
            return
        self._requested = True
        was_alive = self._group.leader_is_alive()
        # SIGCONT, because a suspended process receives no signal but SIGKILL until it is continued.
        if self._asks_leader_alone:
            self._stopped = self._group.send_to_leader(signal) and was_alive
            self._group.send(SIGCONT)
        else:
            self._stopped = self._group.send(signal, SIGCONT) and was_alive

    def _kill(self) -> None:
        is_in_time = self._asks_leader_alone and not self._group.leader_is_alive()
        if self._group.send(SIGKILL) and self._stopped and not is_in_time:
            self._forced = True


async def wait_empty(group: ProcessGroup) -> None:
    """Wait until no member of `group` is alive; a leader that is our child must be reaped first.

    Raises:
        Forbidden: this program may not signal the group.
    """
    pause, forbidden_for = LOOK_INTERVAL, 0.0
    while not group.is_empty():
        await sleep(pause)
        forbidden_for = forbidden_for + pause if group.is_forbidden() else 0.0
        if forbidden_for > FORBIDDEN_TIMEOUT:
            raise Forbidden
        # All groups that wait for a snapshot go on at the same time, so that they share the next.
        pause = max(min(pause * 2, 0.05), seconds_to_next_snapshot())
