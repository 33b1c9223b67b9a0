"""The output of an attempt: bytes are read to their end and sent on as batches of whole lines.

Both streams are read at the same time, stderr in a separate task.  On the way, `Capture` and
`Tail` keep their share, and each batch is matched against the probes that wait for a line.  That
happens before the batch is sent, so readiness does not wait for room for that batch.

Invariant: the batches of a stream, joined, are the bytes that the process wrote, in order.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from anyio.lowlevel import checkpoint

from currant._channel.capture import Capture
from currant._channel.tail import Tail
from currant._synchronization import Notifier
from currant._values.lines import MAX_LINE, LineSplitter, batches_with_limit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from anyio.abc import ByteReceiveStream, TaskGroup

    from currant._values.lines import Batch, Line, StreamName
    from currant._values.probe import LineProbe

__all__ = ["Output"]


class Output:
    """Both output streams of an attempt.

    Args:
        name: the command's name.
        capture: False to keep no output, True to keep all, or how many last bytes of each stream.
        line_probes: the probes that wait for a line.
        send: is called with each batch of lines, and waits while there is no room.
        line_limit: the most bytes of a line that stay together.

    Attributes:
        matched: whether a line has matched a probe.
    """

    def __init__(
        self,
        name: str,
        capture: bool | int,
        line_probes: Sequence[LineProbe],
        send: Callable[[Batch], Awaitable[None]],
        *,
        line_limit: int = MAX_LINE,
    ) -> None:
        self._name = name
        self._send = send
        self._unmatched = list(line_probes)
        self.matched: bool = False
        self._capture = Capture(capture)
        self._line_limit = line_limit
        self._make_batch = batches_with_limit(line_limit)
        self._tail = Tail(line_limit)
        self._open_streams = 2
        self._change = Notifier()

    @property
    def tail(self) -> tuple[Line, ...]:
        """The last lines, at most twenty."""
        return self._tail.lines()

    def captured(self, stream: StreamName) -> bytes | None:
        """Return the captured bytes of `stream`; None if the caller asked for no capture."""
        return self._capture.get(stream)

    async def read(
        self, stdout: ByteReceiveStream | None, stderr: ByteReceiveStream | None, tasks: TaskGroup
    ) -> None:
        """Read both streams; return at the end of `stdout`.

        A task in `tasks` reads `stderr`, perhaps for longer: wait for `ended`.
        """
        tasks.start_soon(self._read, stderr, "stderr")
        await self._read(stdout, "stdout")

    async def ended(self) -> None:
        """Wait until both streams have ended and all of their output was sent."""
        await self._change.wait_for(lambda: not self._open_streams)

    async def line(self, probe: LineProbe) -> None:
        """Wait until a line has matched `probe`."""
        await self._change.wait_for(lambda: all(other is not probe for other in self._unmatched))

    async def _read(self, source: ByteReceiveStream | None, stream: StreamName) -> None:
        if source is not None:
            await self._send_lines(source, stream)
        self._open_streams -= 1
        self._change.notify_all()

    async def _send_lines(self, source: ByteReceiveStream, stream: StreamName) -> None:
        """Send whole lines until the stream ends, then the rest of the last line."""
        splitter = LineSplitter(self._line_limit)
        async for chunk in source:
            self._capture.add(stream, chunk)
            if data := splitter.feed(chunk):
                await self._send_batch(self._make_batch(self._name, stream, data, time.time()))
            else:
                await checkpoint()  # a long line may arrive in many small chunks
        if data := splitter.finish():
            await self._send_batch(self._make_batch(self._name, stream, data, time.time()))

    async def _send_batch(self, batch: Batch) -> None:
        self._tail.add(batch)
        if self._unmatched:
            self._match_probes(batch)
        await self._send(batch)

    def _match_probes(self, batch: Batch) -> None:
        before = len(self._unmatched)
        for line in batch.lines():
            self._unmatched = [probe for probe in self._unmatched if not probe.matches(line)]
        self.matched |= len(self._unmatched) < before
        self._change.notify_all()
