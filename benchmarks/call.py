"""How many calls of `run_process` per second, one after the other?

The command is `true`.  The time runs from before the first call until after the last, in one event
loop.  The peers are `subprocess.run` and `anyio.run_process`; all capture the output.
"""

from __future__ import annotations

import shutil
import subprocess
from time import perf_counter

import anyio

import currant
from benchmarks._measure import LoopSide, PlainSide, Question, Row, Sample, Setting, Trial

TRUE = shutil.which("true") or "true"


def _count(setting: Setting) -> int:
    return 50 if setting.quick else 500


async def run_process(setting: Setting) -> Sample:
    """Call `currant.run_process`."""
    began = perf_counter()
    for _ in range(_count(setting)):
        await currant.run_process([TRUE])
    return {"rate": _count(setting) / (perf_counter() - began)}


async def anyio_run_process(setting: Setting) -> Sample:
    """Call `anyio.run_process`."""
    began = perf_counter()
    for _ in range(_count(setting)):
        await anyio.run_process([TRUE])
    return {"rate": _count(setting) / (perf_counter() - began)}


def subprocess_run(setting: Setting) -> Sample:
    """Call `subprocess.run`."""
    began = perf_counter()
    for _ in range(_count(setting)):
        subprocess.run([TRUE], stdin=subprocess.DEVNULL, capture_output=True, check=True)
    return {"rate": _count(setting) / (perf_counter() - began)}


def _rows(setting: Setting) -> list[Row]:
    what = f"{_count(setting)} × run_process(true), one after the other"
    return [
        Row(what, "calls/s", "rate", "subprocess", "subprocess.run", at_least=0.75),
        Row(what, "calls/s", "rate", "anyio", "anyio.run_process", at_least=1.0),
    ]


SIDES: dict[str, LoopSide | PlainSide] = {
    "currant": LoopSide(run_process),
    "subprocess": PlainSide(subprocess_run),
    "anyio": LoopSide(anyio_run_process),
}
QUESTION = Question("call", [Trial("one after the other", 5, SIDES, _rows)])
