"""How many commands per second can be run, and how long does that block the event loop?

A thousand times `true`, 1, 16 and 64 at a time.  The time runs from before the first start until
after the last exit.  The peers are `subprocess.run` in a loop, which runs one command at a time and
uses pipes as currant does; and `xargs -P` and GNU parallel, whose commands inherit the output.  GNU
parallel runs only 200 commands.  Beside currant, a task sleeps for ten milliseconds again and
again; the latest that it wakes is the longest time that the event loop was blocked.  The processor
time is that of this process alone, without the commands.  Nothing reads the messages of the Runner,
except in the rows that say so.

Another trial runs ten thousand times `true`, 16 at a time, and compares the last thousand with the
second.  (While the first thousand runs, the others are being registered.)  A sink notes the time of
each hundredth exit, and the time of a thousand is ten times the median of the ten hundreds: so a
full garbage collection, which takes 0.1 s and happens once in three thousand, does not decide.
"""

from __future__ import annotations

import resource
import shutil
import subprocess
from functools import partial
from itertools import pairwise
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

import anyio

from benchmarks._measure import LoopSide, PlainSide, Question, Row, Sample, Setting, Trial
from currant import Exited, Runner

if TYPE_CHECKING:
    from anyio.abc import ObjectReceiveStream

    from currant import BatchMessage

AT_LEAST = {1: 0.85, 16: 1.3, 64: None}
"""The targets for the ratio to `subprocess.run`, by the number of commands at a time."""

AT_LEAST_OF_XARGS = {1: None, 16: 1.0, 64: None}
"""The targets for the ratio to ``xargs -P``, by the number of commands at a time."""

MOST_TIME = {1: None, 16: 2.0, 64: None}
"""The targets for this process's processor time, as a ratio to `subprocess.run`."""

BEAT = 0.01
"""Seconds; each beat takes 0.06 to 0.2 ms of processor time."""

LONGEST_GAP = {1: None, 16: 20, 64: None}
"""Milliseconds that the event loop may be blocked, by the number of commands at a time."""

AT_A_TIME = 16
MOST_GROWTH = 1.1
"""How many times as much as a command of the second tenth one of the last may cost."""

TRUE = shutil.which("true") or "true"


def _count(setting: Setting) -> int:
    return 100 if setting.quick else 1000


async def currant(at_a_time: int, setting: Setting, *, is_read: bool = False) -> Sample:
    """Run the commands in a Runner."""
    gaps = [0.0]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_beat, gaps)
        began, used = perf_counter(), _processor_time()
        async with Runner([[TRUE]] * _count(setting), max_processes=at_a_time) as runner:
            if is_read:
                async for _ in runner:
                    pass
        seconds, used = perf_counter() - began, _processor_time() - used
        tasks.cancel_scope.cancel()
    assert runner.results.ok
    return {
        "rate": _count(setting) / seconds,
        "own": used / _count(setting) * 1e6,
        "gap": max(gaps) * 1e3,
    }


def _processor_time() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def many(setting: Setting) -> Sample:
    """Run ten times as many commands, and compare the last tenth with the second."""
    count = 10 * _count(setting)
    marks: list[float] = []

    async def note(messages: ObjectReceiveStream[BatchMessage]) -> None:
        exited = 0
        async for message in messages:
            if isinstance(message, Exited):
                exited += 1
                if exited % (count // 100) == 0:
                    marks.append(perf_counter())

    async with Runner([[TRUE]] * count, max_processes=AT_A_TIME, sinks=[note]) as runner:
        pass
    assert runner.results.ok
    took = [later - earlier for earlier, later in pairwise(marks)]
    each = 100 / count * 1e3
    return {"second": median(took[9:19]) * each, "last": median(took[-10:]) * each}


async def _beat(gaps: list[float]) -> None:
    while True:
        due = perf_counter() + BEAT
        await anyio.sleep(BEAT)
        gaps.append(perf_counter() - due)


def in_a_loop(setting: Setting) -> Sample:
    """Run the commands with `subprocess.run`, one after the other."""
    began, used = perf_counter(), _processor_time()
    for _ in range(_count(setting)):
        subprocess.run([TRUE], stdin=subprocess.DEVNULL, capture_output=True, check=True)
    seconds, used = perf_counter() - began, _processor_time() - used
    return {"rate": _count(setting) / seconds, "own": used / _count(setting) * 1e6}


def xargs(at_a_time: int, setting: Setting) -> Sample:
    """Run the commands with `xargs`."""
    return _fed(["xargs", "-n", "1", "-P", str(at_a_time), TRUE], _count(setting))


def parallel(at_a_time: int, setting: Setting) -> Sample:
    """Run the commands with GNU parallel."""
    argv = ["parallel", "--will-cite", f"--jobs={at_a_time}", TRUE]
    return _fed(argv, 20 if setting.quick else 200)


def _fed(argv: list[str], count: int) -> Sample:
    """Run a program that starts one command for each line of its input."""
    lines = b"".join(b"%d\n" % number for number in range(count))
    began = perf_counter()
    subprocess.run(argv, input=lines, check=True)
    return {"rate": count / (perf_counter() - began)}


def _trial(at_a_time: int) -> Trial:
    def rows(setting: Setting) -> list[Row]:
        what = f"{_count(setting):,} × true, {at_a_time} at a time"
        target, longest = AT_LEAST[at_a_time], LONGEST_GAP[at_a_time]
        loop = "subprocess.run in a loop"
        return [
            Row(what, "commands/s", "rate", "in a loop", loop, at_least=target),
            Row(
                what,
                "commands/s",
                "rate",
                "xargs",
                "xargs -P",
                at_least=AT_LEAST_OF_XARGS[at_a_time],
            ),
            Row(what, "commands/s", "rate", "parallel", "GNU parallel --jobs"),
            Row(
                f"{what}: processor time of the program itself, each",
                "µs",
                "own",
                "in a loop",
                loop,
                at_most=MOST_TIME[at_a_time],
            ),
            Row(f"{what}: longest gap of the event loop", "ms", "gap", limit=longest),
            Row(f"{what}, read", "commands/s", "rate", "in a loop", loop, ours="read"),
        ]

    sides: dict[str, LoopSide | PlainSide] = {
        "currant": LoopSide(partial(currant, at_a_time)),
        "read": LoopSide(partial(currant, at_a_time, is_read=True)),
        "in a loop": PlainSide(in_a_loop),
        "xargs": PlainSide(partial(xargs, at_a_time), "xargs"),
        "parallel": PlainSide(partial(parallel, at_a_time), "parallel"),
    }
    return Trial(f"{at_a_time} at a time", 5 if AT_LEAST[at_a_time] else 3, sides, rows)


def _many_rows(setting: Setting) -> list[Row]:
    count = 10 * _count(setting)
    what = f"{count:,} × true, {AT_A_TIME} at a time: each of the last {count // 10:,}"
    versus = f"each of the second {count // 10:,}"
    return [Row(what, "ms", "last", "currant", versus, of="second", at_most=MOST_GROWTH)]


QUESTION = Question(
    "spawn",
    [
        *map(_trial, AT_LEAST),
        Trial("ten times as many", 3, {"currant": LoopSide(many)}, _many_rows),
    ],
)
