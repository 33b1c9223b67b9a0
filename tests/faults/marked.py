"""Find processes by a mark: a variable in their environment, which escapees have, too.

All descendants of a process inherit its environment.  A process that replaces its environment is
not found.  Linux only: the environment of other processes is read from ``/proc``.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["descendants", "end", "find", "still_there", "swept"]

CLEAN_LOOKS = 3
"""How many searches in a row must find no process: one search may miss a process being started."""

PAUSE = 0.005
"""Seconds between two searches."""

SEARCH_LIMIT = 10.0
"""Seconds until killed processes must be gone; a fork loop has to be hit between two links."""


def find(mark: str) -> dict[int, str]:
    """Return the command lines of all processes with `mark` (``name=value``), by PID.

    A zombie is not included: it has no environment.
    """
    wanted = os.fsencode(mark)
    found: dict[int, str] = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # The process has ended, or is another user's.
            if wanted in (process / "environ").read_bytes().split(b"\0"):
                words = (process / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
                found[int(process.name)] = b" ".join(words).decode(errors="replace")
    return found


def descendants(pid: int) -> dict[int, str]:
    """Return the start time of each descendant of a process, by PID.

    This also finds descendants that replaced their environment.
    """
    parents = {process: words for process in _numbers() if (words := _stat(process))}
    found: dict[int, str] = {}
    while more := {n: s for n, (p, s) in parents.items() if p in (pid, *found) and n not in found}:
        found |= more
    return found


def still_there(known: dict[int, str]) -> dict[int, str]:
    """Return a description of each process in `known` that still runs and is not a zombie."""
    return {
        pid: f"a descendant, started at {started}"
        for pid, started in known.items()
        if (words := _stat(pid)) is not None and words[1] == started
    }


def _numbers() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def _stat(pid: int) -> tuple[int, str] | None:
    """Return a process's parent and start time; None if the process is gone or a zombie."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(") ")[2].split()
    except OSError:
        return None
    return None if words[0] in "ZX" else (int(words[1]), words[19])


def end(mark: str) -> int:
    """Kill all processes with `mark`, and return their number.

    Raises:
        RuntimeError: a process still exists after 10 s.
    """
    killed: set[int] = set()
    deadline = time.monotonic() + SEARCH_LIMIT
    clean = 0
    while clean < CLEAN_LOOKS:
        found = find(mark)
        clean = 0 if found else clean + 1
        if found and time.monotonic() > deadline:
            raise RuntimeError(f"still there after SIGKILL: {found}")
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        killed |= found.keys()
        time.sleep(PAUSE)
    return len(killed)


@contextmanager
def swept() -> Iterator[str]:
    """Yield a mark; kill all processes with that mark at the end, even if this process is killed.

    A helper process waits until its stdin is closed, which happens in either case, and kills them.
    """
    mark = f"FAULTS_RUN={uuid4().hex}"
    with subprocess.Popen(
        [sys.executable, "-m", "tests.faults.marked", mark],
        stdin=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C must not reach the helper.
    ):
        yield mark  # Leaving the block closes the helper's stdin and waits for its exit.


if __name__ == "__main__":
    sys.stdin.read()
    end(sys.argv[1])
