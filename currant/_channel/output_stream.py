"""`OutputStream`: an output stream of a command, as a byte stream of anyio."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
from anyio.abc import ByteReceiveStream
from anyio.lowlevel import checkpoint

from currant._channel.track import Place

if TYPE_CHECKING:
    from currant._channel.transcript import Transcript
    from currant._synchronization import HomeLoop
    from currant._values.lines import StreamName

__all__ = ["OutputStream"]


class OutputStream(ByteReceiveStream):
    """The bytes of one output stream of a command, from the start of its life.

    Args:
        transcript: the output of the command.
        stream: the stream.
        home: the event loop of the Runner.
    """

    def __init__(self, transcript: Transcript, stream: StreamName, home: HomeLoop) -> None:
        self._transcript = transcript
        self._stream: StreamName = stream
        self._home = home
        self._cursor = transcript.attach({stream: Place()})
        transcript.release(stream)

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Return the next bytes, at least one and at most `max_bytes`; wait for the first.

        Cancellation: no byte is lost.

        Raises:
            anyio.EndOfStream: the output has ended, and every byte was received.
            anyio.ClosedResourceError: the stream was closed here.
            OutputDiscardedError: the next bytes were discarded; the next call goes on after them.
            ValueError: `max_bytes` is less than 1.
        """
        self._home.check(f"Job.{self._stream}.receive")
        if max_bytes < 1:
            raise ValueError(f"max_bytes must be at least 1, not {max_bytes!r}")
        with self._cursor.reading():
            if await self._cursor.arrived():
                return self._cursor.read(self._stream, max_bytes)
        raise anyio.ClosedResourceError if self._cursor.is_closed else anyio.EndOfStream

    async def aclose(self) -> None:
        """Receive no more bytes, so that the command no longer waits for this stream.

        Cancellation: the stream is closed nevertheless.
        """
        self._home.check(f"Job.{self._stream}.aclose")
        self._cursor.close()
        self._transcript.detach(self._cursor)
        await checkpoint()
