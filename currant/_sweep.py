"""Escapees: what has left its process group, with `setsid` or a double fork.

Every process carries the variable ``CURRANT_ID``, and so do all its descendants, wherever they go.
It is ``<run>/<command>/<attempt>``: a run is one Runner, and the command's name is quoted as in a
URL.  A Runner below another one appends its own after a colon, so the outer one finds those of the
inner one too.

An escapee's group holds nobody but descendants of our commands, since a process can join the groups
of its own session only.  So it is ended like any other group.

Only Linux shows the environments of other processes; elsewhere nothing is found.
"""

from __future__ import annotations

import errno
import os
import signal as signals
import warnings
from math import inf
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, unquote_to_bytes

import anyio
from anyio.lowlevel import checkpoint

from currant._errors import CannotStopError
from currant._posix import ProcessGroup, group_and_session, process_numbers, variable_of
from currant._stop import REAP_LIMIT, end_group

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

__all__ = ["VARIABLE", "HowToStop", "Sweep", "mark"]

VARIABLE = "CURRANT_ID"

MOST_PASSES = 10
"""How often one search lists the processes anew, while there are ones that it has not seen."""

PAUSE = 0.05
"""Seconds between two tries to look where no file descriptor is left."""


class HowToStop(NamedTuple):
    """How the processes of one command are ended: asked with `signal`, killed after `grace` s."""

    signal: int
    grace: float


def mark(run: str, name: str, attempt: int) -> str:
    """Return the ``CURRANT_ID`` of a process, appended to the one that this process has."""
    own = f"{run}/{quote(os.fsencode(name), safe='#')}/{attempt}"
    outer = os.environ.get(VARIABLE)
    return f"{outer}:{own}" if outer else own


class Sweep:
    """Finds and ends the escapees of one run.

    Reading the environment of a process costs 6 to 18 µs.  So those are passed over who cannot be
    escapees, which costs 1 µs each, and those who search at the same time share a search.

    Args:
        run: the run.
        spare: tells which groups are no escapees' and are left as they are.
    """

    def __init__(self, run: str, spare: Callable[[], Collection[int]]) -> None:
        self._run = run
        self._spare = spare
        self._turn = anyio.Lock()
        self._searched_at = -inf
        self._found: dict[int, str] = {}

    async def end(self, commands: Mapping[str, HowToStop], grace: float) -> None:
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

        async def end_one(number: int, name: str, how: HowToStop) -> None:
            left = began + min(how.grace, grace) - anyio.current_time()
            if not await _end(number, how.signal, max(left, 0)):
                raise CannotStopError(name, number, REAP_LIMIT)

        # Again until nothing is found: what is asked to end may start something else.
        while True:
            now = anyio.current_time()
            escaped = await self._find_by(over + REAP_LIMIT, commands, at_once=now > over)
            if not escaped:
                return
            if now > over + REAP_LIMIT:  # they are started faster than they can be ended
                number, name = next(iter(escaped.items()))
                raise CannotStopError(name, number, REAP_LIMIT)
            try:
                async with anyio.create_task_group() as tasks:
                    for number, name in escaped.items():
                        tasks.start_soon(end_one, number, name, commands[name])
            except* CannotStopError as group:
                raise group.exceptions[0] from None

    async def _find_by(
        self, deadline: float, commands: Collection[str], *, at_once: bool
    ) -> dict[int, str]:
        """Find those of some commands, and try again where no file is left to look with.

        Args:
            deadline: when to give that up.
            commands: whose escapees.
            at_once: whether each is killed as soon as it is seen: of a chain of processes, of which
                each starts the next one and ends, none lives until the search is over.
        """
        while True:
            try:
                found = await (self._search(doomed=commands) if at_once else self.find())
                return {number: name for number, name in found.items() if name in commands}
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE):
                    raise
                if anyio.current_time() > deadline:
                    _warn_of(error)
                    return {}
            await anyio.sleep(PAUSE)

    async def find(self) -> dict[int, str]:
        """Return the groups of all escapees by their number, and their commands' names.

        Cancellation: harmless.
        """
        asked = anyio.current_time()
        async with self._turn:
            if self._searched_at <= asked:
                began = anyio.current_time()
                self._found = await self._search()
                self._searched_at = began
        return self._found

    async def _search(self, doomed: Collection[str] = ()) -> dict[int, str]:
        found: dict[int, str] = {}
        seen: set[int] = set()
        blank: list[int] = []
        for _ in range(MOST_PASSES):
            # What forks and ends before it is looked at is not found itself; what it started is.
            new = [pid for pid in process_numbers() if pid not in seen]
            if not new:
                break
            seen.update(new)
            blank += await self._look_at(new, found, doomed)
        # Once more: a process has no environment in the moment in which its program starts.
        await self._look_at(blank, found, doomed)
        return found

    async def _look_at(
        self, pids: list[int], found: dict[int, str], doomed: Collection[str]
    ) -> list[int]:
        """Add the escapees among `pids` to `found`; return the processes without environment."""
        blank: list[int] = []
        own_session = os.getsid(0)
        spare = self._spare()
        for count, pid in enumerate(pids):
            if count % 100 == 0:  # others have a turn every millisecond or two
                await checkpoint()
                spare = self._spare()
            group, session = group_and_session(pid)
            # Every command is started in a session of its own, and nobody joins an old one.
            if group == 0 or group in spare or session == own_session:
                continue
            marks = variable_of(pid, VARIABLE)
            if marks == "":
                blank.append(pid)
            elif marks is not None and (name := self._name_in(marks)) is not None:
                found[group] = name
                if name in doomed:
                    _kill(group)
        return blank

    def _name_in(self, marks: str) -> str | None:
        for entry in marks.split(":"):
            run, _, rest = entry.partition("/")
            if run == self._run:
                return os.fsdecode(unquote_to_bytes(rest.partition("/")[0]))
        return None


def _warn_of(error: OSError) -> None:
    warnings.warn(
        f"currant cannot look for processes that have left their groups ({error}): "
        "if there are any, they run on",
        RuntimeWarning,
        stacklevel=2,
    )


def _kill(number: int) -> None:
    group = ProcessGroup(number)
    group.send(signals.SIGKILL)
    group.close()


async def _end(number: int, signal: int, grace: float) -> bool:
    """End one group; return whether it is gone."""
    escapee = _Escapee(number)
    try:
        return await end_group(escapee, signal, grace)
    finally:
        escapee.close()


class _Escapee(ProcessGroup):
    """A group whose leader is no child of ours, as the kill path needs it."""

    __slots__ = ()

    def ask(self, signal: int) -> None:
        self.send(signal)
        self.send(signals.SIGCONT)

    def force(self) -> None:
        self.send(signals.SIGKILL)

    async def gone(self) -> None:
        await self.vacated()
