"""Read the output of a process in a test."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anyio.abc import ByteReceiveStream

__all__ = ["read_all", "read_until"]


async def read_all(stream: ByteReceiveStream | None) -> bytes:
    """Return all bytes up to the end of the stream."""
    assert stream is not None
    return b"".join([chunk async for chunk in stream])


async def read_until(stream: ByteReceiveStream | None, end: bytes) -> bytes:
    """Return the bytes up to and including `end`."""
    assert stream is not None
    data = b""
    while not data.endswith(end):
        data += await stream.receive()
    return data
