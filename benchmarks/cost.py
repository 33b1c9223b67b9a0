"""What do commands cost in memory, processor time and threads, and how does their number matter?

The commands are 1, 10, 100 and 1,000 times `sleep`.  For each number, the sample has the growth of
this process's memory (RSS), the number of threads while all commands run, the time from the first
start until all run, and the time from `Runner.kill` to the return of `Runner.join`.  All but the
threads are divided by the number of commands.  One command runs before, so that one-time costs are
not counted.  The peers are the same commands by hand (`anyio.open_process`, a task for each of
their two streams, and a task that waits for their exit), and a single command of currant.

The processor time is that of five seconds in which 1,000 commands are idle; the peer is the same
process before they were started.  The memory behind a slow reader is the growth of the peak (VmHWM)
while four commands write 50 MB each and the reader pauses after each megabyte.
"""

from __future__ import annotations

import resource
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import anyio

from benchmarks._measure import LoopSide, Question, Row, Sample, Setting, Trial, numbered_lines
from currant import Batch, Line, Runner, Started

if TYPE_CHECKING:
    from anyio.abc import ByteReceiveStream, TaskStatus

SLEEP = ["sleep", "9999"]

COUNTS = (1, 10, 100, 1000)
MOST_MEMORY = 20
"""The memory of an idle command must stay below this number of kilobytes."""

SECONDS = 5.0
MOST_TIME = 10
"""Milliseconds of processor time that 1,000 idle commands may take in `SECONDS`."""

READ = 4
"""Number of commands for the slow reader."""

MOST_HELD = 64
"""Megabytes that those commands may take."""

MEGABYTE = 1_000_000
PAUSE = 0.002


def _many(count: int, setting: Setting) -> int:
    return -(-count // 10) if setting.quick else count


async def currant(number: int, setting: Setting) -> Sample:
    """Run the commands in a Runner whose messages have all been read."""
    count = _many(number, setting)
    async with Runner([["true"]]):
        pass
    before, began = _status("VmRSS"), perf_counter()
    async with Runner([SLEEP] * count) as runner:
        await _all_started(runner, count)
        started = perf_counter()
        await anyio.sleep(0.5)  # Let the work of the starts end.
        grown, threads = _status("VmRSS") - before, _status("Threads")
        asked = perf_counter()
        runner.kill()
        await runner.join()
        killed = perf_counter()
    return {
        "memory": grown * 1.024 / count,
        "threads": threads,
        "start": (started - began) * 1e3 / count,
        "kill": (killed - asked) * 1e3 / count,
    }


async def _all_started(runner: Runner, count: int) -> None:
    started = 0
    async for message in runner:
        started += isinstance(message, Started)
        if started == count:
            break


async def by_hand(number: int, setting: Setting) -> Sample:
    """Run the commands in a task group of `anyio.open_process`."""
    count = _many(number, setting)
    await anyio.run_process(["true"])
    before = _status("VmRSS")
    async with anyio.create_task_group() as tasks:
        for _ in range(count):
            await tasks.start(_hold)
        await anyio.sleep(0.5)
        grown, threads = _status("VmRSS") - before, _status("Threads")
        tasks.cancel_scope.cancel()
    return {"memory": grown * 1.024 / count, "threads": threads}


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


async def processor_time(setting: Setting) -> Sample:
    """Stay idle, first without commands, then with a thousand."""
    count = _many(1000, setting)
    before = await _idle(setting)
    async with Runner([SLEEP] * count) as runner:
        await _all_started(runner, count)
        await anyio.sleep(0.5)
        during = await _idle(setting)
        runner.kill()
    return {"before": before, "during": during}


async def _idle(setting: Setting) -> float:
    """Return the processor time of this process during an idle period, in milliseconds."""
    began = _processor_time()
    await anyio.sleep(1 if setting.quick else SECONDS)
    return (_processor_time() - began) * 1e3


def _processor_time() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def slowly_by_line(setting: Setting) -> Sample:
    """Read line by line, with a pause after each megabyte."""
    before, came, pauses = _status("VmRSS"), 0, 0
    async with Runner([["cat", _file(setting)]] * READ) as runner:
        async for message in runner:
            if isinstance(message, Line):
                came += len(message.data) + len(message.ending)
                if came > pauses * MEGABYTE:
                    pauses += 1
                    await anyio.sleep(PAUSE)
    return _held(before, came, setting)


async def slowly_by_batch(setting: Setting) -> Sample:
    """Read whole batches, with a pause after each megabyte."""
    before, came, pauses = _status("VmRSS"), 0, 0
    async with Runner([["cat", _file(setting)]] * READ) as runner:
        async for message in runner.batches():
            if isinstance(message, Batch):
                came += len(message.data)
                if came > pauses * MEGABYTE:
                    pauses += 1
                    await anyio.sleep(PAUSE)
    return _held(before, came, setting)


def _file(setting: Setting) -> Path:
    return numbered_lines(setting.folder, _many(500_000, setting), 100)


def _held(before: int, came: int, setting: Setting) -> Sample:
    written = READ * _file(setting).stat().st_size
    assert came == written, f"{came} bytes of {written} came"
    return {"memory": (_status("VmHWM") - before) * 1024 / 1e6}


def _status(name: str) -> int:
    """Return a field of this process's status: memory in KiB, or the number of threads."""
    # We do not use ru_maxrss: it starts with the peak of the process that forked this one.
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise LookupError(name)


def _number_rows(setting: Setting) -> list[Row]:
    versus = "a task group of processes"
    rows: list[Row] = []
    for number in (100, 1000):
        ours, peer = f"currant, {number}", f"by hand, {number}"
        what = f"{_many(number, setting):,} idle commands"
        rows += [
            Row(
                f"{what}: memory of each",
                "kB",
                "memory",
                peer,
                versus,
                None,
                ours,
                limit=MOST_MEMORY,
            ),
            Row(f"{what}: threads of the process", "threads", "threads", peer, versus, None, ours),
        ]
    quantities = {"memory": "kB", "start": "ms", "kill": "ms"}
    rows += [
        Row(
            f"{quantity} of each of {_many(number, setting):,}",
            unit,
            quantity,
            peer="currant, 1",
            versus="a single command",
            ours=f"currant, {number}",
        )
        for quantity, unit in quantities.items()
        for number in COUNTS[1:]
    ]
    return rows


def _time_rows(setting: Setting) -> list[Row]:
    count, seconds = _many(1000, setting), 1 if setting.quick else SECONDS
    what = f"{count:,} idle commands: processor time in {seconds:g} s"
    versus = "before they were started"
    return [Row(what, "ms", "during", "currant", versus, of="before", limit=MOST_TIME)]


def _slow_rows(setting: Setting) -> list[Row]:
    size = READ * _many(500_000, setting) * 100 // MEGABYTE
    return [
        Row(
            f"most memory, {size} MB read slowly {side}", "MB", "memory", ours=side, limit=MOST_HELD
        )
        for side in SLOW_SIDES
    ]


NUMBER_SIDES = {
    **{f"currant, {number}": LoopSide(partial(currant, number)) for number in COUNTS},
    **{f"by hand, {number}": LoopSide(partial(by_hand, number)) for number in (100, 1000)},
}
SLOW_SIDES = {"by line": LoopSide(slowly_by_line), "by batch": LoopSide(slowly_by_batch)}
QUESTION = Question(
    "cost",
    [
        Trial("idle commands", 3, NUMBER_SIDES, _number_rows),
        Trial("processor time", 3, {"currant": LoopSide(processor_time)}, _time_rows),
        Trial("a slow reader", 3, SLOW_SIDES, _slow_rows),
    ],
)
