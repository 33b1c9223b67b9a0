"""How fast does the output of commands reach a reader, line by line and in batches?

The time runs from before the start of the commands until after the last byte of the last command.
The commands are 1, 4 and 64 times `cat` of a file, with lines of about 30 bytes and of about 1,000.
The peers of reading line by line are

- `readline` of asyncio: a task for each command awaits ``process.stdout.readline()`` and counts;
- a memory stream of lines, as one would write by hand with anyio: a task for each command splits
  the output and sends line by line into one anyio stream, and the reader counts.  The stream has
  room for 1,000 lines, so that the event loop seldom switches between the tasks;
- shellous: a task for each command iterates over its lines and counts.

The figures to compare are the lines per second.  The memory stream gets fewer lines, and still
takes longer for them.

The peer of batches is the shell, ``cat FILE ... | cat >/dev/null``: it copies each byte into a pipe
and out of it once, as currant must, and does nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import subprocess
from functools import partial
from importlib import import_module
from time import perf_counter
from typing import TYPE_CHECKING, Any

import anyio

from benchmarks._measure import (
    LoopSide,
    PlainSide,
    Question,
    Row,
    Sample,
    Setting,
    Trial,
    numbered_lines,
)
from currant import Batch, Line, Runner

if TYPE_CHECKING:
    from pathlib import Path

    from anyio.abc import ByteReceiveStream
    from anyio.streams.memory import MemoryObjectSendStream

COUNTS = (1, 4, 64)
SIZES = {"short": 30, "long": 1000}

LINES = {30: 600_000, 1000: 100_000}
"""The number of lines of all commands together, by the size of a line."""

STREAM_LINES = {30: 100_000, 1000: 50_000}
"""The same for the memory stream, which takes about as long for these."""

MEGABYTES = 400
"""The output of all commands together for the trials of batches."""

ON_ASYNCIO = ("asyncio", "uvloop")


def _file(total: int, size: int, count: int, setting: Setting) -> tuple[Path, int]:
    """Return the file that each of `count` commands writes, and the number of its lines."""
    lines = total // count // (10 if setting.quick else 1)
    return numbered_lines(setting.folder, lines, size), lines


def _rate(lines: int, expected: int, seconds: float) -> Sample:
    assert lines == expected, f"{lines} lines of {expected} came"
    return {"rate": lines / seconds / 1e3}


async def by_line(size: int, count: int, setting: Setting) -> Sample:
    """Count the lines of ``async for message in runner``."""
    file, lines = _file(LINES[size], size, count, setting)
    began, came = perf_counter(), 0
    async with Runner([["cat", file]] * count) as runner:
        async for message in runner:
            if isinstance(message, Line):
                came += 1
    return _rate(came, lines * count, perf_counter() - began)


async def readline(size: int, count: int, setting: Setting) -> Sample:
    """Count the lines of asyncio's own streams."""
    file, lines = _file(LINES[size], size, count, setting)
    began = perf_counter()
    came = await asyncio.gather(*(_readline(file) for _ in range(count)))
    return _rate(sum(came), lines * count, perf_counter() - began)


async def _readline(file: Path) -> int:
    process = await asyncio.create_subprocess_exec("cat", file, stdout=subprocess.PIPE)
    assert process.stdout is not None
    came = 0
    while await process.stdout.readline():
        came += 1
    await process.wait()
    return came


async def memory_stream(size: int, count: int, setting: Setting) -> Sample:
    """Count the lines that come through a memory object stream."""
    file, lines = _file(STREAM_LINES[size], size, count, setting)
    send, receive = anyio.create_memory_object_stream[bytes](1000)
    began, came = perf_counter(), 0
    async with anyio.create_task_group() as tasks:
        async with send:
            for _ in range(count):
                tasks.start_soon(_send_lines, file, send.clone())
        async with receive:
            async for _line in receive:
                came += 1
    return _rate(came, lines * count, perf_counter() - began)


async def _send_lines(file: Path, send: MemoryObjectSendStream[bytes]) -> None:
    async with send, await anyio.open_process(["cat", file], stderr=None) as process:
        assert process.stdout is not None
        await _split(process.stdout, send)


async def _split(source: ByteReceiveStream, send: MemoryObjectSendStream[bytes]) -> None:
    rest = b""
    async for chunk in source:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            await send.send(line)


async def shellous(size: int, count: int, setting: Setting) -> Sample:
    """Count the lines of shellous."""
    logging.getLogger("shellous").setLevel(logging.ERROR)  # It logs the duration of each start.
    sh: Any = import_module("shellous").sh  # By name: types are checked without it.
    file, lines = _file(LINES[size], size, count, setting)
    began = perf_counter()
    came = await asyncio.gather(*(_iterate(sh("cat", file)) for _ in range(count)))
    return _rate(sum(came), lines * count, perf_counter() - began)


async def _iterate(command: Any) -> int:  # noqa: ANN401
    came = 0
    async for _line in command:
        came += 1
    return came


async def in_batches(size: int, count: int, setting: Setting) -> Sample:
    """Add up the sizes of the batches of `Runner.batches`."""
    file = _big_file(size, count, setting)
    began, came = perf_counter(), 0
    async with Runner([["cat", file]] * count) as runner:
        async for message in runner.batches():
            if isinstance(message, Batch):
                came += len(message.data)
    seconds = perf_counter() - began
    expected = count * file.stat().st_size
    assert came == expected, f"{came} bytes of {expected} came"
    return {"seconds": seconds, "rate": came / seconds / 1e6}


def shell(size: int, count: int, setting: Setting) -> Sample:
    """Let the shell copy the bytes."""
    file = _big_file(size, count, setting)
    script = 'cat "$@" | cat >/dev/null'
    began = perf_counter()
    subprocess.run(["/bin/sh", "-c", script, "sh", *[file] * count], check=True)
    seconds = perf_counter() - began
    return {"seconds": seconds, "rate": count * file.stat().st_size / seconds / 1e6}


def _big_file(size: int, count: int, setting: Setting) -> Path:
    lines = MEGABYTES * 1_000_000 // size // count // (10 if setting.quick else 1)
    return numbered_lines(setting.folder, lines, size)


def _line_trial(name: str, size: int, count: int) -> Trial:
    what = f"{name} lines of {_commands(count)}, one at a time"
    judged = name == "short" and count == 1

    def rows(_setting: Setting) -> list[Row]:
        at_least = {"readline": 1.3, "memory stream": 10} if judged else {}
        if name == "long" and count == 1:
            at_least = {"readline": 1.0}
        peers = {
            "readline": "readline of asyncio",
            "memory stream": "a memory stream of lines",
            "shellous": "shellous",
        }
        return [
            Row(what, "thousand lines/s", "rate", peer, versus, at_least=at_least.get(peer))
            for peer, versus in peers.items()
        ]

    sides: dict[str, LoopSide | PlainSide] = {
        "currant": LoopSide(partial(by_line, size, count)),
        "readline": LoopSide(partial(readline, size, count), backends=ON_ASYNCIO),
        "memory stream": LoopSide(partial(memory_stream, size, count)),
        "shellous": LoopSide(partial(shellous, size, count), "shellous", ON_ASYNCIO),
    }
    return Trial(what, 5 if judged else 3, sides, rows)


def _batch_trial(name: str, size: int, count: int) -> Trial:
    what = f"{name} lines of {_commands(count)}, in batches"
    judged = name == "short" and count == 4

    def rows(setting: Setting) -> list[Row]:
        versus = "cat … | cat >/dev/null"
        shown = Row(what, "MB/s", "rate", "shell", versus)
        each = MEGABYTES // count // (10 if setting.quick else 1)
        time = Row(f"{count} × {each} MB, in batches", "s", "seconds", "shell", versus, at_most=2.5)
        return [time, shown] if judged else [shown]

    sides: dict[str, LoopSide | PlainSide] = {
        "currant": LoopSide(partial(in_batches, size, count)),
        "shell": PlainSide(partial(shell, size, count)),
    }
    return Trial(what, 5 if judged else 3, sides, rows)


def _commands(count: int) -> str:
    return "1 command" if count == 1 else f"{count} commands"


QUESTION = Question(
    "throughput",
    [
        make(name, size, count)
        for make in (_line_trial, _batch_trial)
        for name, size in SIZES.items()
        for count in COUNTS
    ],
)
