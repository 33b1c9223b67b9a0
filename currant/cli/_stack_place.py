"""The place of the stack of `currant start`: its socket, its history and its log."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, cast

from currant.cli._display import LOG_BACKUPS
from currant.sinks._log_file import LogFile
from currant.stack._history import History
from currant.stack._reload import Configuration, by_name
from currant.stack._server import StackServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from currant._values.command import Command
    from currant.stack._folder import Claim

__all__ = ["StackPlace"]


class StackPlace:
    """The socket, the history and the log of a stack.

    Args:
        claim: the right to be the stack of its folder.
        log_path: the log of a stack in the background; None: the stack is in the foreground.
        log_size: the bytes at which the log is rotated.
        on_listening: called once clients can connect.

    Attributes:
        claim: as given.
        history: the sink that clients read.
        log: the file for the output; None: stdout and stderr.
    """

    def __init__(
        self,
        claim: Claim,
        log_path: Path | None = None,
        log_size: int | None = None,
        on_listening: Callable[[], object] = lambda: None,
    ) -> None:
        self.history: History = History()
        self.log: IO[bytes] | None = None
        if log_path is not None:
            self.log = cast("IO[bytes]", _RotatedFile(log_path, log_size))
        self.claim: Claim = claim
        self._log_path = log_path
        self._on_listening = on_listening

    @staticmethod
    def each_by_itself(commands: Iterable[Command]) -> list[Command]:
        """Return the commands for the Runner: each replica by itself, with a name of its own.

        A Runner keeps the common name of replicas for good, but after `reload`, one command may
        have that name.
        """
        return list(by_name(commands).values())

    def server(
        self,
        commands: Iterable[Command],
        read: Callable[[], Iterable[Command]],
        prepare: Callable[[Command], Command],
    ) -> StackServer:
        """Return a server of the stack; see `Configuration` for the arguments."""
        is_detached = self._log_path is not None
        server = StackServer(
            self.claim,
            self.history,
            Configuration(tuple(commands), read, prepare),
            None if self._log_path is None else str(self._log_path),
            is_needed=is_detached,
        )
        server.on_listening = self._on_listening
        return server


class _RotatedFile:
    """A file of bounded size, for a sink.  An error becomes one warning."""

    def __init__(self, path: Path, size: int | None) -> None:
        self._file = LogFile(path, size, LOG_BACKUPS, "warn")

    def write(self, data: bytes) -> None:
        self._file.add(data)

    def flush(self) -> None:
        pass
