"""Two named pipes by which a test and the commands of another process know of each other.

A `Lifeline` ends when all have ended who hold it.  A command that opens it holds it, and so does
all that the command starts, wherever that goes; the kernel lets go for whoever dies, however.  So
its end is the proof that nothing is left, of those who have opened it before.  Rejected: looking
process numbers up, which needs ``/proc``, and takes a zombie or a stranger with the same number for
somebody who is left.

A `Gate` holds a command up until the test opens it, so that nothing has to sleep.
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
    """A pipe that commands hold open, and on which each of them says its name."""

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
        """Return the shell's words for a process to hold the line, and all that it starts."""
        return f"exec 9>'{self._path}'; echo {name} >&9"

    def say(self, word: str) -> str:
        """Return the shell's words for a process that holds the line to say `word`."""
        return f"echo {word} >&9"

    def wait_for(self, *words: str) -> None:
        """Wait until each of `words` was said."""
        deadline = time.monotonic() + LIMIT
        self._read()
        while not self.said().issuperset(words):
            self._wait(deadline, f"waiting for {words}")
            self._read()

    def wait_for_end(self, limit: float = LIMIT) -> set[str]:
        """Wait until nobody holds the line any longer; return what was said."""
        deadline = time.monotonic() + limit
        while not self._read():
            self._wait(deadline, "still held")
        return self.said()

    def ended(self) -> set[str]:
        """Return what was said, by those who are all gone by now."""
        return self.wait_for_end(0)

    def said(self) -> set[str]:
        """Return what was said so far."""
        return set(self._said.decode().split())

    def _read(self) -> bool:
        """Take all that was said; return whether nobody holds the line any longer."""
        try:
            while data := os.read(self._fd, 65536):
                self._said += data
        except BlockingIOError:
            return False
        return True

    def _wait(self, deadline: float, what: str) -> None:
        # Where nobody holds the line this does not wait; that costs time only in a test that fails.
        seconds = deadline - time.monotonic()
        if seconds <= 0 or not select.select([self._fd], [], [], seconds)[0]:
            raise AssertionError(f"{what}; said so far: {sorted(self.said())}")


class Gate:
    """A pipe from which a command reads a line that the test writes, or another command."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        # For both, so that neither side's opening waits for the other.
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
        """The shell's words for a process to wait here, also while it gets signals."""
        return f"until read _ <'{self.path}'; do :; done"

    def open(self) -> None:
        """Let one process go on."""
        os.write(self._fd, b"go\n")
