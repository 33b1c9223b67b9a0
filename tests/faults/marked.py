"""Processes found by a mark, a variable in their environment, wherever they have escaped to.

All descendants of a process inherit its environment; who makes himself a new one is not found.
Only Linux lets one look at the environment of others, in ``/proc``.
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
"""How often in a row nobody must be found: one look may miss whoever is being started."""

PAUSE = 0.005
"""Seconds between two looks."""

SEARCH_LIMIT = 10.0
"""Seconds that what got SIGKILL has to be gone; a fork loop has to be met between two links."""


def find(mark: str) -> dict[int, str]:
    """Return the command lines of those whose environment contains ``name=value``, by number.

    A zombie is nobody: it has no environment any more.
    """
    wanted = os.fsencode(mark)
    found: dict[int, str] = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is somebody else's
            if wanted in (process / "environ").read_bytes().split(b"\0"):
                words = (process / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
                found[int(process.name)] = b" ".join(words).decode(errors="replace")
    return found


def descendants(pid: int) -> dict[int, str]:
    """Return the children of a process, theirs and so on, by number, with when each was started.

    For those who make themselves another environment.
    """
    parents = {process: words for process in _numbers() if (words := _stat(process))}
    found: dict[int, str] = {}
    while more := {n: s for n, (p, s) in parents.items() if p in (pid, *found) and n not in found}:
        found |= more
    return found


def still_there(known: dict[int, str]) -> dict[int, str]:
    """Return what those are called that are still there, and are no zombies."""
    return {
        pid: f"a descendant, started at {started}"
        for pid, started in known.items()
        if (words := _stat(pid)) is not None and words[1] == started
    }


def _numbers() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def _stat(pid: int) -> tuple[int, str] | None:
    """Return a process's parent and when it was started; None where it is gone or a zombie."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(") ")[2].split()
    except OSError:
        return None
    return None if words[0] in "ZX" else (int(words[1]), words[19])


def end(mark: str) -> int:
    """Kill all of them, and return how many that were.

    Raises:
        RuntimeError: some of them are still there after 10 s.
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
    """Give a mark of which nobody is left, even where this process is killed before the end.

    A helper waits for the end of its stdin, which comes in any case, and ends them then.
    """
    mark = f"FAULTS_RUN={uuid4().hex}"
    with subprocess.Popen(
        [sys.executable, "-m", "tests.faults.marked", mark],
        stdin=subprocess.PIPE,
        start_new_session=True,  # a Ctrl-C is not for it
    ):
        yield mark  # leaving the block closes its stdin and waits for it


if __name__ == "__main__":
    sys.stdin.read()
    end(sys.argv[1])
