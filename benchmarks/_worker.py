"""One run of one side of one trial in a separate process, which prints its sample as JSON."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

import anyio

from benchmarks import (
    batch,
    call,
    command_line,
    contain,
    cost,
    hosts,
    kill,
    latency,
    pytest_plugin,
    spawn,
    start,
    throughput,
)
from benchmarks._measure import LoopSide, Setting

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from benchmarks._measure import Question, Sample

__all__ = ["QUESTIONS", "run_side"]

QUESTIONS: dict[str, Question] = {
    question.name: question
    for question in (
        throughput.QUESTION,
        command_line.QUESTION,
        latency.QUESTION,
        spawn.QUESTION,
        batch.QUESTION,
        call.QUESTION,
        kill.QUESTION,
        cost.QUESTION,
        start.QUESTION,
        contain.QUESTION,
        hosts.QUESTION,
        pytest_plugin.QUESTION,
    )
}

LOOPS: dict[str, tuple[str, dict[str, Any]]] = {
    "asyncio": ("asyncio", {"use_uvloop": False}),
    "uvloop": ("asyncio", {"use_uvloop": True}),
    "trio": ("trio", {}),
}
"""The backend and options of `anyio.run` for each name."""

LIMIT = 3600.0
"""Time limit of a run in seconds; the longest, a million values of a map, takes ten minutes."""


def run_side(
    question: str, trial: int, side: str, backend: str, setting: Setting, env: Mapping[str, str]
) -> Sample:
    """Run one side once, in a new process with the environment `env`."""
    argv = [question, str(trial), side, backend, str(int(setting.quick)), str(setting.folder)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks._worker", *argv],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        timeout=LIMIT,
        check=True,
    )
    return cast("Sample", json.loads(done.stdout))


def _main(question: str, trial: str, name: str, backend: str, quick: str, folder: str) -> None:
    # A thousand commands need 2,000 pipes, and on some event loops one more descriptor each.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limit = 16_384 if hard == resource.RLIM_INFINITY else min(hard, 16_384)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    # A job that a script runs by ``&`` ignores both, and then Python forks instead of using vfork.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    setting = Setting(bool(int(quick)), Path(folder))
    side = QUESTIONS[question].trials[int(trial)].sides[name]
    if isinstance(side, LoopSide):
        loop, options = LOOPS[backend]
        sample = anyio.run(side.run, setting, backend=loop, backend_options=options)
    else:
        sample = side.run(setting)
    print(json.dumps(sample))


if __name__ == "__main__":
    _main(*sys.argv[1:])
