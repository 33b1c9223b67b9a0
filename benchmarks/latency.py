"""How long does a line take from the command's write to the reader?

A command writes the time of the monotonic clock every two milliseconds.  The reader iterates line
by line, and compares each line with the same clock.  It does so twice: once with that command
alone, and once with a second command that writes without end to the same reader.  The peer reads
lines from the stream of an anyio process; beside the chatty command, a second task reads the output
of that one in chunks.
"""

from __future__ import annotations

import sys
import time
from statistics import quantiles
from typing import TYPE_CHECKING

import anyio
from anyio.streams.buffered import BufferedByteReceiveStream

from benchmarks._measure import LoopSide, Question, Row, Sample, Setting, Trial
from currant import Exited, Line, Runner

if TYPE_CHECKING:
    from collections.abc import Sequence

WRITER = """
import sys, time
for _ in range(int(sys.argv[1])):
    time.sleep(0.002)
    sys.stdout.write(f"{time.monotonic_ns()}\\n")
    sys.stdout.flush()
"""
NEIGHBOUR = ["yes", "x" * 78]

MOST = 1
"""Milliseconds that 99 of 100 lines may take beside a chatty command."""


def _argv(setting: Setting) -> list[str]:
    return [sys.executable, "-c", WRITER, "100" if setting.quick else "1000"]


async def currant(setting: Setting) -> Sample:
    """Iterate over a Runner, line by line."""
    alone = await _delays(Runner({"writer": _argv(setting)}))
    beside = await _delays(Runner({"writer": _argv(setting), "neighbour": NEIGHBOUR}))
    return {**_percentiles("alone", alone), **_percentiles("beside", beside)}


async def _delays(runner: Runner) -> list[float]:
    delays: list[float] = []
    async with runner:
        async for message in runner:
            match message:
                case Line(command="writer"):
                    delays.append((time.monotonic_ns() - int(message.data)) / 1e6)
                case Exited(command="writer"):
                    runner.kill()
                case _:
                    pass
    return delays


async def by_hand(setting: Setting) -> Sample:
    """Read the stream of an anyio process, which exists on each event loop."""
    alone = await _delays_by_hand(setting)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_read_neighbour)
        beside = await _delays_by_hand(setting)
        tasks.cancel_scope.cancel()
    return {**_percentiles("alone", alone), **_percentiles("beside", beside)}


async def _delays_by_hand(setting: Setting) -> list[float]:
    delays: list[float] = []
    async with await anyio.open_process(_argv(setting)) as process:
        assert process.stdout is not None
        lines = BufferedByteReceiveStream(process.stdout)
        try:
            while True:
                line = await lines.receive_until(b"\n", 100)
                delays.append((time.monotonic_ns() - int(line)) / 1e6)
        except anyio.IncompleteRead:
            pass
    return delays


async def _read_neighbour() -> None:
    async with await anyio.open_process(NEIGHBOUR) as process:
        assert process.stdout is not None
        async for _chunk in process.stdout:
            pass


def _percentiles(what: str, delays: Sequence[float]) -> Sample:
    parts = quantiles(delays, n=100)
    return {f"{what} p50": parts[49], f"{what} p99": parts[98]}


def _rows(_setting: Setting) -> list[Row]:
    versus = "receive_until on the process's stream"
    return [
        Row(
            f"a line's way, {where}, {percentile}",
            "ms",
            f"{short} {percentile}",
            "by hand",
            versus,
            limit=MOST if (short, percentile) == ("beside", "p99") else None,
        )
        for short, where in (("alone", "alone"), ("beside", "beside a chatty command"))
        for percentile in ("p50", "p99")
    ]


SIDES = {"currant": LoopSide(currant), "by hand": LoopSide(by_hand)}
QUESTION = Question("latency", [Trial("a line's way", 3, SIDES, _rows)])
