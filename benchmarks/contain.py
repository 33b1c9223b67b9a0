"""What does containment cost: the orphan guard's time and memory, and a search for escapees?

The guard is started by hand, several times, and is informed at once that it is not needed.  Its
memory is read while it waits for its pipe.  The peer is a Python interpreter in the same role.

The search reads the environment of all processes on this machine, a thousand of which sleep.  The
time runs from the call to its return.  The peer is `grep` over the same files.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

from anyio import run_process

from benchmarks._measure import LoopSide, PlainSide, Question, Row, Sample, Setting, Trial
from currant import Runner, Started
from currant._process.escapees import Escapees
from currant._process.guard import SCRIPT
from currant._system.proc import process_numbers
from currant._values.shutdown_limits import ShutdownLimits

if TYPE_CHECKING:
    from collections.abc import Sequence

HELPERS = {
    "currant": ["/bin/sh", str(SCRIPT), "f00"],
    "by hand": [sys.executable, "-ISc", "import sys; sys.stdin.read()"],
}
GREP = shutil.which("grep") or "grep"
STARTS = 10


def guard(side: str, _setting: Setting) -> Sample:
    """Start and end a helper several times."""
    lives = [_life(HELPERS[side]) for _ in range(STARTS)]
    memories = [_memory(HELPERS[side]) for _ in range(STARTS)]
    return {"life": median(lives) * 1e3, "memory": median(memories)}


def _life(argv: Sequence[str]) -> float:
    """Return the seconds from the start of a helper to its exit, which is requested at once."""
    began = perf_counter()
    with subprocess.Popen(argv, stdin=subprocess.PIPE, start_new_session=True) as helper:
        helper.communicate(b".\n")
    return perf_counter() - began


def _memory(argv: Sequence[str]) -> float:
    """Return the memory of a helper that waits for its input, in megabytes."""
    with subprocess.Popen(argv, stdin=subprocess.PIPE, start_new_session=True) as helper:
        time.sleep(0.1)  # An interpreter starts in a fifth of that time.
        rollup = Path(f"/proc/{helper.pid}/smaps_rollup").read_text()
    (line,) = (line for line in rollup.splitlines() if line.startswith("Pss:"))
    return int(line.split()[1]) / 1e3


async def search(side: str, setting: Setting) -> Sample:
    """Search while a thousand commands run, with `Escapees` or with `grep`."""
    missing = count = 100 if setting.quick else 1000
    async with Runner([["sleep", "9999"]] * count) as runner:
        async for message in runner:
            missing -= isinstance(message, Started)
            if not missing:
                break
        began = perf_counter()
        if side == "currant":
            await Escapees("f00", set, set, ShutdownLimits()).find()
        else:
            files = [f"/proc/{pid}/environ" for pid in process_numbers()]
            await run_process([GREP, "-ls", "f00/", *files], check=False)
        seconds = perf_counter() - began
        runner.kill()
    return {"search": seconds * 1e6 / count}


def _guard_rows(_setting: Setting) -> list[Row]:
    versus = "a Python interpreter"
    return [
        Row("start and end the guard", "ms", "life", "by hand", versus),
        Row("memory of the guard (PSS)", "MB", "memory", "by hand", versus),
    ]


def _search_rows(setting: Setting) -> list[Row]:
    what = f"search {100 if setting.quick else 1000:,} processes"
    return [Row(what, "µs a process", "search", "by hand", "grep")]


GUARD_SIDES = {side: PlainSide(partial(guard, side)) for side in HELPERS}
SEARCH_SIDES = {side: LoopSide(partial(search, side)) for side in HELPERS}
QUESTION = Question(
    "contain",
    [
        Trial("the guard", 3, GUARD_SIDES, _guard_rows),
        Trial("the search", 3, SEARCH_SIDES, _search_rows),
    ],
)
