"""`Pool`: the hosts while `Hosts` is entered, their connections and the places on them."""

from __future__ import annotations

import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
from anyio.lowlevel import checkpoint

from currant._synchronization import Notifier, keep_interrupts_out
from currant._values.errors import (
    CannotStopError,
    HostLostError,
    HostUnreachableError,
    LaunchError,
    NoCapacityError,
    UnknownNameError,
)
from currant._values.host_names import fold
from currant._values.messages import HostLost, HostUp
from currant.hosts._member import Member, State
from currant.hosts._placement import shortage
from currant.hosts._places import Places
from currant.hosts._turns import Turns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from anyio.abc import TaskGroup

    from currant._values.messages import HostMessage
    from currant.hosts._fence import Fence
    from currant.hosts._host import Host
    from currant.hosts._placement import Capacity, Needs, Place
    from currant.hosts._settings import Settings

__all__ = ["Pool", "unreachable"]


MAX_NEWS = 10_000
"""The most messages about hosts that are kept if no task watches."""


class Pool:
    """The hosts, each with a task that keeps it connected.

    Args:
        settings: the options of all hosts.
        fence: the commands that were lost with hosts, in this pool and in earlier ones.
        tasks: runs the tasks of the hosts.  The end of this group waits for them, so call `leave`
            before.

    Attributes:
        members: the hosts by name.
    """

    def __init__(self, settings: Settings, fence: Fence, tasks: TaskGroup) -> None:
        self.members: dict[str, Member] = {}
        self._settings = settings
        self._fence = fence
        self._tasks = tasks
        self._turns = Turns(tasks)
        self._places = Places()
        self._hopeful: dict[str, Capacity] = {}
        self._is_up: dict[str, bool] = {}  # as the last message says
        self._news: deque[HostMessage] = deque(maxlen=MAX_NEWS)
        self._change = Notifier()
        self._over = anyio.Event()
        for task in (Member.run, Pool._release_behind_fence, Pool._sweep_and_leave):
            keep_interrupts_out(task)

    # ---- hosts ----

    def add(self, host: Host) -> Member:
        """Begin to connect to a host.

        Raises:
            Exception: there is no way to it; `Settings.connect` has raised this.
        """
        replaces = self._fence.agents.get(host.name)
        member = Member(host, self._settings, self._turns, self._note, replaces)
        self.members[host.name] = member
        self._hopeful[host.name] = member.capacity
        self._places.add(host.name)
        self._tasks.start_soon(member.run, name=f"currant host {host.name}")
        return member

    def remove(self, member: Member) -> None:
        """Forget a host, and end its connection."""
        del self.members[member.host.name]
        self._hopeful.pop(member.host.name, None)
        member.leave()
        self._places.give_up(self._hopeful)
        self._change.notify_all()

    def drain(self, name: str) -> None:
        """Give a host no more commands, and end its connection when no command may run there.

        Raises:
            UnknownNameError: there is no such host.
        """
        if (member := self.members.get(name)) is None:
            raise UnknownNameError(name, list(self.members), f"there is no host {name!r}")
        member.drain()
        self._end_if_idle(member)

    async def wait_until_tried(self, members: Iterable[Member], enough: int) -> None:
        """Wait until `enough` of these hosts are up, or each of them was tried.

        Raises:
            HostUnreachableError: none of these hosts is up.
        """
        waited = list(members)

        def is_over() -> bool:
            states = [member.state for member in waited]
            is_enough = states.count(State.UP) >= enough or State.AWAITED not in states
            return is_enough or self._over.is_set()

        await self._change.wait_for(is_over)
        if not any(member.state is State.UP for member in waited):
            raise unreachable(waited)

    def leave(self) -> None:
        """Make all tasks end: close the connections, and end the processes on the hosts."""
        self._over.set()
        for member in self.members.values():
            member.leave()
        self._change.notify_all()

    async def watch(self, report: Callable[[HostMessage], Awaitable[None]]) -> None:
        """Call `report` for each host that is up or lost; see `HostReporter.watch`."""
        while True:
            await self._change.wait_for(lambda: bool(self._news))
            while self._news:
                await report(self._news.popleft())

    def _note(self, member: Member) -> None:
        """Note a change of a host; if it is lost, its processes learn that only after this call."""
        name = member.host.name
        self._note_agents(name, member)
        if self.members.get(name) is member:  # If not, it was removed, and perhaps added again.
            self._note_state(name, member)
        self._change.notify_all()

    def _note_state(self, name: str, member: Member) -> None:
        if member.state is State.UP:
            self._places.open(name, member.capacity)
            self._tell(name, HostUp(name, time.time()), is_up=True)
        else:
            self._places.close(name)
            if member.error is not None:
                self._tell(name, HostLost(name, member.error, time.time()), is_up=False)
        if member.is_hopeful:
            self._hopeful[name] = member.capacity
        else:
            self._hopeful.pop(name, None)
        # Also of a host that is up: only now it may be known how many processors it has.
        self._places.give_up(self._hopeful)

    def _note_agents(self, name: str, member: Member) -> None:
        """Note a new agent of a host, which has killed the agent before it, or may have."""
        last, now = self._fence.agents.get(name), time.monotonic()
        if member.may_have_replaced:
            self._fence.note_replaced(name, now, is_certain=False)
        if member.launcher is not None and member.identity not in (None, last):
            if last is not None:
                self._fence.note_replaced(name, now)
            self._fence.agents[name] = str(member.identity)

    def _tell(self, name: str, message: HostMessage, *, is_up: bool) -> None:
        if self._is_up.get(name) is not is_up:
            self._is_up[name] = is_up
            self._news.append(message)

    # ---- places ----

    async def acquire(self, name: str, needs: Needs) -> tuple[Member, Place]:
        """Wait for a place for a command.

        Cancellation: the place is given back.

        Raises:
            LaunchError: no host can give a place; the cause says why.
        """
        while shortage(needs, self._hopeful) is None:
            place = await self._places.acquire(needs)
            if place is None:
                break
            member = self.members[place.host]
            if member.launcher is not None:
                return member, place
            self._places.release(place)  # Its host was lost in this moment; nothing was started.
        raise self._refusal(name, needs)

    def release(self, place: Place) -> None:
        """Give a place back."""
        self._places.release(place)
        if (member := self.members.get(place.host)) is not None:
            self._end_if_idle(member)

    def release_behind_fence(self, place: Place, name: str) -> None:
        """Give the place of a lost command back when the command has ended for sure."""
        if not self._over.is_set():
            self._tasks.start_soon(self._release_behind_fence, place, name)

    async def _release_behind_fence(self, place: Place, name: str) -> None:
        # Not `anyio.current_time`: the fence outlives the event loop, and its clock.
        while (delay := self._fence.delay(name, time.monotonic(), place.host)) > 0:
            if self._over.is_set():
                break
            with anyio.move_on_after(delay):
                await self._change.wait()
        self.release(place)

    async def wait_for_fence(self, name: str) -> None:
        """Wait until no lost copy of a command can run any more.

        Cancellation: harmless.

        Raises:
            LaunchError: that time is unknown, and the host whose next agent could end the copy is
                not awaited.
        """
        while (delay := self._fence.delay(name, time.monotonic())) > 0:
            for host in self._fence.hosts_of_unknown_end(name):
                # If the host is up again, its agents cannot be told apart, and none was replaced.
                member = self.members.get(host)
                if member is None or not member.is_hopeful or member.state is State.UP:
                    reason = (
                        f"its host {host!r} was lost while this program was held, so the command "
                        "may still run there"
                    )
                    error = None if member is None else member.error
                    raise _launch_error(name, reason, error or HostLostError(host, reason))
            with anyio.move_on_after(delay):
                await self._change.wait()
        await checkpoint()

    def able(self, needs: Needs) -> list[Member]:
        """Return the hosts that take commands and could hold a command."""
        members = self.members.values()
        return [each for each in members if each.state is State.UP and each.could_hold(needs)]

    def running(self, host: str) -> int:
        """Return how many places on a host are taken; the host must have been added."""
        return self._places.running(host)

    def _end_if_idle(self, member: Member) -> None:
        """Leave a drained host if no place there is taken.

        If the host is lost, lost commands have places until they have ended for sure.  Until then
        only a new agent could end them, if theirs is frozen.
        """
        if member.state is State.DRAINED and not self._places.running(member.host.name):
            if member.launcher is None or self._over.is_set():
                member.leave()
            else:
                self._tasks.start_soon(self._sweep_and_leave, member)

    async def _sweep_and_leave(self, member: Member) -> None:
        """Leave a host when the escapees of its commands have ended, with their graces."""
        if member.launcher is not None:
            with suppress(CannotStopError):
                await member.launcher.sweep()
        member.leave()

    def _refusal(self, name: str, needs: Needs) -> LaunchError:
        """Return the error for a command that cannot get a place."""
        capacities = {host: member.capacity for host, member in self.members.items()}
        if (problem := shortage(needs, capacities)) is not None:
            return _launch_error(name, problem, NoCapacityError(name, problem))
        able = [member for member in self.members.values() if member.could_hold(needs)]
        for member in able:
            if member.error is not None:
                return _launch_error(name, str(member.error), member.error)
            if member.state is State.ENDING:
                error = HostLostError(member.host.name, "its agent is about to end")
                return _launch_error(name, str(error), error)
        drained = f"the host {fold(member.host.name for member in able)!r} is drained"
        return _launch_error(name, drained, NoCapacityError(name, drained))


def _launch_error(name: str, reason: str, cause: Exception) -> LaunchError:
    error = LaunchError(name, reason)
    error.__cause__ = cause
    return error


def unreachable(members: Sequence[Member]) -> HostUnreachableError:
    """Return one error for hosts that could not be reached, with each reason once."""
    hosts_by_reason: dict[str, list[str]] = {}
    for member in members:
        reason = (
            "the Runner was left before it was up" if member.error is None else member.error.reason
        )
        hosts_by_reason.setdefault(reason, []).append(member.host.name)
    if len(hosts_by_reason) == 1:
        ((reason, hosts),) = hosts_by_reason.items()
        return HostUnreachableError(fold(hosts), reason)
    lines = [f"{fold(hosts)}: {reason}" for reason, hosts in hosts_by_reason.items()]
    return HostUnreachableError(fold(member.host.name for member in members), "\n".join(lines))
