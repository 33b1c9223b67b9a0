"""One run of one side of one question, in a process of its own; prints what it measured as JSON."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

import anyio

from benchmarks import by_batch, by_line, command_line, contain, idle, latency, spawn, stop
from benchmarks._measure import Setting

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from benchmarks._measure import Question, Sample

__all__ = ["BACKENDS", "QUESTIONS", "run_side"]

QUESTIONS: dict[str, Question] = {
    question.name: question
    for question in (
        by_line.QUESTION,
        by_batch.QUESTION,
        idle.QUESTION,
        stop.QUESTION,
        contain.QUESTION,
        command_line.QUESTION,
        spawn.QUESTION,
        latency.QUESTION,
    )
}

BACKENDS: dict[str, tuple[str, dict[str, Any]]] = {
    "asyncio": ("asyncio", {"use_uvloop": False}),
    "uvloop": ("asyncio", {"use_uvloop": True}),
    "trio": ("trio", {}),
}
"""The backends by the names they have here, with what `anyio.run` takes."""

LIMIT = 600.0
"""Seconds that a run may take: ten times what the longest takes on a slow machine."""


def run_side(
    question: str, side: str, backend: str, setting: Setting, env: Mapping[str, str]
) -> Sample:
    """Run one side once, in a new process with the variables `env`."""
    argv = [question, side, backend, str(int(setting.quick)), str(setting.folder)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks._worker", *argv],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        timeout=LIMIT,
        check=True,
    )
    return cast("Sample", json.loads(done.stdout))


def _main(question: str, side: str, backend: str, quick: str, folder: str) -> None:
    # A thousand commands take 2,000 pipes, and on some event loops one more descriptor each.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limit = 16_384 if hard == resource.RLIM_INFINITY else min(hard, 16_384)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    name, options = BACKENDS[backend]
    setting = Setting(bool(int(quick)), Path(folder))
    run = QUESTIONS[question].sides[side]
    print(json.dumps(anyio.run(run, setting, backend=name, backend_options=options)))


if __name__ == "__main__":
    _main(*sys.argv[1:])
