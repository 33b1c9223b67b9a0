"""`SharedStack`: what the stack of the keeper and the stack of the project have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from currant._values.command import Command
    from currant.stack import StackClient

__all__ = ["SharedStack"]


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
