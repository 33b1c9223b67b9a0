"""`KeeperFiles`: what the workers of one run of pytest share with the keeper of their processes.

The folder has the log and the folder of each process, and in ``.keeper``:

- ``NAME.command``: the `Definition` of a process.  The first worker writes it, for all others.
- ``users``: each worker has a lock on this file for as long as it uses the keeper.  The kernel
  releases the lock of a worker that is killed, so nobody has to check whether its pid is in use.
- ``keeper.log``: the warnings and errors of the keeper itself.
"""

from __future__ import annotations

import fcntl
import os
import pickle
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from currant._values.errors import CommandError
from currant._values.file_name import as_file_name
from currant.pytest_plugin._shared_stack import variables_for_others

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from currant._values.command import Command

__all__ = [
    "LISTENING",
    "OWN_FOLDER",
    "Definition",
    "KeeperFiles",
    "Users",
]

LISTENING = b"listening\n"
"""What a keeper writes to its starter when clients can connect."""

OWN_FOLDER = ".keeper"
"""The folder of a keeper in the folder that the workers share."""


@dataclass(frozen=True, slots=True)
class Definition:
    """A command, and the surroundings in which a worker has asked for it.

    Attributes:
        command: the command, pickled.
        search_path: where its modules are: the `sys.path` of the worker.
        folder: the current folder of the worker.
        variables: the variables of the worker.
    """

    command: bytes
    search_path: tuple[str, ...]
    folder: str
    variables: Mapping[str, str]

    @classmethod
    def of(cls, command: Command) -> Definition:
        """Return the definition for a command of this process.

        Raises:
            CommandError: the command cannot be pickled.
        """
        try:
            pickled = pickle.dumps(command)
        except Exception as error:
            raise CommandError(
                f"{command.name!r} cannot be shared, because it cannot be pickled: {error}; open "
                "files and local functions cannot be"
            ) from error
        return cls(pickled, tuple(sys.path), os.getcwd(), variables_for_others())

    def load(self) -> Command:
        """Return the command.

        Raises:
            CommandError: its modules cannot be imported here.
        """
        for path in self.search_path:
            if path not in sys.path:
                sys.path.append(path)
        try:
            return cast("Command", pickle.loads(self.command))  # noqa: S301 - a worker wrote it
        except Exception as error:
            raise CommandError(f"a command cannot be shared: {error}") from error

    def as_in_worker(self) -> Command:
        """Return the command, to run in this process as if the worker ran it."""
        command = self.load()
        folder = os.path.join(self.folder, command.cwd or "")
        if not command.inherit_env:
            return replace(command, cwd=folder)
        variables = {**self.variables, **command.env}
        return replace(command, cwd=folder, env=variables, inherit_env=False)


class KeeperFiles:
    """The folder of a keeper.

    Args:
        folder: the folder; it is created.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._own = folder / OWN_FOLDER
        self._own.mkdir(parents=True, exist_ok=True)
        self.log = self._own / "keeper.log"
        self.users = Users(self._own / "users")

    def define(self, command: Command) -> Command:
        """Define a command unless its name is defined; return the command that is defined then.

        Only one worker at a time may call this.

        Raises:
            CommandError: the command cannot be pickled, or not be loaded again.
        """
        path = self._own / f"{as_file_name(command.name)}.command"
        if not path.exists():
            new = self._own / "new"  # The keeper may read at the same time, so the file is moved.
            new.write_bytes(pickle.dumps(Definition.of(command)))
            new.replace(path)
        return _read(path).load()

    def forget_definitions(self) -> None:
        """Remove the definitions of workers that have ended."""
        for path in self._own.glob("*.command"):
            path.unlink()

    def definitions(self) -> list[Definition]:
        """Return the definitions of all processes."""
        return [_read(path) for path in sorted(self._own.glob("*.command"))]


def _read(path: Path) -> Definition:
    return cast("Definition", pickle.loads(path.read_bytes()))  # noqa: S301 - a worker wrote it


class Users:
    """Who uses a keeper: the processes that have a lock on a file.

    The lock is a POSIX lock (fcntl), which belongs to one process: a child that a test forks does
    not share it, and so does not keep the keeper running.

    Args:
        path: the file; it is created.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def join(self) -> bool:
        """Become a user; return whether this process was none before.

        If a keeper is ending, first wait until it has ended.
        """
        is_new = self._fd is None
        if self._fd is None:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.lockf(self._fd, fcntl.LOCK_SH)
        return is_new

    def is_alone(self) -> bool:
        """Return whether this process is the only user."""
        if self._fd is None:
            return False
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        fcntl.lockf(self._fd, fcntl.LOCK_SH)
        return True

    def leave(self) -> None:
        """Stop being a user."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def wait_until_none(self) -> None:
        """Wait until there is no user; no process can `join` before this one has ended."""
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.lockf(fd, fcntl.LOCK_EX)
