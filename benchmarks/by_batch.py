"""How long do the bytes of four commands take, in whole batches?

Measured from before the commands are started to after their last byte: four times `cat` of a file
of 100 MB.  The peer is the shell: the same bytes through one pipe, read by another `cat`.  It
copies each byte into a pipe and out of it once, as currant has to, and does nothing else with it.
"""

from __future__ import annotations

import subprocess
from time import perf_counter

from benchmarks._measure import (
    LINE_SIZE,
    Figure,
    Question,
    Sample,
    Samples,
    Setting,
    numbered_lines,
)
from currant import Batch, Runner

COMMANDS = 4


def _lines(setting: Setting) -> int:
    return (10_000_000 if setting.quick else 100_000_000) // LINE_SIZE


async def currant(setting: Setting) -> Sample:
    """Add up the sizes of what `Runner.batches` gives."""
    file = numbered_lines(setting.folder, _lines(setting))
    began, size = perf_counter(), 0
    async with Runner([["cat", file]] * COMMANDS) as runner:
        async for message in runner.batches():
            if isinstance(message, Batch):
                size += len(message.data)
    seconds = perf_counter() - began
    assert size == COMMANDS * file.stat().st_size, f"{size} bytes came"
    return {"seconds": seconds}


async def shell(setting: Setting) -> Sample:
    """Have the shell do it; the event loop has no part in this."""
    file = numbered_lines(setting.folder, _lines(setting))
    script = 'cat "$@" | cat >/dev/null'
    began = perf_counter()
    subprocess.run(["/bin/sh", "-c", script, "sh", *[file] * COMMANDS], check=True)
    return {"seconds": perf_counter() - began}


def _figures(samples: Samples, setting: Setting) -> list[Figure]:
    return [
        Figure(
            what=f"{COMMANDS} × {_lines(setting) * LINE_SIZE / 1e6:.0f} MB in batches",
            unit="s",
            ours=samples.of("currant", "seconds"),
            peer=samples.of("shell", "seconds"),
            versus="cat, cat >/dev/null",
            at_most=4,
        )
    ]


QUESTION = Question("by_batch", 5, {"currant": currant, "shell": shell}, _figures)
