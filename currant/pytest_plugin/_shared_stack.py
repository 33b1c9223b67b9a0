"""What the stack of the keeper and the stack of the project have in common."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from currant._system.forks import close_in_forks, no_fork

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from currant._values.command import Command
    from currant.stack import StackClient

__all__ = ["SharedStack", "folder_locked", "variables_for_others"]


class SharedStack(Protocol):
    """A stack that several workers use."""

    @property
    def client(self) -> StackClient:
        """Talks to the stack, if it runs."""
        ...

    def open(self, commands: Sequence[Command], timeout: float) -> Command:
        """Start the stack unless it runs, and make sure that it knows a command.

        Args:
            commands: the dependencies of the command, and last the command.
            timeout: seconds that the command has to become ready.

        Returns:
            The command that the stack runs.

        Raises:
            CommandError: the command cannot be shared.
            CurrantError: the stack could not be started.
            TimeoutError: the time is over.
        """
        ...

    async def has_ended(self) -> bool:
        """Return whether the stack has ended; if it is about to end, wait until it has."""
        ...

    def log(self, name: str) -> Path | None:
        """Return the file with all output of a process; None: the stack writes to a terminal."""
        ...


@contextmanager
def folder_locked(folder: str | Path) -> Generator[None]:
    """Let only one process at a time run the block for a folder; wait for the others."""
    opened = _OpenFolder(folder)
    try:
        assert opened.fd is not None
        fcntl.flock(opened.fd, fcntl.LOCK_EX)
        yield
    finally:
        opened.close()


class _OpenFolder:
    """An open folder, which a fork of this program does not hold open and so not locked."""

    def __init__(self, folder: str | Path) -> None:
        with no_fork:
            self.fd: int | None = os.open(folder, os.O_RDONLY)
            close_in_forks(self)

    def close(self) -> None:
        """Close the folder."""
        with no_fork:
            self.close_in_fork()

    def close_in_fork(self) -> None:
        """Close the folder in a fork."""
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None


def variables_for_others() -> dict[str, str]:
    """Return the variables for a process that several workers use, without those of pytest."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
