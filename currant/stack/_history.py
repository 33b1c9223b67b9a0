"""The last messages of each command, for ``logs``: a sink of bounded memory.

Each command has a ring of its own, so a chatty command does not push out the lines of a quiet
command.  All entries are numbered in the order of their arrival.

Readers are cursors into the rings, and nothing is buffered for a single reader.  So a client that
never reads costs nothing: the rings go on, and if the client reads again, it gets the number of
lines that are missing.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field, replace
from heapq import merge
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING

from currant._synchronization import Notifier
from currant._values.lines import Batch
from currant._values.messages import Dropped
from currant._values.state import QUEUED, state_after
from currant.sinks._threaded import commands_of, receive_available

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from anyio.abc import ObjectReceiveStream

    from currant._values.command import Command
    from currant._values.messages import BatchMessage
    from currant._values.state import CommandState

__all__ = ["KEPT", "Cursor", "History"]

KEPT = 1 << 20
"""Bytes that the messages of a command may take in memory: three of the largest batches."""

OVERHEAD = 300
"""Bytes that an entry takes besides its output: measured, 280 with Python 3.11."""


@dataclass(slots=True)
class _Entry:
    number: int
    message: BatchMessage
    lines_before: int
    """The lines of the command before this entry, from its first one on."""

    @property
    def cost(self) -> int:
        return OVERHEAD + (len(self.message.data) if isinstance(self.message, Batch) else 0)


@dataclass(slots=True)
class _Ring:
    """The last messages of one command."""

    entries: deque[_Entry] = field(default_factory=deque["_Entry"])
    cost: int = 0
    lines: int = 0

    def add(self, number: int, message: BatchMessage, kept: int) -> None:
        entry = _Entry(number, message, self.lines)
        self.lines += _lines_in(message)
        self.entries.append(entry)
        self.cost += entry.cost
        while self.cost > kept and len(self.entries) > 1:
            self.cost -= self.entries.popleft().cost

    def since(self, number: int) -> Iterator[_Entry]:
        """Return the entries from a number on."""
        if not self.entries or self.entries[-1].number < number:
            return iter(())
        return islice(self.entries, self._index_of(number), None)

    def lines_until(self, number: int) -> int:
        """Return the lines of the command before the first entry from a number on."""
        first = next(self.since(number), None)
        return self.lines if first is None else first.lines_before

    def first_since(self, time: float) -> int | None:
        """Return the number of the first entry from a time on; None if there is none."""
        index = bisect_left(self.entries, time, key=attrgetter("message.time"))
        return self.entries[index].number if index < len(self.entries) else None

    def _index_of(self, number: int) -> int:
        return bisect_left(self.entries, number, key=attrgetter("number"))


@dataclass(slots=True)
class Cursor:
    """The position of one reader.

    Attributes:
        number: the entry to read next.
        skip: the number of first lines of that entry to leave out.
        seen: the number of lines of each command before that entry.
    """

    number: int
    skip: int = 0
    seen: dict[str, int] = field(default_factory=dict[str, int])


class History:
    """A sink that keeps the last messages of each command, and the state of each.

    Args:
        kept: the bytes that the messages of a command may take.

    Attributes:
        arrival: is notified when messages have come, and at the end.
        states: the state of each command by name, folded from its messages.
        failures: how the last attempt of each command has failed, in a line, by name; a later
            success or stop of the command removes its failure.
        has_ended: whether the Runner has ended, so no more messages will come.
    """

    def __init__(self, kept: int = KEPT) -> None:
        self.arrival: Notifier = Notifier()
        self.states: dict[str, CommandState] = {}
        self.failures: dict[str, str] = {}
        self.has_ended: bool = False
        self._kept = kept
        self._rings: dict[str, _Ring] = {}
        self._next = 0

    async def __call__(self, messages: ObjectReceiveStream[BatchMessage]) -> None:
        """Keep all messages until the stream ends."""
        commands = commands_of(messages)
        while backlog := await receive_available(messages):
            for message in backlog:
                self.add(message, commands)
            self.arrival.notify_all()
        self.end()

    def add(self, message: BatchMessage, commands: Mapping[str, Command]) -> None:
        """Keep a message, unless it is about a host.

        Args:
            message: the message.
            commands: the commands of the Runner by name.
        """
        name = message.command
        if name is None:
            return
        before = self.states.get(name, QUEUED)
        self.states[name] = state = state_after(message, before, commands.get(name))
        if state.phase == "failed":
            self.failures[name] = str(state.error or state.exit).partition("\n")[0]
        elif state.phase in ("succeeded", "stopped"):
            self.failures.pop(name, None)
        ring = self._rings.get(name)
        if ring is None:
            ring = self._rings[name] = _Ring()
        ring.add(self._next, message, self._kept)
        self._next += 1

    def end(self) -> None:
        """Note that no more messages will come."""
        self.has_ended = True
        self.arrival.notify_all()

    @property
    def end_number(self) -> int:
        """The number that the next entry will have."""
        return self._next

    @property
    def cost(self) -> int:
        """The bytes that all messages take."""
        return sum(ring.cost for ring in self._rings.values())

    def forget(self, name: str) -> None:
        """Forget a command that has been removed."""
        self._rings.pop(name, None)
        self.states.pop(name, None)
        self.failures.pop(name, None)

    def begin(
        self, names: Collection[str] = (), last: int | None = None, since: float | None = None
    ) -> Cursor:
        """Return a cursor.

        Args:
            names: the commands; empty: all.
            last: the number of last lines to begin with; None: all.
            since: the time of the first line, in seconds since the epoch; None: any.
        """
        number, skip = 0, 0
        if since is not None:
            firsts = (ring.first_since(since) for ring in self._rings_of(names))
            number = min((each for each in firsts if each is not None), default=self._next)
        if last is not None:
            number, skip = self._start_of_last(names, last, number)
        seen = {name: ring.lines_until(number) for name, ring in self._rings.items()}
        return Cursor(number, skip, seen)

    def read(
        self, cursor: Cursor, names: Collection[str] = (), max_bytes: int = 1 << 16
    ) -> list[BatchMessage]:
        """Return the next messages, and move the cursor; empty if there are none now.

        A `Dropped` has the number of lines that the reader has missed.
        """
        taken: list[BatchMessage] = []
        cost = 0
        for entry in self._entries(names, cursor.number):
            message, name = entry.message, entry.message.command or ""
            missed = entry.lines_before - cursor.seen.get(name, 0)
            if missed > 0:
                taken.append(Dropped(name, missed, time.time()))
            if cursor.skip and entry.number == cursor.number and isinstance(message, Batch):
                message = _without_first_lines(message, cursor.skip)
            taken.append(message)
            cursor.skip = 0
            cursor.number = entry.number + 1
            cursor.seen[name] = entry.lines_before + _lines_in(entry.message)
            cost += entry.cost
            if cost >= max_bytes:
                break
        return taken

    def _entries(self, names: Collection[str], number: int) -> Iterator[_Entry]:
        """Yield the entries of some commands from a number on, in the order of their arrival."""
        streams = [ring.since(number) for ring in self._rings_of(names)]
        return merge(*streams, key=attrgetter("number"))

    def _rings_of(self, names: Collection[str]) -> list[_Ring]:
        return [ring for name, ring in self._rings.items() if not names or name in names]

    def _start_of_last(self, names: Collection[str], last: int, least: int) -> tuple[int, int]:
        """Return the entry and the lines to skip there, so that `last` lines follow."""
        lines, start = 0, self._next
        newest_first = [reversed(ring.entries) for ring in self._rings_of(names)]
        for entry in merge(*newest_first, key=attrgetter("number"), reverse=True):
            if lines >= last or entry.number < least:
                break
            lines += _lines_in(entry.message)
            start = entry.number
        return start, max(0, lines - last)


def _lines_in(message: BatchMessage) -> int:
    return message.count() if isinstance(message, Batch) else 0


def _without_first_lines(batch: Batch, count: int) -> Batch:
    size = sum(len(line.data) + len(line.ending) for line in islice(batch.lines(), count))
    return replace(batch, data=batch.data[size:])
