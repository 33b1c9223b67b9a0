"""Programs that tests run as separate processes, to interrupt or kill them from outside."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.waiting import LIMIT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

__all__ = ["Programs", "printed_by", "wait_until_idle"]

ROOT = Path(__file__).parents[1]


def printed_by(module: str, *options: str) -> list[str]:
    """Run a module as a program that must succeed without a word on stderr; return its lines."""
    done = subprocess.run(
        [sys.executable, "-m", module, *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


class Programs:
    """Start a program any number of times on one event loop, and end all processes on exit.

    Args:
        source: the program; its first argument is its options as JSON, ``backend`` and
            ``backend_options`` among them.
        backend: as for `anyio.run`.
        use_uvloop: whether asyncio runs on uvloop.
    """

    def __init__(self, source: str, backend: str, *, use_uvloop: bool) -> None:
        options = {"use_uvloop": True} if use_uvloop else {}
        self._source = source
        self._loop = {"backend": backend, "backend_options": options}
        self._started: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.communicate()

    def run(
        self, options: Mapping[str, Any], *, wrap: Sequence[str] = ()
    ) -> subprocess.Popen[bytes]:
        """Start the program with `options`, after the words of `wrap`.

        Its three standard files are pipes.
        """
        process = subprocess.Popen(
            [*wrap, sys.executable, "-c", self._source, json.dumps({**options, **self._loop})],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
        )
        self._started.append(process)
        return process


def wait_until_idle(pid: int) -> None:
    """Wait until the process was seen asleep three times in a row, or ended meanwhile.

    On asyncio, a busy program may handle SIGINT at a bad moment: the first one only at the next
    event, if the loop is about to sleep, and the second one in the middle of asyncio's own code.
    """
    deadline = time.monotonic() + LIMIT
    seen = ""
    while not seen.endswith(("SSS", "Z")):
        assert time.monotonic() < deadline, f"always busy: {seen}"
        command = ["ps", "-o", "state=", "-p", str(pid)]
        seen += subprocess.run(command, capture_output=True, check=True, text=True).stdout[0]
