"""What does `currant run` cost: its start, 400 MB through it, and its memory behind a slow reader?

The throughput is that of four times `cat` of 100 MB with lines of 79 bytes, into ``/dev/null``; the
peer is the same through one pipe, `cat | cat`.  The start is that of ``currant run true``, beyond
that of an interpreter that does nothing.  The memory is the peak of currant's process while a pipe
is read that takes a pause after each megabyte; there no byte may be missing.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from time import perf_counter

from benchmarks._measure import Figure, Question, Sample, Samples, Setting

COMMANDS = 4
LINE = b"%08d " + b"x" * 69 + b"\n"
CURRANT = (sys.executable, "-m", "currant", "run", "--quiet")

MOST_STARTING = 0.25
"""Seconds that a start may take longer than the interpreter's."""

MOST_MEMORY = 80.0
"""Megabytes that currant may have at any time."""


def _lines(setting: Setting) -> int:
    return (10_000_000 if setting.quick else 100_000_000) // len(LINE % 0)


def _file(setting: Setting) -> Path:
    file = setting.folder / f"{_lines(setting)}-of-79.txt"
    if not file.exists():
        with file.open("wb") as out:
            out.writelines(LINE % number for number in range(_lines(setting)))
    return file


async def currant(setting: Setting) -> Sample:
    """Run currant three times: nothing, into nothing, into a pipe; the event loop has no part."""
    cats = [f"exec cat '{_file(setting)}'"] * COMMANDS
    return {
        "start": _seconds(*CURRANT, "true"),
        "throughput": _seconds(*CURRANT, *cats),
        "memory": _memory_behind_a_slow_reader(setting, cats),
    }


async def shell(setting: Setting) -> Sample:
    """Start an interpreter, and have the shell pass the bytes on."""
    files = [str(_file(setting))] * COMMANDS
    return {
        "start": _seconds(sys.executable, "-c", "pass"),
        "throughput": _seconds("/bin/sh", "-c", 'cat "$@" | cat', "sh", *files),
    }


def _seconds(*argv: str) -> float:
    """Return how long a program takes whose modules are compiled, as after an installation."""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    began = perf_counter()
    subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=env, check=True)
    return perf_counter() - began


def _memory_behind_a_slow_reader(setting: Setting, commands: list[str]) -> float:
    """Return the most megabytes that currant had; every line has to arrive."""
    argv = [*CURRANT, "--raw", *commands]
    newlines = size = peak = 0
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while data := os.read(process.stdout.fileno(), 1 << 20):
            newlines += data.count(b"\n")
            size += len(data)
            peak = max(peak, _peak_of(process.pid))
            time.sleep(0.001)
    assert process.returncode == 0, f"currant ended with {process.returncode}"
    assert newlines == COMMANDS * _lines(setting), f"{newlines} lines came"
    assert size == COMMANDS * _file(setting).stat().st_size, f"{size} bytes came"
    return peak * 1024 / 1e6


def _peak_of(pid: int) -> int:
    """Return the most KiB that a process has had so far."""
    # Not ru_maxrss: that begins with the peak of the process that we were forked from.
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    peaks = [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
    return max(peaks, default=0)


def _figures(samples: Samples, setting: Setting) -> list[Figure]:
    starts = zip(samples.of("currant", "start"), samples.of("shell", "start"), strict=True)
    beyond = [ours - theirs for ours, theirs in starts]
    memory = samples.of("currant", "memory")
    size = COMMANDS * _file(setting).stat().st_size / 1e6
    return [
        Figure(
            what=f"currant run: {size:.0f} MB into /dev/null",
            unit="s",
            ours=samples.of("currant", "throughput"),
            peer=samples.of("shell", "throughput"),
            versus="cat … | cat",
            at_most=4,
        ),
        Figure(
            what="currant run true, beyond python -c pass",
            unit="s",
            ours=beyond,
            peer=[MOST_STARTING] * len(beyond),
            versus="the limit",
            at_most=1,
        ),
        Figure(
            what=f"most memory, {size:.0f} MB to a slow reader",
            unit="MB",
            ours=memory,
            peer=[MOST_MEMORY] * len(memory),
            versus="the limit",
            at_most=1,
        ),
    ]


QUESTION = Question("command_line", 7, {"currant": currant, "shell": shell}, _figures)
