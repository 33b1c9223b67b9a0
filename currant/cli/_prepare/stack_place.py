"""The place of the stack of `currant start`: its socket, its history and its log."""

from __future__ import annotations

import os
from contextlib import suppress
from threading import Lock
from typing import IO, TYPE_CHECKING, cast

from currant.cli._prepare.display import LOG_BACKUPS
from currant.sinks._log_file import LogFile
from currant.stack._configuration import Configuration, by_name
from currant.stack._history import History
from currant.stack._server import StackServer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from pathlib import Path

    from currant._values.command import Command
    from currant.stack._folder import Claim

__all__ = ["RotatedFile", "StackPlace"]

STDOUT, STDERR = 1, 2


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
        self._file: RotatedFile | None = None
        if log_path is not None:
            self._file = RotatedFile(log_path, log_size)
            self.log = cast("IO[bytes]", self._file)
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
        read: Callable[[Collection[str]], Iterable[Command]],
        prepare: Callable[[Command], Command],
        names: Callable[[], Iterable[str]] = tuple,
    ) -> StackServer:
        """Return a server of the stack; see `Configuration` for the arguments."""
        is_detached = self._log_path is not None
        server = StackServer(
            self.claim,
            self.history,
            Configuration(tuple(commands), read, prepare, names),
            None if self._log_path is None else str(self._log_path),
            is_needed=is_detached,
        )
        server.on_listening = self._begin
        return server

    def _begin(self) -> None:
        """Write further errors into the log, because clients can connect."""
        if self._file is not None:
            self._file.follow()
        self._on_listening()


class RotatedFile:
    """A file of bounded size, for a sink.  An error becomes one warning.

    From `follow` on, the file is stdout and stderr of this program, too: for warnings, and for
    commands that inherit them.  They follow when the file is rotated; otherwise they would be a
    file that nobody sees, and that grows without bound.
    """

    def __init__(self, path: Path, size: int | None) -> None:
        self._path = path
        self._file = LogFile(path, size, LOG_BACKUPS, "warn", mode=0o600)
        self._noted = 0  # bytes that were lost, as the log says
        self._is_followed = False
        self._lock = Lock()  # The sink has a thread.

    def write(self, data: bytes) -> None:
        with self._lock:
            if self._file.lost > self._noted:
                self._note_loss()
            self._file.add(data)
            if self._is_followed:
                self._point()

    def _note_loss(self) -> None:
        """Say in the log how much is missing there, if the log can be written again."""
        lost = self._file.lost
        self._file.add(b"\ncurrant: %d bytes of output are missing here\n" % (lost - self._noted))
        if self._file.lost == lost:
            self._noted = lost
        self._file.lost = lost  # The note itself is no output.

    def follow(self) -> None:
        """Let stdout and stderr be this file from now on."""
        with self._lock:
            self._is_followed = True
            self._point()

    def _point(self) -> None:
        with suppress(OSError):
            now = os.stat(self._path)
            others = [fd for fd in (STDOUT, STDERR) if not os.path.samestat(os.fstat(fd), now)]
            if others:
                with open(self._path, "ab", buffering=0) as file:
                    for fd in others:
                        os.dup2(file.fileno(), fd)

    def flush(self) -> None:
        pass
