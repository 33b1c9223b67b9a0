"""The streams between a stack and its clients, on each event loop."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio.lowlevel import cancel_shielded_checkpoint

from currant.stack._stream import StackListener, StackStream
from tests.waiting import LIMIT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


async def test_wait_that_is_cancelled_as_data_arrives_is_no_error_of_the_loop() -> None:
    """A test fails if its loop has reported an error."""
    ours, theirs = socket.socketpair()
    with theirs:
        async with StackStream(ours) as stream:
            for _ in range(3):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(stream.receive)
                    await anyio.wait_all_tasks_blocked()
                    theirs.send(b"x")
                    await cancel_shielded_checkpoint()  # The loop sees the data in this turn.
                    tasks.cancel_scope.cancel()


async def test_bytes_arrive_in_both_directions_and_the_end_does(runtime: Path) -> None:
    """More bytes than the socket holds at a time."""
    runtime.mkdir(mode=0o700)
    listener = StackListener(str(runtime / "s"))
    sent, echoed = b"0123456789" * 200_000, bytearray()

    async def echo() -> None:
        async with await listener.accept() as theirs:
            async for data in theirs:
                await theirs.send(data)

    with anyio.fail_after(LIMIT):
        stream = await StackStream.connect(str(runtime / "s"))
        async with stream, anyio.create_task_group() as tasks:
            tasks.start_soon(echo)

            async def send() -> None:
                await stream.send(sent)
                await stream.send_eof()

            tasks.start_soon(send)
            async for data in stream:
                echoed += data
    listener.close()
    assert bytes(echoed) == sent


async def test_bytes_of_two_senders_do_not_mix() -> None:
    """A client may tell the size of its terminal while it still sends what was pasted."""
    ours, theirs = socket.socketpair()
    size, received = 1_000_000, bytearray()
    with anyio.fail_after(LIMIT):
        async with (
            StackStream(theirs) as reader,
            StackStream(ours) as stream,
            anyio.create_task_group() as tasks,
        ):
            for letter in (b"a", b"b"):
                tasks.start_soon(stream.send, letter * size)
            await anyio.wait_all_tasks_blocked()
            while len(received) < 2 * size:
                received += await reader.receive()
    assert bytes(received) in (b"a" * size + b"b" * size, b"b" * size + b"a" * size)


async def test_close_ends_the_waits(runtime: Path) -> None:
    """A task that waits gets `ClosedResourceError`, also one that waits for a client."""
    runtime.mkdir(mode=0o700)
    listener = StackListener(str(runtime / "s"))
    ours, theirs = socket.socketpair()
    stream = StackStream(ours)

    async def receive() -> None:
        with pytest.raises(anyio.ClosedResourceError):
            await stream.receive()

    async def accept() -> None:
        with pytest.raises(anyio.ClosedResourceError):
            await listener.accept()

    with theirs, anyio.fail_after(LIMIT):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(receive)
            tasks.start_soon(accept)
            await anyio.wait_all_tasks_blocked()
            await stream.aclose()
            listener.close()
        with pytest.raises(anyio.ClosedResourceError):
            await stream.send(b"x")


async def test_end_of_the_other_side_breaks_sending() -> None:
    """Receiving ends, and sending fails."""
    ours, theirs = socket.socketpair()
    async with StackStream(ours) as stream:
        theirs.close()
        with pytest.raises(anyio.EndOfStream):
            await stream.receive()
        with pytest.raises(anyio.BrokenResourceError):
            await stream.send(b"x")
