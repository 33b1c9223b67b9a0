"""`Member`: connects to one host of `Hosts`, notices its loss, and connects again."""

from __future__ import annotations

import os
import platform
from contextlib import AsyncExitStack, suppress
from enum import Enum
from math import inf
from typing import TYPE_CHECKING, TypeAlias

import anyio

from currant._process.local import LocalLauncher
from currant._remote.launcher import RemoteLauncher
from currant._synchronization import Notifier
from currant._system.processors import usable_processors
from currant._values.errors import HostLostError, HostUnreachableError
from currant.hosts._host import HostInfo

if TYPE_CHECKING:
    from collections.abc import Callable

    from currant._remote.transport import Transport
    from currant.hosts._host import Host
    from currant.hosts._placement import Capacity, Needs
    from currant.hosts._settings import Settings
    from currant.hosts._turns import Turns

__all__ = ["HostLauncher", "Member", "State"]


MAX_DELAY = 30.0
"""The most seconds between two tries to connect to a host that was lost."""

HostLauncher: TypeAlias = LocalLauncher | RemoteLauncher
"""The launcher of the processes on one host."""


class State(Enum):
    """Whether a host takes commands, and whether commands wait for the host."""

    AWAITED = "awaited"
    """Commands wait: the first connection is under way, or the host was lost not long ago."""

    UP = "up"
    """The host takes commands."""

    ENDING = "ending"
    """The host takes no more commands, because its agent is about to end; it may come back."""

    DRAINED = "drained"
    """The host takes no more commands, because `Hosts.drain` was called."""

    UNREACHABLE = "unreachable"
    """No command waits for the host, but it may come back."""


class Member:
    """A host, and the launcher of its processes while there is a connection.

    Args:
        host: the host.
        settings: the options of all hosts.
        turns: limits how many hosts are connected to at a time.
        on_change: called with the member after each change.
        replaces: the identity of an earlier agent of the host, which the new agent kills first.

    Raises:
        Exception: there is no way to the host; `Settings.connect` has raised this.

    Attributes:
        host: as given.
        state: whether the host takes commands.
        launcher: starts processes on the host; None if there is no connection.
        error: why the last connection failed or was lost; None while the host is up or untried.
        identity: tells the last agent apart from all other processes; None if that is impossible.
        may_have_replaced: whether the last connection has failed after its agent was asked to kill
            the agent before it.
    """

    def __init__(
        self,
        host: Host,
        settings: Settings,
        turns: Turns,
        on_change: Callable[[Member], None],
        replaces: str | None = None,
    ) -> None:
        self.host = host
        self.state = State.AWAITED
        self.launcher: HostLauncher | None = None
        self.error: HostLostError | None = None
        self._settings = settings
        self._turns = turns
        self._on_change = on_change
        self._about: tuple[int, str, int] | None = None  # the pid, the Python and the processors
        self.identity = replaces
        self.may_have_replaced = False
        self._awaited_until = -inf
        self._is_leaving = False
        self._wake = Notifier()
        self._scope = anyio.CancelScope(shield=True)
        # The first one is built in the caller's frame, where a host without a way is refused.
        self._transport = None if host.is_local else settings.connect(host)

    @property
    def is_hopeful(self) -> bool:
        """Whether commands may wait for the host."""
        is_ending = self.state is State.ENDING and self._settings.reconnect
        return is_ending or self.state in (State.AWAITED, State.UP)

    @property
    def capacity(self) -> Capacity:
        """The amounts that commands may take of the host, as far as they are known."""
        return self._settings.capacity_of(self.host, self._about and self._about[2])

    def could_hold(self, needs: Needs) -> bool:
        """Return whether a command could run on the host if no other command did."""
        return needs.may_be_on(self.host.name) and self.capacity.holds(needs)

    def info(self, running: int) -> HostInfo:
        """Return facts about the host, which must have been up."""
        assert self._about is not None
        return HostInfo(self.host.name, *self._about, running)

    # ---- connecting ----

    async def run(self) -> None:
        """Connect until `leave`, again and again if `Settings.reconnect` is set."""
        delay = self._settings.retry_delay
        with self._scope:  # Bounded: by `leave`.
            while not self._is_leaving:
                try:
                    await (self._serve_here() if self.host.is_local else self._serve())
                    delay = self._settings.retry_delay
                except HostUnreachableError as error:
                    self._note_lost(error)
                if not self._settings.reconnect:
                    return
                with anyio.move_on_after(delay):
                    await self._wake.wait_for(lambda: self._is_leaving)
                delay = min(2 * delay, MAX_DELAY)

    def leave(self) -> None:
        """Make `run` end the connection, or give up the tries to connect, and return."""
        self._is_leaving = True
        if self.launcher is None:
            self._scope.cancel()
        self._wake.notify_all()

    def drain(self) -> None:
        """Take no more commands, for good."""
        self._enter(State.DRAINED)

    async def _serve(self) -> None:
        """Connect, and keep the connection until the host is lost, or `leave`.

        Raises:
            HostUnreachableError: the host cannot be reached.
        """
        launcher = RemoteLauncher(
            self.host.name,
            self._take_transport(),
            heartbeat=self._settings.new_heartbeat(),
            orphan_guard=self._settings.orphan_guard,
            replaces=self.identity,
            on_change=self._note_change,
        )
        async with AsyncExitStack() as stack:
            async with self._turns.take():
                try:
                    await stack.enter_async_context(launcher)
                finally:
                    self.may_have_replaced = launcher.connection.may_have_replaced
            connection = launcher.connection
            self.identity = connection.identity
            self._about = connection.agent_pid, connection.python, connection.cpus
            self._note_up(launcher)
            await self._until_over()

    def _take_transport(self) -> Transport:
        """Return a way to the host that was not used before.

        Raises:
            HostUnreachableError: there is none any more.
        """
        transport, self._transport = self._transport, None
        try:
            return transport or self._settings.connect(self.host)
        except Exception as error:  # of a function of the user
            raise HostUnreachableError(self.host.name, f"connect has failed: {error!r}") from error

    async def _serve_here(self) -> None:
        guard = self._settings.orphan_guard
        async with LocalLauncher(orphan_guard=guard) as launcher:
            self._about = os.getpid(), platform.python_version(), usable_processors()
            self._note_up(launcher)
            await self._until_over()

    async def _until_over(self) -> None:
        """Wait for `leave` or the loss of the host; a cancellation does not end the wait.

        A shield is not enough: at its end, `asyncio.run` cancels each task directly.
        """
        while self.launcher is not None and not self._is_leaving:
            with suppress(anyio.get_cancelled_exc_class()):
                await self._wake.wait()
        self.launcher = None

    # ---- changes of the state ----

    def _note_up(self, launcher: HostLauncher) -> None:
        self.launcher, self.error = launcher, None
        self._enter(State.UP)

    def _note_change(self) -> None:
        """Note that the host is lost, or that its agent is about to end.

        A host without a launcher was not up yet; `run` notes why it cannot be reached.
        """
        launcher = self.launcher
        if not isinstance(launcher, RemoteLauncher) or self._is_leaving:
            return
        if (reason := launcher.connection.peer.lost) is not None:
            self._awaited_until = anyio.current_time() + self._settings.patience
            self._note_lost(HostLostError(self.host.name, reason))
        elif launcher.connection.is_dying:
            self._enter(State.ENDING)

    def _note_lost(self, error: HostLostError) -> None:
        self.launcher, self.error = None, error
        is_awaited = self._settings.reconnect and anyio.current_time() < self._awaited_until
        self._wake.notify_all()
        self._enter(State.AWAITED if is_awaited else State.UNREACHABLE)

    def _enter(self, state: State) -> None:
        if self.state is not State.DRAINED:
            self.state = state
        self._on_change(self)
