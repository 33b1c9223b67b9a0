"""The streams of a process on another host: `RemoteOutput` and `RemoteInput`.

Both limit how many bytes are under way: the output by a `Window`, and the input by `INPUT_WINDOW`.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream
from anyio.lowlevel import checkpoint

from currant._agent.frames import MAX_OUTPUT, FrameError, Kind
from currant._remote.credit import Window
from currant._synchronization import Notifier

if TYPE_CHECKING:
    from currant._remote.peer import Peer
    from currant._values.errors import HostLostError

__all__ = ["RemoteInput", "RemoteOutput"]


INPUT_WINDOW = 128 * 1024
"""The most bytes of input that were sent, and that the host has not written yet."""

SMALL = 1024
"""Bytes up to which unread chunks are joined: each chunk takes about 300 bytes of its own."""

END_OF_OUTPUT = 60.0
"""Seconds, besides `END_LIMIT`, until a process that is gone sends more output or its end.

On a slow link, much output of other commands may be on its way before.
"""


class StreamOwner(Protocol):
    """The process of a stream, as the stream sees it; see `RemoteProcess`."""

    number: int
    peer: Peer
    change: Notifier
    is_gone: bool

    def send(self, kind: Kind, body: dict[str, Any] | None = None) -> None:
        """Send a frame about the process."""
        ...


class RemoteOutput(ByteReceiveStream):
    """An output stream of a process on another host."""

    def __init__(self, process: StreamOwner, stream: int) -> None:
        self._process = process
        self._stream = stream
        self._change = process.change
        self._window = Window(process.peer.budget)
        self._chunks: deque[memoryview] = deque()
        self._has_ended = False
        self._is_closed = False
        self._lost: HostLostError | None = None

    @property
    def has_begun(self) -> bool:
        """Whether there are bytes, or an error, to receive."""
        return bool(self._chunks) or self._lost is not None

    @property
    def is_over(self) -> bool:
        """Whether the stream has ended, and nothing is left to receive."""
        return self._has_ended and not self.has_begun

    async def receive(self, max_bytes: int = MAX_OUTPUT) -> bytes:
        """Return the next bytes, at most `max_bytes`; wait for the first one."""
        while True:
            if self._is_closed:
                raise anyio.ClosedResourceError
            if self._chunks:
                return self._take(max_bytes)
            if self._lost is not None:
                raise self._lost
            if self._has_ended:
                raise anyio.EndOfStream
            await self._wait()

    async def _wait(self) -> None:
        """Wait for a change; a host that never sends the end of a process that is gone is lost."""
        if not self._process.is_gone:
            await self._change.wait()
            return
        # All that has arrived was read, so no missing credit holds up the host.
        with self._process.peer.expecting(END_OF_OUTPUT):
            await self._change.wait()

    def _take(self, max_bytes: int) -> bytes:
        chunk = self._chunks[0]
        if len(chunk) > max_bytes:
            self._chunks[0] = chunk[max_bytes:]
            chunk = chunk[:max_bytes]
        else:
            self._chunks.popleft()
        count = self._window.note_read(len(chunk), anyio.current_time())
        if count and not self._has_ended:
            body = {"stream": self._stream, "count": count}
            self._process.send(Kind.CREDIT, body)
        whole = chunk.obj
        return whole if isinstance(whole, bytes) and len(whole) == len(chunk) else bytes(chunk)

    def feed(self, data: bytes) -> None:
        """Add bytes that the host has sent.

        Raises:
            FrameError: the host had no credit for so many.
        """
        self._window.note_received(len(data))
        if data and not (self._is_closed or self._has_ended):
            if self._chunks and len(self._chunks[-1]) + len(data) <= SMALL:
                data = bytes(self._chunks.pop()) + data
            self._chunks.append(memoryview(data))
            self._change.notify_all()

    def end(self) -> None:
        """End the stream after the bytes that have arrived."""
        self._has_ended = True
        self._change.notify_all()

    def lose_rest(self, error: HostLostError) -> None:
        """Fail with `error` after the bytes that have arrived, unless the stream has ended."""
        if not self._has_ended:
            self._lost = error

    def close(self) -> None:
        """Drop unread bytes; no task may receive any more."""
        self._is_closed = True
        self._chunks.clear()
        self._window.close()
        self._change.notify_all()

    async def aclose(self) -> None:
        """Close the stream here and on the host; see `close`."""
        if not (self._is_closed or self._has_ended):
            self._process.send(Kind.CREDIT, {"stream": self._stream, "count": 0})
        self.close()
        await checkpoint()


class RemoteInput(ByteSendStream):
    """The stdin of a process on another host: a pipe or a terminal."""

    def __init__(self, process: StreamOwner, *, is_terminal: bool) -> None:
        self._process = process
        self._is_terminal = is_terminal
        self._lock = anyio.Lock()
        self._under_way = 0  # bytes that the host has not written yet
        self._is_broken = False
        self._is_closed = False
        self._change = Notifier()

    async def send(self, item: bytes) -> None:
        """Send all of `item`, and wait until the host has written it."""
        async with self._lock:
            for start in range(0, len(item), INPUT_WINDOW // 2):
                await self._wait_for(INPUT_WINDOW // 2)
                await self._process.peer.link.wait_for_room()
                self._check()
                chunk = item[start : start + INPUT_WINDOW // 2]
                self._under_way += len(chunk)
                self._process.peer.link.send_bulk(Kind.INPUT, self._process.number, chunk)
            if item:
                await self._wait_for(0)

    async def _wait_for(self, most: int) -> None:
        """Wait until at most `most` bytes are under way."""
        self._check()
        while self._under_way > most:
            await self._change.wait()
            self._check()

    def _check(self) -> None:
        if self._is_closed:
            raise anyio.ClosedResourceError
        if self._is_broken:
            raise anyio.BrokenResourceError

    def note_taken(self, count: int) -> None:
        """Note bytes that the host has written.

        Raises:
            FrameError: so many were not under way.
        """
        if not 0 <= count <= self._under_way:
            raise FrameError(f"the host has taken {count} bytes that it never got")
        self._under_way -= count
        self._change.notify_all()

    def break_off(self) -> None:
        """Fail each send from now on, because no process reads the input any more."""
        self._is_broken = True
        self._change.notify_all()

    def close(self) -> None:
        """Fail each send from now on, because this end is closed."""
        self._is_closed = True
        self._change.notify_all()

    async def aclose(self) -> None:
        """End the input: close a pipe, or type the end-of-file character after all input."""
        link, number = self._process.peer.link, self._process.number
        if self._is_terminal and not self._is_closed:
            link.send_bulk(Kind.INPUT_END, number, b"")
        elif not self._is_closed:
            self.close()
            link.send(Kind.INPUT_END, number)
        await checkpoint()
