"""A helper process that kills leftover processes of the benchmarks, however the benchmarks end.

The helper waits until its stdin is closed, because the benchmarks have ended or were killed.  Then
it kills every process with their mark in its environment, and prints the number.  It does not use
currant, because it must work even if currant does not.
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
"""Maximum number of searches: the first one may miss a process that is being started."""


@contextmanager
def guarded() -> Iterator[dict[str, str]]:
    """Yield the environment for new processes; kill those that are left at the end.

    In it, Python may write compiled modules, as after an installation.
    """
    value = uuid.uuid4().hex
    env = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks._guard", f"{MARK}={value}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C must not reach the helper.
    ) as helper:
        try:
            yield env | {MARK: value}
        finally:
            left = int(helper.communicate()[0])
            if left:
                print(f"killed {left} leftover processes", file=sys.stderr)


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
    except OSError:  # The process has ended, or is another user's.
        return False


if __name__ == "__main__":
    sys.stdin.read()
    count = _kill_marked(os.fsencode(sys.argv[1]))
    with suppress(BrokenPipeError):  # The benchmarks were killed, so no process reads.
        os.write(sys.stdout.fileno(), str(count).encode())
