"""How long does it take to stop commands, and does it take longer for many?

The time runs from `Runner.kill` to the return of `Runner.join`, with 1, 100 and 1,000 commands that
exit at once on SIGTERM (`sleep`), and with 100 and 1,000 shells that have a child.  The peer does
the minimum: it starts sessions with `subprocess.Popen`, then calls `os.killpg` for each and
`Popen.wait` for each.  It does not look whether the child is gone, as currant does; where PID 1 is
slow to reap the child, that takes two lists of all processes.  Another trial has 200 shells that
take 0.2 s to exit, compared with a single one: one after the other, they would take 200 times as
long.

Each measurement begins after a garbage collection.  A full collection takes 0.13 s while 1,000
commands run on trio.  Otherwise chance would decide whether one happens during the stop: a few more
objects at the start are enough.
"""

from __future__ import annotations

import gc
import os
import signal
import subprocess
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

from benchmarks._measure import LoopSide, PlainSide, Question, Row, Sample, Setting, Trial
from currant import Line, Runner, Started

if TYPE_CHECKING:
    from collections.abc import Sequence

COUNTS = (1, 100, 1000)
TREE_COUNTS = (100, 1000)
MOST_TIME = 2.5
"""The target for the ratio to the peer, for 1,000 commands and for commands with children."""

SLOW_COUNT = 200

SLEEP = ["sleep", "9999"]
# The child itself writes "ready".  In dash, a signal between the fork and the exec of a child can
# get lost, and then the child runs until the grace is over.
CHILD = "/bin/sh -c 'echo ready; exec sleep 9999'"
TREE = ["/bin/sh", "-c", f"{CHILD} & wait"]
SLOW = ["/bin/sh", "-c", f"trap 'sleep 0.2; exit 0' TERM; {CHILD} & wait"]


def _many(count: int, setting: Setting) -> int:
    return -(-count // 10) if setting.quick else count


async def currant(count: int, setting: Setting) -> Sample:
    """Stop commands that exit at once."""
    return {"time": await _kill_and_join(SLEEP, _many(count, setting), Started)}


async def trees(count: int, setting: Setting) -> Sample:
    """Stop shells that have a child."""
    return {"time": await _kill_and_join(TREE, _many(count, setting), Line)}


async def slow(count: int, setting: Setting) -> Sample:
    """Stop shells that take 0.2 s to exit."""
    return {"time": await _kill_and_join(SLOW, _many(count, setting), Line)}


async def _kill_and_join(command: Sequence[str], count: int, ready: type[Started | Line]) -> float:
    async with Runner([command] * count) as runner:
        missing = count
        async for message in runner:
            missing -= isinstance(message, ready)
            if not missing:
                break
        gc.collect()
        began = perf_counter()
        runner.kill()
        results = await runner.join()
        seconds = perf_counter() - began
    assert all(result.status == "stopped" for result in results.values())
    return seconds * 1e3


def bare(count: int, setting: Setting) -> Sample:
    """Send a signal to each session, then wait for each."""
    return _kill_and_wait(
        [
            subprocess.Popen(SLEEP, stdin=subprocess.DEVNULL, start_new_session=True)
            for _ in range(_many(count, setting))
        ]
    )


def bare_trees(count: int, setting: Setting) -> Sample:
    """Do the same with shells whose child has written a line."""
    processes = [
        subprocess.Popen(
            TREE, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True
        )
        for _ in range(_many(count, setting))
    ]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    return _kill_and_wait(processes)


def _kill_and_wait(processes: Sequence[subprocess.Popen[bytes]]) -> Sample:
    gc.collect()
    began = perf_counter()
    for process in processes:
        os.killpg(process.pid, signal.SIGTERM)
    for process in processes:
        process.wait()
    return {"time": (perf_counter() - began) * 1e3}


def _trial(count: int) -> Trial:
    def rows(setting: Setting) -> list[Row]:
        what = f"stop {_many(count, setting):,} × sleep"
        at_most = MOST_TIME if count == 1000 else None
        return [Row(what, "ms", "time", "bare", "killpg and wait", at_most=at_most)]

    sides: dict[str, LoopSide | PlainSide] = {
        "currant": LoopSide(partial(currant, count)),
        "bare": PlainSide(partial(bare, count)),
    }
    return Trial(f"{count:,} × sleep", 5 if count == 1000 else 3, sides, rows)


def _tree_trial(count: int) -> Trial:
    def rows(setting: Setting) -> list[Row]:
        what = f"stop {_many(count, setting):,} × sh with a child"
        return [Row(what, "ms", "time", "bare", "killpg and wait", at_most=MOST_TIME)]

    sides: dict[str, LoopSide | PlainSide] = {
        "currant": LoopSide(partial(trees, count)),
        "bare": PlainSide(partial(bare_trees, count)),
    }
    return Trial(f"{count:,} × sh with a child", 3, sides, rows)


def _slow_rows(setting: Setting) -> list[Row]:
    what = f"stop {_many(SLOW_COUNT, setting):,} shells that take 0.2 s"
    return [Row(what, "ms", "time", "one", "one of them")]


SLOW_SIDES = {"currant": LoopSide(partial(slow, SLOW_COUNT)), "one": LoopSide(partial(slow, 1))}
QUESTION = Question(
    "kill",
    [
        *map(_trial, COUNTS),
        *map(_tree_trial, TREE_COUNTS),
        Trial(f"{SLOW_COUNT} slow shells", 3, SLOW_SIDES, _slow_rows),
    ],
)
