"""How many lines a second does one reader get of one command?

Measured from before the command is started to after its last line: `cat` of a file of a million
lines of 30 bytes in the mean.  The peer is the loop that one would write by hand:
`anyio.open_process`, its stdout split into lines, and each line sent to the reader through an anyio
memory object stream, with room for 1,000 of them, so that the two tasks take turns seldom.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

import anyio

from benchmarks._measure import Figure, Question, Sample, Samples, Setting, numbered_lines
from currant import Line, Runner

if TYPE_CHECKING:
    from anyio.abc import ByteReceiveStream
    from anyio.streams.memory import MemoryObjectSendStream


def _lines(setting: Setting) -> int:
    return 100_000 if setting.quick else 1_000_000


async def currant(setting: Setting) -> Sample:
    """Count the lines that ``async for message in runner`` gives."""
    file = numbered_lines(setting.folder, _lines(setting))
    began, count = perf_counter(), 0
    async with Runner([["cat", file]]) as runner:
        async for message in runner:
            if isinstance(message, Line):
                count += 1
    return _rate(count, began, setting)


async def by_hand(setting: Setting) -> Sample:
    """Count the lines that come through a memory object stream."""
    file = numbered_lines(setting.folder, _lines(setting))
    send, receive = anyio.create_memory_object_stream[bytes](1000)
    began, count = perf_counter(), 0
    async with (
        await anyio.open_process(["cat", file], stderr=None) as process,
        anyio.create_task_group() as tasks,
    ):
        assert process.stdout is not None
        tasks.start_soon(_send_lines, process.stdout, send)
        async for _line in receive:
            count += 1
    return _rate(count, began, setting)


async def _send_lines(source: ByteReceiveStream, send: MemoryObjectSendStream[bytes]) -> None:
    async with send:
        rest = b""
        async for chunk in source:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                await send.send(line)


def _rate(count: int, began: float, setting: Setting) -> Sample:
    rate = count / (perf_counter() - began)
    assert count == _lines(setting), f"{count} lines came"
    return {"rate": rate / 1e6}


def _figures(samples: Samples, setting: Setting) -> list[Figure]:
    return [
        Figure(
            what=f"{_lines(setting):,} lines, one at a time",
            unit="million lines/s",
            ours=samples.of("currant", "rate"),
            peer=samples.of("by hand", "rate"),
            versus="a memory stream of lines",
            at_least=8,
        )
    ]


QUESTION = Question("by_line", 5, {"currant": currant, "by hand": by_hand}, _figures)
