"""`Cursor`: a reader of a transcript, and how long the command waits for it.

While a cursor is attached, nothing that it has not read is forgotten: the command waits, as it
waits for a full pipe.  But as for the subscriptions of the channel, no command waits for a reader
that is not there.  A cursor is *present* while a task waits for it to have output, and between two
steps of a task that goes on and does not itself wait for the commands.  If a cursor is not present,
it is abandoned as soon as a task waits for the commands, or after `unread_timeout`.  Then the
oldest output is discarded, and the next step of the cursor raises an error that says how much.

A step may run in a task of its own, which ends with the step, as `asyncio.wait_for` does on Python
3.11.  So if the task of the last step has ended, the command waits `NEXT_STEP` for the next step,
even while another task waits for the commands.

A task that goes on may still never read again, because it waits for the body of the block.  So once
the body has ended and the commands are stopped, a cursor has limited time for each step.
"""

from __future__ import annotations

from contextlib import contextmanager
from math import inf
from typing import TYPE_CHECKING, NamedTuple

import anyio
from anyio.lowlevel import checkpoint

from currant._channel.reader_task import ReaderTask, current_task
from currant._values.errors import OutputDiscardedError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from contextlib import AbstractContextManager

    from currant._channel.track import Place, Track
    from currant._channel.waiters import Waiters
    from currant._synchronization import Notifier
    from currant._values.lines import StreamName

__all__ = ["Cursor", "Piece", "Readable"]

NEXT_STEP = 1.0
"""Seconds for which a command waits for the next step, if the task of the last step has ended."""


class Readable(NamedTuple):
    """The parts of a transcript that a cursor needs.

    Attributes:
        command: the name of the command.
        tracks: the streams.
        arrival: is notified when output has come, or has ended.
        room: is notified when a cursor has read, comes or goes.
        waiters: the tasks that wait for the commands.
        waiting: marks the current task as such a task.
        unread_timeout: seconds for which a full transcript waits for a cursor that is not present.
    """

    command: str
    tracks: Mapping[StreamName, Track]
    arrival: Notifier
    room: Notifier
    waiters: Waiters
    waiting: Callable[[], AbstractContextManager[None]]
    unread_timeout: float


class Piece(NamedTuple):
    """A part of the output, or all of a chunk.

    Attributes:
        stream: the stream.
        start: the offset of the first byte in the stream.
        data: the bytes.
        order: a number that orders the pieces of both streams by their arrival.
        time: when they were read, in seconds since the epoch.
        begins_attempt: whether these are the first bytes of an attempt.
    """

    stream: StreamName
    start: int
    data: bytes
    order: int
    time: float
    begins_attempt: bool


class Cursor:
    """A position in one stream or in both, and the task that reads there.

    Args:
        readable: the transcript.
        places: where to begin in each stream; the cursor moves these places.
        patience: seconds for which a full transcript waits for the next step of a task that goes
            on.

    Attributes:
        is_closed: whether nothing more will be read here.
    """

    def __init__(
        self, readable: Readable, places: dict[StreamName, Place], patience: float = inf
    ) -> None:
        self.is_closed: bool = False
        self._readable = readable
        self._places = places
        self._patience = patience
        self._reader = ReaderTask()
        self._reader.created_by = current_task()
        self._steps = 0  # the tasks inside of `reading`
        self._give_up_at: float | None = None  # since the command waits for a step of a task

    # ---- for the task that reads ----

    @contextmanager
    def reading(self) -> Generator[None]:
        """Count the current task as the reader: it is taking output, or waiting for some."""
        self._reader.stepped_by = anyio.get_current_task()
        self._give_up_at = None
        self._steps += 1
        try:
            yield
        finally:
            self._steps -= 1
            self._readable.room.notify_all()

    @property
    def is_in_use(self) -> bool:
        """Whether a task is in `reading`."""
        return self._steps > 0

    @property
    def has_unread(self) -> bool:
        """Whether there is a byte to read, or a gap to tell."""
        tracks = self._readable.tracks
        return any(place.offset < tracks[name].end for name, place in self._places.items())

    @property
    def has_ended(self) -> bool:
        """Whether no more output will come."""
        return all(self._readable.tracks[name].has_ended for name in self._places)

    def has_read_all(self, stream: StreamName) -> bool:
        """Return whether a stream has ended, and every byte of it was read."""
        track = self._readable.tracks[stream]
        return track.has_ended and self._places[stream].offset >= track.end

    def close(self) -> None:
        """Read nothing more; wake the tasks in `arrived`."""
        self.is_closed = True
        self._readable.arrival.notify_all()

    async def arrived(
        self, seconds: float = inf, or_when: Callable[[], bool] = lambda: False
    ) -> bool:
        """Wait until there is output to read; return False if none will come, or after `seconds`.

        Return also when output has come, or has ended, and `or_when` is true.
        While this waits, the current task counts as waiting for the commands.
        This is a checkpoint.
        Cancellation: harmless.
        """
        await checkpoint()
        if not self._is_settled:
            with self._readable.waiting(), anyio.move_on_after(seconds):
                await self._readable.arrival.wait_for(lambda: self._is_settled or or_when())
        return self.has_unread and not self.is_closed

    @property
    def _is_settled(self) -> bool:
        return self.has_unread or self.has_ended or self.is_closed

    def read(self, stream: StreamName, max_bytes: int) -> bytes:
        """Return unread bytes of `stream`.

        Raises:
            OutputDiscardedError: bytes before them were discarded.
        """
        self._tell_gap(stream)
        data = self._readable.tracks[stream].read(self._places[stream], max_bytes)
        self._readable.room.notify_all()
        return data

    def take(self) -> Piece:
        """Return the unread bytes of the chunk that arrived first; there must be one.

        Raises:
            OutputDiscardedError: bytes before them were discarded.
        """
        _, stream = min(self._next_chunks())
        self._tell_gap(stream)
        track, place = self._readable.tracks[stream], self._places[stream]
        chunk = track.next_chunk(place)
        assert chunk is not None
        skipped, place.offset = place.offset - chunk.start, chunk.end
        self._readable.room.notify_all()
        return Piece(
            stream,
            chunk.start + skipped,
            chunk.data[skipped:],
            chunk.order + skipped,
            chunk.time,
            chunk.begins_attempt and not skipped,
        )

    def _next_chunks(self) -> Generator[tuple[int, StreamName]]:
        for stream, place in self._places.items():
            track = self._readable.tracks[stream]
            if place.offset < track.end:
                chunk = track.next_chunk(place)
                yield (-1 if chunk is None else chunk.order), stream

    def _tell_gap(self, stream: StreamName) -> None:
        gap = self._readable.tracks[stream].skip_gap(self._places[stream])
        if gap:
            raise OutputDiscardedError(self._readable.command, stream, gap)

    # ---- for the task that waits for room ----

    def needs(self, stream: StreamName, end: int) -> bool:
        """Return whether the command has to wait until this cursor has read up to `end`."""
        place = self._places.get(stream)
        return place is not None and place.offset < end and not self._is_abandoned()

    def next_check(self, now: float) -> float:
        """Return when the answer of `needs` may change by itself."""
        until = self._give_up_at
        return inf if until is None or until <= now else until

    def _is_abandoned(self) -> bool:
        waiters = self._readable.waiters
        if self._steps:
            return False
        if waiters.ignore_readers:
            return True
        if self._goes_on:
            timeout = min(self._patience, waiters.reader_timeout)
        elif not waiters:
            timeout = self._readable.unread_timeout
        elif self._reader.step_has_ended:
            timeout = min(NEXT_STEP, self._readable.unread_timeout)
        else:
            return True
        if timeout == inf:
            self._give_up_at = None
            return False
        now = anyio.current_time()
        if self._give_up_at is None:
            self._give_up_at = now + timeout
        return now >= self._give_up_at

    @property
    def _goes_on(self) -> bool:
        """Whether the task that has read goes on, and does not wait for the commands."""
        if self._reader.stepped_by is None:
            return False
        task = self._reader.task
        return task is not None and task.id not in self._readable.waiters
