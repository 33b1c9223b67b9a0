"""Leave no process behind: a helper that outlives the benchmarks, however they end.

It waits for the end of its stdin, which comes when the benchmarks close it or are killed.  Then it
kills whatever carries their mark in its environment, and prints how many that were.  It relies on
nothing of currant's: it has to work while currant does not.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["guarded"]

MARK = "CURRANT_BENCHMARKS"
PASSES = 500
"""Most looks for processes: one that is being started may be missed by the first."""


@contextmanager
def guarded() -> Iterator[dict[str, str]]:
    """Give the environment to start processes with; end those that are left at the end."""
    value = uuid.uuid4().hex
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks._guard", f"{MARK}={value}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # a Ctrl-C is not for it
    ) as helper:
        try:
            yield os.environ | {MARK: value}
        finally:
            left = int(helper.communicate()[0])
            if left:
                print(f"{left} processes were left behind, and have been killed", file=sys.stderr)


def _kill_marked(mark: bytes) -> int:
    killed: set[int] = set()
    for _ in range(PASSES):
        found = {int(path.name) for path in Path("/proc").glob("[0-9]*") if _has(path, mark)}
        if not found:
            break
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        killed |= found
        time.sleep(0.01)
    return len(killed)


def _has(process: Path, mark: bytes) -> bool:
    try:
        return mark in (process / "environ").read_bytes().split(b"\0")
    except OSError:  # it has ended, or is somebody else's
        return False


if __name__ == "__main__":
    sys.stdin.read()
    count = _kill_marked(os.fsencode(sys.argv[1]))
    with suppress(BrokenPipeError):  # the benchmarks were killed: nobody asks
        os.write(sys.stdout.fileno(), str(count).encode())
