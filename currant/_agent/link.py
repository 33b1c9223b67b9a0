"""`Link`: one end of a link, which sends and receives frames through two file descriptors.

Driver and agent both use this class.  At the end of the agent, `loop` takes the place of anyio.

There are two queues for sending.  Control frames go first, so a stop never queues behind output;
but a frame that was begun is finished first.  Bulk frames carry input and output.  A sender of bulk
waits for room first, so the queue stays short.
"""

from __future__ import annotations

import json
import os
from collections import deque
from typing import TYPE_CHECKING, Any

import anyio
from anyio.lowlevel import checkpoint

from currant._agent.frames import FrameReader, Kind, header

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Link", "read_some"]


CHUNK = 256 * 1024
"""The most bytes of one read or write."""

MAX_BUFFERS = 64
"""The most buffers of one write; Linux and macOS allow 1024."""

ROOM = 1024 * 1024
"""Bytes in the queue beyond which a sender of bulk waits."""

FRAME = 200
"""The bytes of memory that a frame of bulk takes in the queue, besides its body."""


class Link:
    """Sends and receives frames.

    Args:
        read_fd: the file descriptor to read from, which must not block.
        write_fd: the file descriptor to write to, which must not block.

    Attributes:
        heard_at: the time at which the last bytes were received.
        is_broken: whether the link cannot send any more; then `send` does nothing.
    """

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._reader = FrameReader()
        self._control: deque[bytes] = deque()
        self._bulk: deque[tuple[bytes, bytes]] = deque()
        self._bulk_size = 0
        self._begun: list[memoryview] = []  # the bytes that are being written
        self._has_frames = anyio.Event()
        self._has_room = anyio.Event()
        self._is_empty = anyio.Event()
        self.heard_at: float = anyio.current_time()
        self.is_broken = False

    # ---- sending ----

    def send(self, kind: Kind, number: int = 0, body: dict[str, Any] | None = None) -> None:
        """Send a control frame, with `body` as JSON; return at once."""
        data = b"" if body is None else json.dumps(body).encode()
        self.send_raw(header(kind, number, len(data)) + data)

    def send_raw(self, data: bytes) -> None:
        """Send bytes that are not a frame, in the order of control frames."""
        if not self.is_broken:
            self._control.append(data)
            self._has_frames.set()

    def send_bulk(self, kind: Kind, number: int, data: bytes) -> None:
        """Send a frame of bulk; return at once.  Call `wait_for_room` before."""
        if not self.is_broken:
            self._bulk.append((header(kind, number, len(data)), data))
            self._bulk_size += FRAME + len(data)
            self._has_frames.set()

    async def wait_for_room(self) -> None:
        """Wait until less than `ROOM` bytes of bulk are queued."""
        while self._bulk_size >= ROOM and not self.is_broken:
            if self._has_room.is_set():  # Otherwise other senders wait for this event already.
                self._has_room = anyio.Event()
            await self._has_room.wait()

    async def flush(self) -> None:
        """Wait until all queued frames are written."""
        while (self._control or self._bulk or self._begun) and not self.is_broken:
            if self._is_empty.is_set():
                self._is_empty = anyio.Event()
            await self._is_empty.wait()

    def break_off(self) -> None:
        """Drop all queued frames, and all that are sent later."""
        self.is_broken = True
        self._control.clear()
        self._bulk.clear()
        self._bulk_size = 0
        self._begun.clear()
        for event in (self._has_frames, self._has_room, self._is_empty):
            event.set()

    async def write(self) -> None:
        """Write the queued frames, until the other end is gone.

        Cancellation: harmless; a second call goes on.
        """
        while not self.is_broken:
            self._begun = self._begun or self._next()
            if not self._begun:
                self._is_empty.set()
                self._has_frames = anyio.Event()
                await self._has_frames.wait()
                continue
            try:
                await self._write_some()
            except (OSError, anyio.ClosedResourceError):  # The other end is gone.
                self.break_off()

    async def _write_some(self) -> None:
        try:
            self._advance(os.writev(self._write_fd, self._begun))
        except BlockingIOError:
            await anyio.wait_writable(self._write_fd)

    def _next(self) -> list[memoryview]:
        """Take all control frames out of their queue, or some bulk if there is none."""
        if self._control:
            data = b"".join(self._control)
            self._control.clear()
            return [memoryview(data)]
        buffers: list[memoryview] = []
        size = 0
        while self._bulk and size < CHUNK and len(buffers) < MAX_BUFFERS:
            head, body = self._bulk.popleft()
            buffers.append(memoryview(head))
            if body:
                buffers.append(memoryview(body))
            size += FRAME + len(body)
        self._bulk_size -= size
        self._has_room.set()
        return buffers

    def _advance(self, written: int) -> None:
        done = 0
        while done < len(self._begun) and written >= len(self._begun[done]):
            written -= len(self._begun[done])
            done += 1
        del self._begun[:done]
        if written:
            self._begun[0] = self._begun[0][written:]

    # ---- receiving ----

    async def read(self, handle: Callable[[Kind, int, bytes], object]) -> None:
        """Pass each frame to `handle`, until the other end is gone.

        Cancellation: harmless; a second call goes on.

        Raises:
            FrameError: the other end has sent an invalid frame.
        """
        while data := await read_some(self._read_fd):
            self.receive(data, handle)
            await checkpoint()

    def receive(self, data: bytes, handle: Callable[[Kind, int, bytes], object]) -> None:
        """Pass each frame that is complete with `data` to `handle`."""
        self.heard_at = anyio.current_time()
        for kind, number, body in self._reader.feed(data):
            handle(kind, number, body)


async def read_some(fd: int) -> bytes:
    """Return the next bytes of a file that does not block; b"" at its end, or after an error."""
    try:
        while True:
            try:
                return os.read(fd, CHUNK)
            except BlockingIOError:
                await anyio.wait_readable(fd)
    except (OSError, anyio.ClosedResourceError):  # such as ECONNRESET, or our end was closed
        return b""
