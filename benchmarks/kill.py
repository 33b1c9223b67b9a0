"""How long does it take to stop commands, and does it take longer for many?

Measured from `Runner.kill` to the return of `Runner.join`, once with commands that end at once on
SIGTERM (`sleep`), and once with shells that take 0.2 s to end.  The peer of the first is the least
that has to be done: a signal to each process by hand, and a wait for each.  The peer of the second
is a single such shell: one after the other, 200 would take 200 times as long.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

import anyio

from benchmarks._measure import Figure, Question, Sample, Samples, Setting
from currant import Line, Runner, Started

if TYPE_CHECKING:
    from collections.abc import Sequence

SLEEP = ["sleep", "9999"]
# It is the child who says that it is ready.  A signal in between the fork and the exec of a child
# can get lost in dash, and what has not got it is there until the grace is over.
CHILD = "/bin/sh -c 'echo ready; exec sleep 9999'"
SLOW = ["/bin/sh", "-c", f"trap 'sleep 0.2; exit 0' TERM; {CHILD} & wait"]


def _counts(setting: Setting) -> list[int]:
    return [1, 20] if setting.quick else [1, 50, 200]


async def currant(setting: Setting) -> Sample:
    """Stop them with `Runner.kill`."""
    counts = _counts(setting)
    sample = {f"idle {n}": await _kill_and_join(SLEEP, n, Started) for n in counts}
    for n in (1, counts[-1]):
        sample[f"slow {n}"] = await _kill_and_join(SLOW, n, Line)
    return sample


async def _kill_and_join(command: Sequence[str], count: int, ready: type[Started | Line]) -> float:
    async with Runner([command] * count) as runner:
        missing = count
        async for message in runner:
            missing -= isinstance(message, ready)
            if not missing:
                break
        began = perf_counter()
        runner.kill()
        results = await runner.join()
        seconds = perf_counter() - began
    assert all(result.status == "stopped" for result in results.values())
    return seconds * 1e3


async def by_hand(setting: Setting) -> Sample:
    """Stop them with a signal to each."""
    return {f"idle {n}": await _terminate_and_wait(n) for n in _counts(setting)}


async def _terminate_and_wait(count: int) -> float:
    processes = [await anyio.open_process(SLEEP) for _ in range(count)]
    began = perf_counter()
    for process in processes:
        process.terminate()
    for process in processes:
        await process.wait()
    seconds = perf_counter() - began
    for process in processes:
        await process.aclose()
    return seconds * 1e3


def _figures(samples: Samples, setting: Setting) -> list[Figure]:
    most = _counts(setting)[-1]
    idle = [
        Figure(
            what=f"stop {n:,} idle",
            unit="ms",
            ours=samples.of("currant", f"idle {n}"),
            peer=samples.of("by hand", f"idle {n}"),
            versus="terminate and wait",
        )
        for n in _counts(setting)
    ]
    slow = Figure(
        what=f"stop {most:,} that take 0.2 s",
        unit="ms",
        ours=samples.of("currant", f"slow {most}"),
        peer=samples.of("currant", "slow 1"),
        versus="one of them",
    )
    return [*idle, slow]


QUESTION = Question("stop", 5, {"currant": currant, "by hand": by_hand}, _figures)
