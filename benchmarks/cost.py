"""What do commands cost that do nothing?

Measured with 1,000 times `sleep`, all running: the CPU time of this process over five seconds in
which nothing happens, and how much its memory (RSS) has grown since before, for each command.  The
peer holds the same commands by hand: `anyio.open_process`, a task for each of its two streams, and
one that waits for it.
"""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from benchmarks._measure import Figure, Question, Sample, Samples, Setting
from currant import Runner, Started

if TYPE_CHECKING:
    from anyio.abc import ByteReceiveStream, TaskStatus

SLEEP = ["sleep", "9999"]


def _count(setting: Setting) -> int:
    return 200 if setting.quick else 1000


def _seconds(setting: Setting) -> float:
    return 2 if setting.quick else 5


async def currant(setting: Setting) -> Sample:
    """Hold them in a Runner whose messages have all been taken."""
    before = _resident()
    async with Runner([SLEEP] * _count(setting)) as runner:
        started = 0
        async for message in runner:
            started += isinstance(message, Started)
            if started == _count(setting):
                break
        sample = await _idle(before, setting)
        runner.kill()
    return sample


async def by_hand(setting: Setting) -> Sample:
    """Hold them in a task group."""
    before = _resident()
    async with anyio.create_task_group() as tasks:
        for _ in range(_count(setting)):
            await tasks.start(_hold)
        sample = await _idle(before, setting)
        tasks.cancel_scope.cancel()
    return sample


async def _hold(*, task_status: TaskStatus[None]) -> None:
    async with await anyio.open_process(SLEEP) as process, anyio.create_task_group() as tasks:
        for source in (process.stdout, process.stderr):
            assert source is not None
            tasks.start_soon(_drain, source)
        task_status.started()
        await process.wait()


async def _drain(source: ByteReceiveStream) -> None:
    async for _chunk in source:
        pass


async def _idle(before: int, setting: Setting) -> Sample:
    await anyio.sleep(0.5)  # what the starts have left to do
    grown = _resident() - before
    began = _cpu_time()
    await anyio.sleep(_seconds(setting))
    return {
        "cpu": (_cpu_time() - began) * 1e3,
        "memory": grown / 1024 / _count(setting),
    }


def _cpu_time() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _resident() -> int:
    # Not ru_maxrss: that begins with the peak of the process that we were forked from.
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _figures(samples: Samples, setting: Setting) -> list[Figure]:
    count, seconds = _count(setting), _seconds(setting)
    rows = [
        (f"{count:,} idle commands: CPU time in {seconds:g} s", "ms", "cpu"),
        (f"{count:,} idle commands: memory of each", "KiB", "memory"),
    ]
    return [
        Figure(
            what,
            unit,
            ours=samples.of("currant", quantity),
            peer=samples.of("by hand", quantity),
            versus="a task group of processes",
        )
        for what, unit, quantity in rows
    ]


QUESTION = Question("idle", 3, {"currant": currant, "by hand": by_hand}, _figures)
