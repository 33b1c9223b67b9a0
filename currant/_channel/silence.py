"""`Silence`: for how long a process has written nothing, although its output was read.

Time in which the output is not read does not count: while a slow reader holds a stream up, the
process may be waiting for room to write.  So a silence goes on only while all streams wait for the
process.
"""

from __future__ import annotations

from math import inf

import anyio
from anyio.abc import ByteReceiveStream
from anyio.lowlevel import checkpoint

from currant._synchronization import Notifier

__all__ = ["Silence"]

PAUSE = 1.0
"""A timer that is so many seconds late shows that this program was paused, by Ctrl-Z for example.

The process may have been paused too, so the silence counts from the end of the pause.
"""


class Silence:
    """Measures the silence of an attempt.

    Args:
        streams: the number of streams, each of which is read through `listen_to`, or has `ended`.

    Attributes:
        since: when the silence began, on the event loop's clock.
    """

    __slots__ = ("_change", "_held_up", "_held_up_at", "since")

    def __init__(self, streams: int) -> None:
        self.since: float = 0.0
        self._held_up = streams  # how many streams do not wait for the process
        self._held_up_at = 0.0
        self._change = Notifier()

    async def wait(self, seconds: float) -> None:
        """Wait until the silence has lasted for `seconds`."""
        now = watched_since = -inf
        while True:
            await self._change.wait_for(lambda: not self._held_up)
            due = max(self.since, watched_since) + seconds
            if due <= now:
                return
            await anyio.sleep_until(due)
            now = anyio.current_time()
            if now > due + PAUSE:
                watched_since = now
            # If the event loop was busy, output may be in the pipe: let its reader come first.
            await checkpoint()

    def listen_to(self, source: ByteReceiveStream) -> ByteReceiveStream:
        """Return a stream with the bytes of `source`, which notes when a task waits for them."""
        return _Listener(source, self)

    def ended(self) -> None:
        """Note that a stream has ended: the process writes nothing there any more."""
        self.begin_wait()

    def begin_wait(self) -> None:
        """Note that a task waits for a stream."""
        self._held_up -= 1
        if not self._held_up:
            self.since += anyio.current_time() - self._held_up_at
            self._change.notify_all()

    def end_wait(self, *, has_output: bool) -> None:
        """Note that a task waits for a stream no longer: there is output, or it gave up."""
        if not self._held_up:
            self._held_up_at = anyio.current_time()
        self._held_up += 1
        if has_output:
            self.since = self._held_up_at


class _Listener(ByteReceiveStream):
    """A stream that notes when a task waits for it."""

    def __init__(self, source: ByteReceiveStream, silence: Silence) -> None:
        self._source = source
        self._silence = silence

    async def receive(self, max_bytes: int | None = None) -> bytes:
        chunk = b""
        self._silence.begin_wait()
        try:
            # Without a number, a stream returns as much as it likes to.
            chunk = await (
                self._source.receive() if max_bytes is None else self._source.receive(max_bytes)
            )
        finally:
            self._silence.end_wait(has_output=bool(chunk))
        return chunk

    async def aclose(self) -> None:
        await self._source.aclose()
