"""Run Python programs in separate processes, which tests interrupt or kill from outside."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

__all__ = ["Programs"]

ROOT = Path(__file__).parents[1]


class Programs:
    """Starts a program on one event loop, any number of times; kills what still runs at the end.

    Args:
        source: the program.  Its first argument is a JSON object with the options, including
            ``backend`` and ``backend_options``.
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

    def run(self, options: Mapping[str, Any]) -> subprocess.Popen[bytes]:
        """Start the program with `options`; stdin, stdout and stderr are pipes."""
        process = subprocess.Popen(
            [sys.executable, "-c", self._source, json.dumps({**options, **self._loop})],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
        )
        self._started.append(process)
        return process
