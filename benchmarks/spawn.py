"""How many commands a second can be run, and is the event loop held up meanwhile?

A thousand times `true`, 1, 16 and 64 at a time, from before the first start to after the last exit.
The peers: `subprocess.run` in a loop, which is one at a time, and `xargs -P`.  Beside currant a
task sleeps for a millisecond again and again: the longest that it was away is what the event loop
was held up.
"""

from __future__ import annotations

import shutil
import subprocess
from time import perf_counter

import anyio

from benchmarks._measure import Figure, Question, Sample, Samples, Setting
from currant import Runner

AT_A_TIME = (1, 16, 64)

TRUE = shutil.which("true") or "true"
XARGS = shutil.which("xargs") or "xargs"


def _count(setting: Setting) -> int:
    return 100 if setting.quick else 1000


async def currant(setting: Setting) -> Sample:
    """Have a Runner do it; nobody reads."""
    sample: Sample = {}
    for number in AT_A_TIME:
        gaps = [0.0]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_beat, gaps)
            began = perf_counter()
            async with Runner([[TRUE]] * _count(setting), max_processes=number) as runner:
                pass
            sample[f"rate {number}"] = _count(setting) / (perf_counter() - began)
            tasks.cancel_scope.cancel()
        assert runner.results.ok
        sample[f"gap {number}"] = max(gaps) * 1e3
    return sample


async def _beat(gaps: list[float]) -> None:
    while True:
        began = perf_counter()
        await anyio.sleep(0.001)
        gaps.append(perf_counter() - began)


async def in_a_loop(setting: Setting) -> Sample:
    """Have `subprocess.run` do it, one after the other; the event loop has no part in this."""
    began = perf_counter()
    for _ in range(_count(setting)):
        subprocess.run([TRUE], stdin=subprocess.DEVNULL, capture_output=True, check=True)
    return {"rate": _count(setting) / (perf_counter() - began)}


async def xargs(setting: Setting) -> Sample:
    """Have `xargs` do it, with output that is the host's own."""
    lines = b"\n".join(b"%d" % number for number in range(_count(setting)))
    sample: Sample = {}
    for number in AT_A_TIME:
        began = perf_counter()
        subprocess.run([XARGS, "-n", "1", "-P", str(number), TRUE], input=lines, check=True)
        sample[f"rate {number}"] = _count(setting) / (perf_counter() - began)
    return sample


def _figures(samples: Samples, setting: Setting) -> list[Figure]:
    loop = samples.of("in a loop", "rate")
    figures: list[Figure] = []
    for number in AT_A_TIME:
        rate = samples.of("currant", f"rate {number}")
        what = f"{_count(setting):,} × true, {number} at a time"
        target = {1: 0.8, 16: 1.0}.get(number)
        figures += [
            Figure(what, "commands/s", rate, loop, "subprocess.run in a loop", at_least=target),
            Figure(what, "commands/s", rate, samples.of("xargs", f"rate {number}"), "xargs -P"),
        ]
    gaps = samples.of("currant", "gap 16")
    figures.append(
        Figure(
            what="longest that the event loop was held up, 16 at a time",
            unit="ms",
            ours=gaps,
            peer=[20.0] * len(gaps),
            versus="the limit",
            at_most=1,
        )
    )
    return figures


QUESTION = Question(
    "spawn", 3, {"currant": currant, "in a loop": in_a_loop, "xargs": xargs}, _figures
)
