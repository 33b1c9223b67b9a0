"""The output of an attempt: bytes are read to their end and sent on as batches of whole lines.

Both streams are read at the same time, each in a task of its own.  On the way, `CapturedOutput`,
`Tail` and the `Transcript` keep their share, and each chunk is searched for the lines that probes
wait for.  That happens before the chunk is sent, so readiness waits neither for room nor for the
end of a line.

An unfinished line is held back until it is finished.  If the command has `flush_after`, the task
that reads waits only so long for the rest, and then sends what has come.  So no further task is
needed, and a stream that ends in a whole line is read without a timer.

Invariant: the batches of a stream, joined, are the bytes that the process wrote, in order.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import anyio
from anyio.lowlevel import checkpoint

from currant._channel.capture import CapturedOutput
from currant._channel.flushing import HALF_CHARACTER, FlushingSplitter
from currant._channel.line_matcher import LineMatcher
from currant._channel.tail import TAIL_BYTES, Tail
from currant._channel.transcript import Transcript
from currant._synchronization import Notifier, start_task
from currant._values.errors import HostLostError, OutputLimitError
from currant._values.lines import MAX_LINE, batches_with_limit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from anyio.abc import ByteReceiveStream, TaskGroup

    from currant._channel.silence import Silence
    from currant._channel.spill import SpillFile
    from currant._values.capture import Capture, Omitted
    from currant._values.errors import CurrantError
    from currant._values.lines import Batch, Line, StreamName
    from currant._values.probe import LineProbe

__all__ = ["Output"]

MATCH_UNFINISHED_AFTER = 0.1
"""Seconds of silence after which an unfinished line counts as it is for a probe."""


class Output:
    """Both output streams of an attempt.

    Args:
        name: the command's name.
        capture: which part of each stream to keep; None: nothing.
        line_probes: the probes that wait for a line.
        send: is called with each batch of lines, and waits while there is no room.
        line_limit: the most bytes of a line that stay together.
        flush_after: seconds of silence after which an unfinished line is sent; None: never.
        max_output: the most bytes of both streams together; what follows is discarded.
        silence: measures for how long the process has written nothing; None: nothing does.
        spill: gets all output; None: no file does.
        on_fault: is called if there is more output than `max_output`, or if output was lost with
            its host.
        transcript: takes each chunk, too.

    Attributes:
        matched: whether a line has matched a probe.
        silence, spill: as given.
    """

    def __init__(
        self,
        name: str,
        capture: Capture | None,
        line_probes: Sequence[LineProbe],
        send: Callable[[Batch], Awaitable[None]],
        *,
        line_limit: int = MAX_LINE,
        flush_after: float | None = None,
        max_output: int | None = None,
        silence: Silence | None = None,
        spill: SpillFile | None = None,
        on_fault: Callable[[CurrantError], None] = lambda _: None,
        transcript: Transcript | None = None,
    ) -> None:
        self._name = name
        self._send = send
        self._max_output = max_output
        self._bytes_left = sys.maxsize if max_output is None else max_output
        self.silence: Silence | None = silence
        self.spill: SpillFile | None = spill
        self._on_fault = on_fault
        self._matcher = LineMatcher(line_probes)
        self.matched: bool = False
        self._capture = CapturedOutput(capture)
        self._transcript = Transcript(name) if transcript is None else transcript
        self._line_limit = line_limit
        self._flush_after = flush_after
        self._splitters: dict[StreamName, FlushingSplitter] = {}  # of the streams that are read
        self._read_at = 0.0
        self._make_batch = batches_with_limit(line_limit)
        self._tail = Tail(line_limit)
        self._open_streams = 2
        self._receiving = 0  # how many streams wait for the process
        self._unstarted: dict[StreamName, ByteReceiveStream] = {}  # those that no task reads yet
        self._shields: list[anyio.CancelScope] = []
        self._is_given_up = False
        self._change = Notifier()

    @property
    def tail(self) -> tuple[Line, ...]:
        """The last lines, at most twenty, and among them what has come of an unfinished line."""
        return self._tail.lines(
            [
                self._make_batch(self._name, stream, data, self._read_at)
                for stream, splitter in self._splitters.items()
                if (data := splitter.last_held(TAIL_BYTES))
            ]
        )

    def captured(self, stream: StreamName) -> bytes | None:
        """Return the captured bytes of `stream`; None if the caller asked for no capture."""
        return self._capture.get(stream)

    @property
    def omitted(self) -> Omitted:
        """The numbers of bytes that the capture left out."""
        return self._capture.omitted

    @property
    def may_fail(self) -> bool:
        """Whether output that was not read yet may be a fault."""
        can_fail = self._max_output is not None or self.spill is not None
        return can_fail and self._open_streams > 0

    async def read(
        self, stdout: ByteReceiveStream | None, stderr: ByteReceiveStream | None, tasks: TaskGroup
    ) -> None:
        """Read both streams; return at the end of `stdout`.

        A task in `tasks` reads `stderr`, perhaps for longer: wait for `ended`.

        Cancellation: the reading goes on to the end of the streams, unless `give_up` is called: a
        process that is being stopped may write more than a pipe holds.
        """
        self._transcript.begin_attempt()
        start_task(tasks, self._read, stderr, "stderr")
        await self._read(stdout, "stdout")

    def read_later(
        self, stdout: ByteReceiveStream | None, stderr: ByteReceiveStream | None
    ) -> None:
        """Prepare to read both streams: call `read_soon` or `end_unstarted` for each of them.

        This is the other way to `read`, for a caller that learns of the first output.
        """
        self._transcript.begin_attempt()
        sources: dict[StreamName, ByteReceiveStream | None] = {"stdout": stdout, "stderr": stderr}
        for stream, source in sources.items():
            if self.silence is not None:
                self.silence.begin_wait()
            if source is None:
                self._note_end(stream)
            else:
                self._unstarted[stream] = source
                self._receiving += 1

    @property
    def unstarted(self) -> Collection[StreamName]:
        """The streams that no task reads yet."""
        return self._unstarted.keys()

    def read_soon(self, stream: StreamName, tasks: TaskGroup, *, has_begun: bool) -> None:
        """Have a task in `tasks` read an unstarted stream to its end, as `read` does.

        Args:
            stream: the stream.
            tasks: takes the task.
            has_begun: whether there is output already.
        """
        source = self._unstarted.pop(stream)
        self._receiving -= 1
        if self.silence is not None:
            self.silence.end_wait(has_output=has_begun)
        start_task(tasks, self._read, source, stream)

    def end_unstarted(self, stream: StreamName) -> None:
        """Note that an unstarted stream has ended without any output."""
        del self._unstarted[stream]
        self._receiving -= 1
        self._note_end(stream)

    def give_up(self) -> None:
        """Let a cancellation end the reading; until now it goes on, also during a stop."""
        self._is_given_up = True  # The reading may begin only after this.
        for shield in self._shields:
            shield.shield = False

    @property
    def is_held_up(self) -> bool:
        """Whether a slow reader or sink keeps a stream from being read at this moment."""
        return self._receiving < self._open_streams

    @property
    def has_ended(self) -> bool:
        """Whether both streams have ended and all of their output was sent."""
        return not self._open_streams

    async def ended(self) -> None:
        """Wait until both streams have ended and all of their output was sent."""
        await self._change.wait_for(lambda: self.has_ended)

    async def line(self, probe: LineProbe) -> None:
        """Wait until a line has matched `probe`."""
        await self._change.wait_for(
            lambda: all(other is not probe for other in self._matcher.waiting)
        )

    async def _read(self, source: ByteReceiveStream | None, stream: StreamName) -> None:
        if source is not None:
            if self.silence is not None:
                source = self.silence.listen_to(source)
            with anyio.CancelScope(shield=not self._is_given_up) as shield:
                self._shields.append(shield)
                await self._send_lines(source, stream)
        if self.silence is not None:
            self.silence.ended()
        self._note_end(stream)

    def _note_end(self, stream: StreamName) -> None:
        self._transcript.end_of_attempt(stream)
        self._open_streams -= 1
        self._change.notify_all()

    async def _send_lines(self, source: ByteReceiveStream, stream: StreamName) -> None:
        """Send lines until the stream ends, then the rest of the last line."""
        splitter = FlushingSplitter(self._line_limit, self._flush_after)
        self._splitters[stream] = splitter
        while (chunk := await self._receive(source, stream, splitter)) is not None:
            self._read_at = now = time.time()
            if chunk := self._within_limit(chunk):
                self._transcript.add(stream, chunk, now)
                data = self._add(chunk, stream, splitter)
                if self.spill is not None:
                    await self.spill.append(chunk)
            elif stream in self._matcher.undecided:
                data = b""
                self._match_unfinished(stream)
            else:
                data = splitter.flush()
            if data:
                await self._send_batch(self._make_batch(self._name, stream, data, now))
            await self._transcript.make_room(stream)
            await checkpoint()  # A command may write without pause: other tasks need their turn.
        self._match_unfinished(stream)
        if data := splitter.finish():
            await self._send_batch(self._make_batch(self._name, stream, data, time.time()))

    async def _receive(
        self, source: ByteReceiveStream, stream: StreamName, splitter: FlushingSplitter
    ) -> bytes | None:
        """Return the next chunk; ``b""`` after the silence that is waited for; None at the end."""
        silence = None
        if stream in self._matcher.undecided:
            silence = MATCH_UNFINISHED_AFTER
        elif splitter.can_flush and self._flush_after is not None:
            silence = self._flush_after or HALF_CHARACTER
        self._receiving += 1
        try:
            if silence is None:
                return await source.receive()
            with anyio.move_on_after(silence):
                return await source.receive()
        except anyio.EndOfStream:
            return None
        except HostLostError as error:
            self._on_fault(error)
            return None
        finally:
            self._receiving -= 1
        return b""

    def _add(self, chunk: bytes, stream: StreamName, splitter: FlushingSplitter) -> bytes:
        """Add a chunk that was read, and return the bytes to send."""
        self._capture.add(stream, chunk)
        if self._matcher.waiting and self._matcher.add(stream, chunk):
            self._note_match()
        return splitter.feed(chunk)

    def _within_limit(self, chunk: bytes) -> bytes:
        """Return the part of `chunk` that the command may write, and report if there is more."""
        left = self._bytes_left
        self._bytes_left -= len(chunk)
        if self._max_output is not None and self._bytes_left < 0 <= left:
            self._on_fault(OutputLimitError(self._name, self._max_output))
        return chunk[: max(0, left)]

    async def _send_batch(self, batch: Batch) -> None:
        self._tail.add(batch)
        await self._send(batch)

    def _match_unfinished(self, stream: StreamName) -> None:
        """Take the unfinished line as it is, if a probe waits for that."""
        if stream in self._matcher.undecided and self._matcher.match_unfinished(stream):
            self._note_match()

    def _note_match(self) -> None:
        self.matched = True
        self._change.notify_all()
