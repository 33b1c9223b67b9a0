"""`currant map` as a process: its input from a test, and what its job log says."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, NamedTuple

from tests.clis import CURRANT, ROOT, Ended, environment
from tests.waiting import LIMIT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["LoggedJob", "logged", "run_map"]


def run_map(
    *arguments: str | bytes,
    stdin: bytes = b"",
    cwd: Path = ROOT,
    env: Mapping[str, str] = {},
) -> Ended:
    """Run ``currant map`` with `stdin` as its input; return its exit status and its output."""
    done = subprocess.run(
        [*CURRANT, "map", *arguments],
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
