"""The output of one attempt: read to its end, passed on as whole lines, and what is kept of it.

That is: what was captured, the last lines, and which of the lines that a probe waits for have come.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from anyio.lowlevel import checkpoint

from currant._synchronization import Notifier
from currant._values.lines import Batch, Line, LineSplitter, StreamName

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from anyio.abc import ByteReceiveStream, TaskGroup

    from currant._values.probe import LineProbe

__all__ = ["Capture", "Output", "Tail"]


TAIL_LINES = 20
"""How many last lines are remembered, for errors that show them."""

TAIL_BYTES = 4096
"""Most bytes of one batch that are remembered for that."""


class Capture:
    """The output of one attempt: all of it, its last bytes, or nothing."""

    __slots__ = ("_kept", "_limit")

    def __init__(self, capture: bool | int) -> None:
        self._limit = None if capture is True else int(capture)
        self._kept: dict[StreamName, bytearray] = {}
        if capture is not False:
            self._kept = {"stdout": bytearray(), "stderr": bytearray()}

    def add(self, stream: StreamName, chunk: bytes) -> None:
        """Take a chunk that was read."""
        if stream in self._kept:
            kept = self._kept[stream]
            kept += chunk
            if self._limit is not None and len(kept) > 2 * self._limit:
                del kept[: len(kept) - self._limit]

    def get(self, stream: StreamName) -> bytes | None:
        """Return what is kept of `stream`; None where nothing was asked for."""
        if stream not in self._kept:
            return None
        kept = bytes(self._kept[stream])
        return kept if self._limit is None else kept[max(0, len(kept) - self._limit) :]


class Tail:
    """The last lines of one attempt, both streams in the order in which they were read."""

    __slots__ = ("_batches",)

    def __init__(self) -> None:
        # A batch has at least one line, so this many hold enough of them.
        self._batches: deque[tuple[str, StreamName, bytes, bool, float]] = deque(maxlen=TAIL_LINES)

    def add(self, batch: Batch) -> None:
        """Take a batch that was read; all but its end is let go at once."""
        # Tuples, split only when asked for: this is done for every batch.
        end = batch.data[-TAIL_BYTES:]
        is_cut = len(end) < len(batch.data)
        self._batches.append((batch.command, batch.stream, end, is_cut, batch.time))

    def lines(self) -> tuple[Line, ...]:
        """Return the last lines."""
        lines: list[Line] = []
        for command, stream, data, is_cut, when in self._batches:
            own = list(Batch(command, stream, data, when).lines())
            # The first line may have lost its beginning; where there are more, it is left out.
            lines += own[1:] or own if is_cut else own
        return tuple(lines[-TAIL_LINES:])


class Output:
    """Both streams of one attempt.

    Args:
        name: the command's name.
        capture: whether to keep what is read: False, True, or how many last bytes of each stream.
        sought: the probes that wait for a line.
        send: takes each batch of whole lines, and waits while there is no room for it.

    Attributes:
        has_found: whether a line has come that a probe waits for.
    """

    def __init__(
        self,
        name: str,
        capture: bool | int,
        sought: Sequence[LineProbe],
        send: Callable[[Batch], Awaitable[None]],
    ) -> None:
        self._name = name
        self._send = send
        self._sought = list(sought)
        self.has_found: bool = False
        self._capture = Capture(capture)
        self._tail = Tail()
        self._open = 2
        self._change = Notifier()

    @property
    def tail(self) -> tuple[Line, ...]:
        """The last lines, at most twenty."""
        return self._tail.lines()

    def captured(self, stream: StreamName) -> bytes | None:
        """Return what was kept of `stream`; None where nothing was to be."""
        return self._capture.get(stream)

    async def read(
        self, stdout: ByteReceiveStream | None, stderr: ByteReceiveStream | None, tasks: TaskGroup
    ) -> None:
        """Read both, `stderr` in a task of its own, which may go on (see `ended`)."""
        tasks.start_soon(self._read, stderr, "stderr")
        await self._read(stdout, "stdout")

    async def ended(self) -> None:
        """Wait until both have come to their ends and all of it has been passed on."""
        await self._change.wait_for(lambda: not self._open)

    async def line(self, probe: LineProbe) -> None:
        """Wait until a line has come that `probe` seeks."""
        await self._change.wait_for(lambda: all(sought is not probe for sought in self._sought))

    async def _read(self, source: ByteReceiveStream | None, stream: StreamName) -> None:
        if source is not None:
            await self._pass_on(source, stream)
        self._open -= 1
        self._change.notify_all()

    async def _pass_on(self, source: ByteReceiveStream, stream: StreamName) -> None:
        """Pass on whole lines of one stream until it ends; then what is left of the last one."""
        splitter = LineSplitter()
        async for chunk in source:
            self._capture.add(stream, chunk)
            if data := splitter.feed(chunk):
                await self._tell(Batch(self._name, stream, data, time.time()))
            else:
                await checkpoint()  # a long line may come in small pieces without end
        if data := splitter.finish():
            await self._tell(Batch(self._name, stream, data, time.time()))

    async def _tell(self, batch: Batch) -> None:
        self._tail.add(batch)
        if self._sought:
            self._seek(batch)
        await self._send(batch)

    def _seek(self, batch: Batch) -> None:
        before = len(self._sought)
        for line in batch.lines():
            self._sought = [probe for probe in self._sought if not probe.matches(line)]
        self.has_found |= len(self._sought) < before
        self._change.notify_all()
