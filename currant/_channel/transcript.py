"""The transcript of a command: what it has written lately, for all who read the command itself.

The streams `Job.stdout` and `Job.stderr`, `Job.lines`, `Job.expect` and `Job.since` all read from
here.  Each has positions of its own and takes nothing from the others, from the iterators over the
Runner, or from the sinks.

A transcript belongs to one life and goes on through its attempts.  It keeps the last bytes of each
stream (`track.KEPT`), so a reader may come late, and after the exit.  Readers that are attached
(`cursor`) hold on to what they have not read: then the task that reads the pipe waits.

Rejected: a buffer for each reader, filled from the call on.  A command may have written, and even
exited, before the first call.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext, suppress
from math import inf
from typing import TYPE_CHECKING

import anyio

from currant._channel.cursor import Cursor, Readable
from currant._channel.subscription import RECHECK_INTERVAL
from currant._channel.track import Place, Track
from currant._channel.waiters import Waiters
from currant._synchronization import Notifier
from currant._values.errors import OutputDiscardedError
from currant._values.excerpt import Excerpt
from currant._values.lines import STREAMS

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager

    from currant._values.lines import StreamName

__all__ = ["Transcript"]


class Transcript:
    """The last output of one life of a command, in the order of arrival.

    Args:
        command: the name of the command.
        waiters: the tasks that wait for the commands.
        waiting: marks the current task as such a task.
        unread_timeout: seconds for which a full transcript waits for a reader that is not present.
        may_go_on: returns whether another attempt may follow the present one.

    Attributes:
        arrival: is notified when output has come, or has ended.
        total: how many bytes have come, in both streams.
    """

    __slots__ = (
        "_cursors",
        "_hold",
        "_may_go_on",
        "_parts",
        "_reserved",
        "_rules",
        "_tracks",
        "arrival",
        "total",
    )

    def __init__(
        self,
        command: str,
        waiters: Waiters | None = None,
        waiting: Callable[[], AbstractContextManager[None]] = nullcontext,
        unread_timeout: float = inf,
        may_go_on: Callable[[], bool] = lambda: False,
    ) -> None:
        self.arrival: Notifier = Notifier()
        self.total: int = 0
        self._tracks: dict[StreamName, Track] = {"stdout": Track(), "stderr": Track()}
        self._cursors: list[Cursor] = []
        self._hold: Cursor | None = None  # the place of the first reader, before that comes
        self._reserved: dict[StreamName, Cursor] | None = None  # see `reserve`
        self._may_go_on = may_go_on
        self._rules = (command, waiters, waiting, unread_timeout)
        self._parts: Readable | None = None  # as soon as there is a reader

    # ---- for the task that reads the pipe ----

    def begin_attempt(self) -> None:
        """Expect output again, after the end of an earlier attempt."""
        for track in self._tracks.values():
            track.begin_attempt()

    def add(self, stream: StreamName, data: bytes, time: float) -> None:
        """Add a chunk that was read; call `make_room` before the next."""
        self._tracks[stream].add(self.total, data, time)
        self.total += len(data)
        self.arrival.notify_all()

    async def make_room(self, stream: StreamName) -> None:
        """Forget old output of `stream`; wait for attached readers that have not read it.

        Not a checkpoint if there is nothing to wait for.
        Cancellation: harmless.
        """
        track = self._tracks[stream]
        while track.has_surplus:
            if self._cursors and self._is_needed(stream, track.chunks[0].end):
                with anyio.CancelScope(deadline=self._next_check()):
                    await self._readable.room.wait()
            else:
                track.forget_oldest()

    def end_of_attempt(self, stream: StreamName) -> None:
        """Note that no more output of `stream` will come in this attempt."""
        if not self._may_go_on():
            self._tracks[stream].has_ended = True
            self.arrival.notify_all()

    def end(self) -> None:
        """Note that no more output will come: the command has ended."""
        for track in self._tracks.values():
            track.has_ended = True
        self._release_hold()
        self.release(*STREAMS)
        self.arrival.notify_all()

    @property
    def size(self) -> int:
        """About how many bytes of memory the kept output takes."""
        return sum(track.size for track in self._tracks.values())

    def forget(self) -> None:
        """Forget everything, unless a reader is attached."""
        if not self._cursors:
            for track in self._tracks.values():
                while track.chunks:
                    track.forget_oldest()

    def _is_needed(self, stream: StreamName, end: int) -> bool:
        return any(cursor.needs(stream, end) for cursor in self._cursors)

    def _next_check(self) -> float:
        """Return when to look again whether the tasks of the readers have ended, or are late."""
        now = anyio.current_time()
        return min([now + RECHECK_INTERVAL, *(cursor.next_check(now) for cursor in self._cursors)])

    # ---- for readers ----

    @property
    def _readable(self) -> Readable:
        if self._parts is None:
            command, waiters, waiting, unread_timeout = self._rules
            waiters = Waiters() if waiters is None else waiters
            self._parts = Readable(
                command,
                self._tracks,
                self.arrival,
                Notifier(),
                waiters,
                waiting,
                unread_timeout,
            )
        return self._parts

    def attach(self, places: dict[StreamName, Place]) -> Cursor:
        """Return a cursor for which the command waits from now on, until `detach`."""
        cursor = Cursor(self._readable, places)
        self._add_cursor(cursor)
        self._release_hold()
        return cursor

    def hold(self) -> None:
        """Keep everything for a first reader, while the current task goes on.

        The command waits for the reader for `unread_timeout` at most.
        """
        if self._cursors:
            return
        places: dict[StreamName, Place] = {name: Place() for name in STREAMS}
        self._hold = Cursor(self._readable, places, patience=self._readable.unread_timeout)
        with self._hold.reading():  # From here on, this task counts as the reader.
            self._add_cursor(self._hold)

    def _release_hold(self) -> None:
        if self._hold is not None:
            hold, self._hold = self._hold, None
            self.detach(hold)

    def reserve(self) -> None:
        """Keep both streams from their start, as for a reader that has not read yet."""
        self._reserved = {name: Cursor(self._readable, {name: Place()}) for name in STREAMS}
        for cursor in self._reserved.values():
            self._add_cursor(cursor)

    def release(self, *streams: StreamName) -> None:
        """Keep streams no longer, if they were reserved."""
        for name in streams:
            if self._reserved and name in self._reserved:
                self.detach(self._reserved.pop(name))

    def _add_cursor(self, cursor: Cursor) -> None:
        self._cursors.append(cursor)
        self._readable.waiters.observers[self._readable.room] += 1

    def detach(self, cursor: Cursor) -> None:
        """Wait for `cursor` no longer; does nothing if it is not attached."""
        if cursor in self._cursors:
            self._cursors.remove(cursor)
            observers = self._readable.waiters.observers
            observers[self._readable.room] -= 1
            if not observers[self._readable.room]:
                del observers[self._readable.room]
            self._readable.room.notify_all()

    @contextmanager
    def attached(self, places: dict[StreamName, Place]) -> Generator[Cursor]:
        """Attach a cursor for a while."""
        cursor = self.attach(places)
        try:
            yield cursor
        finally:
            self.detach(cursor)

    def unread(self, places: dict[StreamName, Place]) -> bytes:
        """Return what has come after `places`, in the order of arrival, as far as it is kept."""
        cursor = Cursor(self._readable, {name: place.copy() for name, place in places.items()})
        parts: list[bytes] = []
        while cursor.has_unread:
            with suppress(OutputDiscardedError):
                parts.append(cursor.take().data)
        return b"".join(parts)

    def mark_here(self, mark: int) -> int:
        """Return `mark`; one beyond the end is of an earlier life, and all is new in this one."""
        return mark if mark <= self.total else 0

    def since(self, mark: int) -> Excerpt:
        """Return the output after the first `mark` bytes of both streams, as far as it is kept."""
        mark = self.mark_here(mark)
        parts: list[tuple[int, StreamName, bytes]] = [
            (chunk.order, name, chunk.data[max(0, mark - chunk.order) :])
            for name in STREAMS
            for chunk in self._tracks[name].chunks
            if chunk.order + len(chunk.data) > mark
        ]
        parts.sort()
        kept: list[tuple[StreamName, bytes]] = [(name, data) for _, name, data in parts]
        omitted = max(0, self.total - mark) - sum(len(data) for _, data in kept)
        return Excerpt(tuple(kept), self.total, omitted)
