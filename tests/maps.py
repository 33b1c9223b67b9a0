"""`currant map` as a process: its input from a test, and what its job log says."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.clis import CURRANT, ROOT, Ended, environment
from tests.waiting import LIMIT

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

__all__ = ["LoggedJob", "logged", "preloaded_currant", "program", "run_map"]

PRELOADED = Path(__file__).with_name("preloaded.py")

_preloaded: list[tuple[str, ...]] = []


@contextmanager
def preloaded_currant() -> Generator[None]:
    """Let `run_map` run forks of one `currant`; see `tests.preloaded`."""
    env = {name: value for name, value in environment().items() if name != "CURRANT_TEST"}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "socket")
        command = [sys.executable, "-m", "tests.preloaded", "serve", path]
        with subprocess.Popen(command, stdin=subprocess.PIPE, cwd=ROOT, env=env) as server:
            assert server.wait() == 0  # It has left a process of its own.
            _preloaded.append((sys.executable, "-IS", str(PRELOADED), "call", path))
            try:
                yield
            finally:
                _preloaded.pop()


def program() -> tuple[str, ...]:
    """Return the words that run `currant`, without its imports if it is preloaded."""
    return _preloaded[-1] if _preloaded else CURRANT


def run_map(
    *arguments: str | bytes,
    stdin: bytes = b"",
    cwd: Path = ROOT,
    env: Mapping[str, str] = {},
) -> Ended:
    """Run ``currant map`` with `stdin` as its input; return its exit status and its output.

    With `env` it is a Python of its own, which reads some variables when it starts.
    """
    done = subprocess.run(
        [*(CURRANT if env else program()), "map", *arguments],
        input=stdin,
        capture_output=True,
        cwd=cwd,
        env=environment(env),
        timeout=LIMIT,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


class LoggedJob(NamedTuple):
    """A line of a job log."""

    seq: int
    host: str
    sent: int
    received: int
    exitval: int
    signal: int
    command: str


def logged(path: Path) -> list[LoggedJob]:
    """Return the lines of a job log, but for the header and a line that is being written."""
    header, *lines, _ = path.read_text().split("\n")
    assert header.split("\t")[0] == "Seq"
    jobs: list[LoggedJob] = []
    for line in lines:
        seq, host, _, _, sent, received, code, number, command = line.split("\t")
        jobs.append(
            LoggedJob(int(seq), host, int(sent), int(received), int(code), int(number), command)
        )
    return jobs
