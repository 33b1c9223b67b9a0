"""What the tests of single processes share: how output is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anyio.abc import ByteReceiveStream

__all__ = ["read_all", "read_until"]


async def read_all(stream: ByteReceiveStream | None) -> bytes:
    """Return what is received until the end."""
    assert stream is not None
    return b"".join([chunk async for chunk in stream])


async def read_until(stream: ByteReceiveStream | None, end: bytes) -> bytes:
    """Return what is received until it ends with `end`."""
    assert stream is not None
    data = b""
    while not data.endswith(end):
        data += await stream.receive()
    return data
