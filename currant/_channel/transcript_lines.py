"""The lines of a transcript, for `Job.lines`: each line is given to one loop, once.

The lines are cut here again, with the same rules as for the channel, because a transcript has bytes
that were read before the first loop began, and the channel's batches are gone by then.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from math import inf
from operator import itemgetter
from typing import TYPE_CHECKING

import anyio
from anyio.lowlevel import checkpoint

from currant._channel.flushing import HALF_CHARACTER, FlushingSplitter
from currant._channel.track import Place
from currant._values.errors import OutputDiscardedError
from currant._values.lines import batches_with_limit, parts_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Self

    from currant._channel.cursor import Cursor, Piece
    from currant._channel.transcript import Transcript
    from currant._synchronization import HomeLoop
    from currant._values.lines import Line, StreamName

__all__ = ["LineIterator", "TranscriptLines"]


class TranscriptLines:
    """The lines of one life that no loop has had.

    Args:
        command: the name of the command.
        transcript: its output.
        line_limit: the most bytes of a line that stay together.
        flush_after: seconds of silence after which an unfinished line is given; None: never.
    """

    def __init__(
        self, command: str, transcript: Transcript, line_limit: int, flush_after: float | None
    ) -> None:
        self._transcript = transcript
        self._cutters: dict[StreamName, _Cutter] = {
            stream: _Cutter(command, stream, line_limit, flush_after)
            for stream in ("stdout", "stderr")
        }

    def attach(self, streams: Sequence[StreamName]) -> Cursor:
        """Return a cursor that goes on where the last loop over the same streams was left."""
        return self._transcript.attach({name: self._cutters[name].place for name in streams})

    def detach(self, cursor: Cursor) -> None:
        """Wait for the loop with that cursor no longer."""
        self._transcript.detach(cursor)

    def oldest(self, streams: Sequence[StreamName]) -> Iterator[Line] | None:
        """Return an iterator over the lines of `streams` that were cut first; None if none were.

        Loops share the iterator, and so its lines.  Call `finished` with it when it is exhausted.
        """
        cut = [self._cutters[name].cut[0] for name in streams if self._cutters[name].cut]
        return min(cut, key=itemgetter(0))[1] if cut else None

    def finished(self, lines: Iterator[Line]) -> bool:
        """Drop an exhausted iterator; return False if another loop has dropped it."""
        for cutter in self._cutters.values():
            if cutter.cut and cutter.cut[0][1] is lines:
                cutter.cut.popleft()
                return True
        return False

    def raise_gap(self, streams: Sequence[StreamName]) -> None:
        """Raise the error about output that was discarded before the next piece, once.

        Raises:
            OutputDiscardedError: output was discarded; `read` goes on after the gap.
        """
        for name in streams:
            gap, self._cutters[name].gap = self._cutters[name].gap, None
            if gap is not None:
                raise gap

    async def read(self, cursor: Cursor, streams: Sequence[StreamName]) -> bool:
        """Cut one more piece of the output; return False if the output has ended.

        If output was discarded, its error is kept for `raise_gap`, for the lines that were cut
        before come first, and the loop over them may be left.
        """
        cutters: dict[StreamName, _Cutter] = {name: self._cutters[name] for name in streams}

        def is_cut_short() -> bool:
            """Return whether one stream has ended inside a line; the other may go on."""
            return any(
                cutter.is_inside_line and cursor.has_read_all(name)
                for name, cutter in cutters.items()
            )

        wait = min(cutter.flush_at for cutter in cutters.values()) - anyio.current_time()
        if not is_cut_short() and await cursor.arrived(wait, is_cut_short):
            try:
                piece = cursor.take()
            except OutputDiscardedError as error:
                self._cutters[error.stream].finish()
                self._cutters[error.stream].gap = error
                return True
            self._cutters[piece.stream].add(piece, anyio.current_time())
            return True
        for name, cutter in cutters.items():
            if cursor.has_read_all(name):
                cutter.finish()
            elif cutter.flush_at <= anyio.current_time():
                cutter.flush()
        # A stream that was cut short may have ended before the unread output of the other.
        return cursor.has_unread or not cursor.has_ended


class _Cutter:
    """Cuts one stream into lines, and holds the lines that no loop has had.

    Attributes:
        place: up to where the stream was cut.
        cut: iterators over lines, each after the order of the piece in which the lines ended.
        flush_at: when the unfinished line is given; infinity: not before it ends.
        gap: the error about output that was discarded after `cut`; None if there is none.
    """

    def __init__(
        self, command: str, stream: StreamName, line_limit: int, flush_after: float | None
    ) -> None:
        self.place: Place = Place()
        self.cut: deque[tuple[int, Iterator[Line]]] = deque()
        self.flush_at: float = inf
        self.gap: OutputDiscardedError | None = None
        self._command = command
        self._stream: StreamName = stream
        self._make_batch = batches_with_limit(line_limit)
        self._splitter = FlushingSplitter(line_limit, flush_after)
        self._flush_after = flush_after
        self._order = 0
        self._time = 0.0

    @property
    def is_inside_line(self) -> bool:
        """Whether a part of a line is held back."""
        return bool(self._splitter.last_held(1))

    def add(self, piece: Piece, now: float) -> None:
        """Cut a piece; an unfinished line is held back, but not for the next attempt."""
        if piece.begins_attempt:
            self.finish()
        self._order, self._time = piece.order, piece.time
        self._put(self._splitter.feed(piece.data))
        if self._flush_after is not None and self._splitter.can_flush:
            self.flush_at = now + (self._flush_after or HALF_CHARACTER)
        else:
            self.flush_at = inf

    def flush(self) -> None:
        """Give what has come of an unfinished line; the rest comes later."""
        self.flush_at = inf
        if self._splitter.can_flush:
            self._put(self._splitter.flush())

    def finish(self) -> None:
        """Give what was held back: no more of the line will come."""
        self.flush_at = inf
        self._put(self._splitter.finish())

    def _put(self, data: bytes) -> None:
        if data:
            batch = self._make_batch(self._command, self._stream, data, self._time)
            self.cut += ((self._order, part.lines()) for part in parts_of(batch))


class LineIterator:
    """The object that ``async for`` holds; a loop that is left drops it, which detaches it.

    Args:
        lines: the lines.
        streams: the streams to iterate over.
        home: the event loop of the Runner.
    """

    def __init__(
        self,
        lines: TranscriptLines,
        streams: Sequence[StreamName],
        home: HomeLoop,
    ) -> None:
        self._lines = lines
        self._streams = streams
        self._home = home
        self._here: Iterator[Line] = iter(())
        self._cursor: Cursor | None = None
        self._has_ended = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Line:
        while True:
            # The hot path: most calls end here, without a checkpoint.
            for line in self._here:
                return line
            is_turn_over = self._lines.finished(self._here)
            if (oldest := self._lines.oldest(self._streams)) is not None:
                self._here = oldest
                if is_turn_over:  # Other tasks run after some hundreds of lines.
                    await checkpoint()
                continue
            try:
                await self._read()
            except BaseException:
                if self._cursor is None or not self._cursor.is_in_use:  # by another task
                    self._leave()
                raise

    async def _read(self) -> None:
        """Read once, after which there may be a line; or raise the error that ends the loop."""
        if self._has_ended:
            raise StopAsyncIteration
        self._lines.raise_gap(self._streams)
        self._home.check("Job.lines")
        if self._cursor is None:
            self._cursor = self._lines.attach(self._streams)
        with self._cursor.reading():
            self._has_ended = not await self._lines.read(self._cursor, self._streams)

    def _leave(self) -> None:
        if self._cursor is not None:
            cursor, self._cursor = self._cursor, None
            # The garbage collector may drop this object in any thread.
            self._home.call_in_task(partial(self._lines.detach, cursor))

    def __del__(self) -> None:
        self._leave()
