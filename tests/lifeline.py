"""Two named pipes that synchronize a test with commands, even if another process starts them.

A `Lifeline` proves that no process is left.  A command opens the pipe for writing, and each of its
descendants inherits the open file, even if the descendant leaves the process group.  The kernel
closes the file when a process dies, however it dies.  So the test reads end-of-file once every
process that has opened the pipe, and every descendant, is gone.

Rejected: to look PIDs up.  That needs ``/proc``, and it takes a zombie, or an unrelated process
with a reused PID, for a leftover process.

A `Gate` blocks a command until the test opens it, so no test has to sleep.
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
    """A pipe that commands hold open, and to which they write their names and other words."""

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
        """Return shell code that opens the pipe and writes `name`; descendants hold it too."""
        return f"exec 9>'{self._path}'; echo {name} >&9"

    def say(self, word: str) -> str:
        """Return shell code that writes `word` to the pipe, for a process that holds it."""
        return f"echo {word} >&9"

    def wait_for(self, *words: str) -> None:
        """Wait until commands have written each of `words`."""
        deadline = time.monotonic() + LIMIT
        self._read()
        while not self.said().issuperset(words):
            self._wait(deadline, f"waiting for {words}")
            self._read()

    def wait_for_end(self, limit: float = LIMIT) -> set[str]:
        """Wait until no process holds the pipe; return all words written to it."""
        deadline = time.monotonic() + limit
        while not self._read():
            self._wait(deadline, "a process still holds the pipe")
        return self.said()

    def ended(self) -> set[str]:
        """Fail unless no process holds the pipe now; return all words written to it."""
        return self.wait_for_end(0)

    def said(self) -> set[str]:
        """Return all words written so far."""
        return set(self._said.decode().split())

    def _read(self) -> bool:
        """Read all that is in the pipe; return whether no process holds the pipe."""
        try:
            while data := os.read(self._fd, 65536):
                self._said += data
        except BlockingIOError:
            return False
        return True

    def _wait(self, deadline: float, what: str) -> None:
        # If no process holds the pipe, `select` returns at once, and the caller's loop spins until
        # the deadline.  Only a test that fails gets there.
        seconds = deadline - time.monotonic()
        if seconds <= 0 or not select.select([self._fd], [], [], seconds)[0]:
            raise AssertionError(f"{what}; written so far: {sorted(self.said())}")


class Gate:
    """A pipe at which a command waits until the test, or another command, writes a line to it."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        # Open for reading and writing, so that neither this call nor that of a command blocks.
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
        """Shell code that waits until the gate opens; a trapped signal does not end the wait."""
        return f"until read _ <'{self.path}'; do :; done"

    def open(self) -> None:
        """Let one process continue."""
        os.write(self._fd, b"go\n")
