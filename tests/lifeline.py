"""Two kinds of named pipe that synchronize a test with the commands of another process.

A `Lifeline` ends when every process that holds the pipe has ended.  A command that opens the pipe
holds it, and so do all descendants, in any process group.  The kernel closes the pipe for every
process that dies, so the end of file proves that no holder is left.  Rejected: looking up process
numbers.  That needs ``/proc``, and mistakes a zombie, or an unrelated process with the same number,
for a leftover process.

A `Gate` blocks a command until the test opens the gate, so no test has to sleep.
"""

from __future__ import annotations

import os
import select
import time
from typing import TYPE_CHECKING

from tests.waiting import LIMIT

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self

__all__ = ["Gate", "Lifeline"]


class Lifeline:
    """A pipe that commands hold open and write their names to."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self._path = path
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self._said = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._fd)

    def hold(self, name: str) -> str:
        """Return shell code with which a process and its descendants hold the lifeline."""
        return f"exec 9>'{self._path}'; echo {name} >&9"

    def say(self, word: str) -> str:
        """Return shell code with which a holder writes `word`."""
        return f"echo {word} >&9"

    def wait_for(self, *words: str) -> None:
        """Wait until each of `words` has been written."""
        deadline = time.monotonic() + LIMIT
        self._read()
        while not self.said().issuperset(words):
            self._wait(deadline, f"waiting for {words}")
            self._read()

    def wait_for_end(self, limit: float = LIMIT) -> set[str]:
        """Wait until no process holds the lifeline; return the words written."""
        deadline = time.monotonic() + limit
        while not self._read():
            self._wait(deadline, "a process still holds the pipe")
        return self.said()

    def ended(self) -> set[str]:
        """Return the words written; fail if a process still holds the lifeline."""
        return self.wait_for_end(0)

    def said(self) -> set[str]:
        """Return the words written so far."""
        return set(self._said.decode().split())

    def _read(self) -> bool:
        """Read all words; return whether no process holds the lifeline."""
        try:
            while data := os.read(self._fd, 65536):
                self._said += data
        except BlockingIOError:
            return False
        return True

    def _wait(self, deadline: float, what: str) -> None:
        # If no process holds the lifeline, select returns at once; only a failing test spins.
        seconds = deadline - time.monotonic()
        if seconds <= 0 or not select.select([self._fd], [], [], seconds)[0]:
            raise AssertionError(f"{what}; written so far: {sorted(self.said())}")


class Gate:
    """A pipe from which a command reads a line that the test or another command writes."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        # Open for reading and writing, so that neither side's open blocks.
        self._fd = os.open(path, os.O_RDWR)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._fd)

    @property
    def wait(self) -> str:
        """Shell code that waits for the gate, even if signals interrupt the wait."""
        return f"until read _ <'{self.path}'; do :; done"

    def open(self) -> None:
        """Let one process continue."""
        os.write(self._fd, b"go\n")
