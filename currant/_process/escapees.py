"""Escapees: what has left its process group, with `setsid` or a double fork.

Every process carries the variable ``CURRANT_ID``, and so do all its descendants, wherever they go.
It is ``<run>/<command>/<attempt>``: a run is one Runner, and the command's name is quoted as in a
URL.  A Runner below another one appends its own after a colon, so the outer one finds those of the
inner one too.

An escapee's group holds nobody but descendants of our commands, since a process can join the groups
of its own session only.  So it is ended like any other group; by its number, where its leader is
gone.

Only Linux shows the environments of other processes; elsewhere nothing is found.
"""

from __future__ import annotations

import errno
import os
import signal as signals
import warnings
from contextlib import closing
from math import inf
from typing import TYPE_CHECKING

import anyio
from anyio.lowlevel import checkpoint

from currant._process.stop import StopSpec, end_group, until_vacant
from currant._system.groups import ProcessGroup
from currant._system.marks import command_of
from currant._system.proc import environment_of, group_and_session, is_starting, process_numbers
from currant._values.errors import CannotStopError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from currant._values.shutdown_limits import ShutdownLimits

__all__ = ["Escapees"]


MOST_PASSES = 10
"""How often one search lists the processes anew, while there are ones that it has not seen."""


class Escapees:
    """The escapees of one run: finds them and ends them.

    Reading the environment of a process costs 6 to 18 µs.  So those are passed over of whom it is
    known who they are, which costs 1 µs each, and those who search at the same time share a search.

    Args:
        run: the run.
        groups: tells the groups that are no escapees': those of the run's own processes.
        limits: how long a search looks again, and how long a group may exist after SIGKILL.
    """

    def __init__(
        self, run: str, groups: Callable[[], Collection[int]], limits: ShutdownLimits
    ) -> None:
        self._run = run
        self._limits = limits
        self._groups = groups
        self._turn = anyio.Lock()
        self._searched_at = -inf
        self._found: dict[int, str] = {}
        self._warned = False

    async def end(self, commands: Mapping[str, StopSpec], grace: float) -> None:
        """End all groups that come from these commands, in parallel.

        Args:
            commands: the commands by their names.
            grace: an upper bound for their graces, in seconds.

        Cancellation: leaves them asked, but not forced.

        Raises:
            CannotStopError: something outlived SIGKILL for seconds.
        """
        began = anyio.current_time()
        over = began + min(grace, max(how.grace for how in commands.values()))

        async def end_one(number: int, name: str) -> None:
            how = commands[name]
            left = began + min(how.grace, grace) - anyio.current_time()
            if not await self._end(number, how.signal, max(left, 0)):
                raise CannotStopError(name, number, self._limits.reap)

        # Again until nothing is found: what is asked to end may start something else.
        while anyio.current_time() <= over:
            found = await self.find()
            escaped = {number: name for number, name in found.items() if name in commands}
            if not escaped:
                return
            try:
                async with anyio.create_task_group() as tasks:
                    for number, name in escaped.items():
                        tasks.start_soon(end_one, number, name)
            except* CannotStopError as group:
                raise group.exceptions[0] from None
        await self._kill_on_sight(commands, over + self._limits.reap)

    async def _end(self, number: int, signal: int, grace: float) -> bool:
        """End one group; return whether it is gone."""
        with closing(_Escapee(number)) as escapee:
            return await end_group(escapee, signal, grace, self._limits.reap)

    async def _kill_on_sight(self, commands: Collection[str], deadline: float) -> None:
        """Kill each escapee as soon as it is seen, until none is.

        Of a chain of processes, of which each starts the next one and ends, none lives until a
        search is over.
        """

        def kill(number: int, name: str) -> None:
            if name in commands:
                seen[number] = name
                with closing(ProcessGroup(number)) as group:
                    group.send(signals.SIGKILL)

        while True:
            seen: dict[int, str] = {}
            await self._search(kill)
            if not seen:
                return
            if anyio.current_time() > deadline:
                number, name = next(iter(seen.items()))
                raise CannotStopError(name, number, self._limits.reap)

    async def find(self) -> dict[int, str]:
        """Return the groups of all escapees by their number, and their commands' names.

        Cancellation: harmless.
        """
        asked = anyio.current_time()
        async with self._turn:
            if self._searched_at <= asked:
                began = anyio.current_time()
                self._found = {}
                await self._search(self._found.__setitem__)
                self._searched_at = began
        return self._found

    async def _search(self, tell: Callable[[int, str], None]) -> None:
        """Look at all, and try again for a while where no file is left to look with."""
        began = anyio.current_time()
        while True:
            try:
                return await self._look_at_all(tell)
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE):
                    raise
                if anyio.current_time() > began + self._limits.search:
                    return self._warn_of(error)
            await anyio.sleep(0.01)

    def _warn_of(self, error: OSError) -> None:
        if self._warned:
            return
        self._warned = True
        warnings.warn(
            f"currant cannot look for processes that have left their groups ({error}): "
            "if there are any, they run on",
            RuntimeWarning,
            stacklevel=2,
        )

    async def _look_at_all(self, tell: Callable[[int, str], None]) -> None:
        """Call `tell` with the group of each escapee, and its command's name."""
        seen: set[int] = set()
        blank: list[int] = []
        for _ in range(MOST_PASSES):
            # What forks and ends before it is looked at is not found itself; what it started is.
            new = [pid for pid in process_numbers() if pid not in seen]
            if not new:
                break
            seen.update(new)
            blank += await self._look_at(new, tell)
        # Again: a process has no environment in the moment in which its program starts.  On a busy
        # machine that moment may last.
        deadline = anyio.current_time() + self._limits.search
        while blank := await self._look_at(blank, tell):
            if anyio.current_time() > deadline:
                break
            await anyio.sleep(0.001)

    async def _look_at(self, pids: list[int], tell: Callable[[int, str], None]) -> list[int]:
        """Look at some of all; return those who have no environment yet."""
        blank: list[int] = []
        own_session = os.getsid(0)
        known = self._groups()
        for count, pid in enumerate(pids):
            if count % 100 == 0:  # others have a turn every millisecond or two
                await checkpoint()
                known = self._groups()
            group, session = group_and_session(pid)
            # Every command is started in a session of its own, and nobody joins an old one.
            if group == 0 or group in known or session == own_session:
                continue
            environment = environment_of(pid)
            if environment == b"":
                if is_starting(pid, group):
                    blank.append(pid)
                    continue
                environment = environment_of(pid)  # its program may have started between the looks
            if environment is not None and (name := command_of(environment, self._run)) is not None:
                tell(group, name)
        return blank


class _Escapee(ProcessGroup):
    """A group whose leader is no child of ours, as the kill path needs it."""

    __slots__ = ()

    def ask(self, signal: int) -> None:
        self.send(signal)
        self.send(signals.SIGCONT)

    def force(self) -> None:
        self.send(signals.SIGKILL)

    async def gone(self) -> None:
        await until_vacant(self)
