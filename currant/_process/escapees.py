"""Escapees: descendants of a command that left its process group, by `setsid` or a double fork.

Every process has the variable ``CURRANT_ID`` in its environment, and so have all its descendants,
wherever they go.  The value is ``<run>/<command>/<attempt>``: a run is one Runner, and the
command's name is quoted as in a URL.  A Runner inside such a process appends a mark of its own
after a colon, so the outer Runner finds the processes of the inner Runner too.

The group of an escapee contains only descendants of our commands, because a process can join only
groups of its own session.  So the group is ended like any other; by number if the leader is gone.
A command that shares the session of this program may make groups there, as an interactive shell
does.  It could join the group of this program, too, and then it is not found.

Only Linux shows the environments of other processes; on other systems no escapee is found.
"""

from __future__ import annotations

import errno
import os
import warnings
from contextlib import closing, suppress
from math import inf
from signal import SIGKILL
from time import monotonic
from typing import TYPE_CHECKING

import anyio
from anyio.lowlevel import checkpoint

from currant._process.stop import Stopper, StopSpec, wait_empty
from currant._system.groups import ProcessGroup
from currant._system.marks import command_of
from currant._system.proc import (
    environment_of,
    group_and_session,
    is_starting,
    process_numbers,
    process_numbers_after,
)
from currant._values.errors import CannotStopError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from currant._values.shutdown_limits import ShutdownLimits

__all__ = ["CannotSearch", "Escapees"]


MAX_PASSES = 10
"""How often a search lists the processes, as long as each list has new processes."""


YOUNG = 0.25
"""Seconds in which no system gives out all of its process numbers, which are 32768 or more."""


class CannotSearch(Exception):  # noqa: N818 - it never leaves this package
    """No file descriptor is left to search with, for as long as a search is repeated."""

    def warn(self) -> None:
        """Warn that escapees may be left."""
        warnings.warn(
            "currant cannot search for processes that have left their process group, "
            f"so they may keep running ({self})",
            RuntimeWarning,
            stacklevel=2,
        )


class Escapees:
    """Finds and ends the escapees of a run.

    Reading the environment of a process costs 6 to 18 µs.  So a search skips each process with a
    known group or session, at 1 µs, and tasks that search at the same time share a search.  As long
    as the run is young, a search skips all processes that are older than the run's first one.

    Args:
        run: the run.
        known_groups: returns the groups of the run's own processes, which are not escapees.
        running_names: returns the names of the commands that run: one may start during a search,
            and then its escapees belong to a process that runs.
        limits: how long a search is repeated, and how long a group may exist after SIGKILL.
    """

    def __init__(
        self,
        run: str,
        known_groups: Callable[[], Collection[int]],
        running_names: Callable[[], Collection[str]],
        limits: ShutdownLimits,
    ) -> None:
        self._run = run
        self._known_groups = known_groups
        self._running_names = running_names
        self._limits = limits
        self._first: tuple[int, float] | None = None
        self._search_lock: anyio.Lock | None = None  # as soon as there is a search
        self._searched_at = -inf
        self._found: dict[int, str] = {}
        self._searches_own_session = False

    def note_start(self, pid: int, *, in_own_session: bool = True) -> None:
        """Note a process that the run has just started, in a session of its own or in ours."""
        self._searches_own_session = self._searches_own_session or not in_own_session
        if self._first is None:
            self._first = pid, monotonic()

    async def end(self, commands: Mapping[str, StopSpec], grace: float) -> None:
        """End all escapees of `commands`, in parallel.

        Args:
            commands: how to stop the processes of each command, by the command's name.
            grace: an upper bound for the graces of the commands, in seconds.

        Cancellation: the stop was requested; SIGKILL may or may not have been sent.

        Raises:
            CannotStopError: an escapee outlived SIGKILL for seconds.
            CannotSearch: there may be escapees.
        """
        if self._is_last():
            return
        began = anyio.current_time()
        deadline = began + min(grace, max(spec.grace for spec in commands.values()))
        unstoppable: list[CannotStopError] = []

        async def end_group(number: int, name: str) -> None:
            spec = commands[name]
            time_left = began + min(spec.grace, grace) - anyio.current_time()
            with closing(_Escapee(number)) as escapee:
                stopper = Stopper(escapee, self._limits.reap)
                if not await stopper.end(spec.signal, max(time_left, 0)):
                    unstoppable.append(CannotStopError(name, number, self._limits.reap))

        # Search until nothing is found: a process that was asked to stop may start another.
        while anyio.current_time() <= deadline:
            found = await self.find()
            names = commands.keys() - self._running_names()
            escaped = {number: name for number, name in found.items() if name in names}
            if not escaped:
                return
            async with anyio.create_task_group() as tasks:
                for number, name in escaped.items():
                    tasks.start_soon(end_group, number, name)
            if unstoppable:
                raise unstoppable[0]
        await self._kill_on_sight(commands, deadline + self._limits.reap)

    async def _kill_on_sight(self, commands: Collection[str], deadline: float) -> None:
        """Kill each escapee during the search that finds it, until a search finds none.

        In a chain of processes, each of which starts the next one and exits, no process lives until
        the search is over.
        """

        def kill(number: int, name: str) -> None:
            if name in commands and name not in self._running_names():
                seen[number] = name
                with closing(ProcessGroup(number)) as group:
                    group.send(SIGKILL)

        while True:
            seen: dict[int, str] = {}
            await self._search(kill)
            if not seen:
                return
            if anyio.current_time() > deadline:
                number, name = next(iter(seen.items()))
                raise CannotStopError(name, number, self._limits.reap)

    async def find(self) -> dict[int, str]:
        """Return the group numbers of all escapees, each with the name of its command.

        Cancellation: harmless.

        Raises:
            CannotSearch: there may be others.
        """
        called = anyio.current_time()
        if self._search_lock is None:
            self._search_lock = anyio.Lock(fast_acquire=True)
        async with self._search_lock:
            if self._searched_at <= called:
                began = anyio.current_time()
                self._found = {}
                await self._search(self._found.__setitem__)
                self._searched_at = began
        return self._found

    async def _search(self, report: Callable[[int, str], None]) -> None:
        """Scan all processes; retry for a while if no file descriptor is left to read with.

        Raises:
            CannotSearch: none has become free.
        """
        deadline = inf
        while True:
            try:
                return await self._scan_all(report)
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE):
                    raise
                now = anyio.current_time()
                if now > deadline:
                    raise CannotSearch(str(error)) from error
                deadline = min(deadline, now + self._limits.search)
            await anyio.sleep(0.01)

    async def _scan_all(self, report: Callable[[int, str], None]) -> None:
        """Call `report` with each escapee's group and the name of its command."""
        seen: set[int] = set()
        blank: list[int] = []
        for _ in range(MAX_PASSES):
            # A process that forks and exits before the scan reaches it is missed; its child is
            # found.
            new = [pid for pid in self._candidates() if pid not in seen]
            if not new:
                break
            seen.update(new)
            blank += await self._scan(new, report)
        if not blank:
            return
        # Scan the blank processes again: a process has no environment during an exec, which may
        # take long on a busy machine.
        deadline = anyio.current_time() + self._limits.search
        while blank := await self._scan(blank, report):
            if anyio.current_time() > deadline:
                break
            await anyio.sleep(0.001)

    def _is_last(self) -> bool:
        """Return whether it is known that no process is younger than the first one of the run."""
        with suppress(OSError):  # No descriptor is left to look with; the search waits for one.
            return self._is_young() and not self._candidates()
        return False

    def _candidates(self) -> Sequence[int]:
        """Return the pids of all processes that may be escapees."""
        if self._first is None or not self._is_young():
            return process_numbers()
        return process_numbers_after(self._first[0])

    def _is_young(self) -> bool:
        return self._first is not None and monotonic() - self._first[1] < YOUNG

    async def _scan(self, pids: list[int], report: Callable[[int, str], None]) -> list[int]:
        """Scan some processes; return the pids that show no environment yet."""
        blank: list[int] = []
        own_session = None if self._searches_own_session else os.getsid(0)
        own_group = os.getpgrp()
        known = self._known_groups()
        for count, pid in enumerate(pids):
            if count % 100 == 0:  # Other tasks get a turn every millisecond or two.
                await checkpoint()
                known = self._known_groups()
            group, session = group_and_session(pid)
            # Most commands start in a session of their own, and no process joins an old session.
            if group in (0, own_group) or group in known or session == own_session:
                continue
            environment = environment_of(pid)
            if environment == b"":
                if is_starting(pid, group):
                    blank.append(pid)
                    continue
                environment = environment_of(pid)  # The exec may be over by now.
            if environment is not None and (name := command_of(environment, self._run)) is not None:
                report(group, name)
        return blank


class _Escapee(ProcessGroup):
    """A group whose leader is not our child, in the form that a `Stopper` needs."""

    __slots__ = ()

    async def wait_leader(self) -> None:
        await wait_empty(self)

    async def wait_gone(self) -> None:
        await wait_empty(self)
