"""Find a stack by the folder of its project: each stack has its files in a private folder.

The private folder is ``$XDG_RUNTIME_DIR/currant``, or ``/tmp/currant-UID`` for a user without a
runtime folder.  currant uses the folder only if it belongs to this user and no other user may enter
it.  Clients look into both, because a service has no runtime folder, and a shell has one.  Each
stack has three files there, named after a hash of the project's folder:

- ``KEY.lock``, which the stack locks (flock) for as long as it lives.  The kernel releases the lock
  when the stack is killed, so no pid has to be guessed.  The file has the pid of the process that
  has locked it.  The stack removes the file at the end.
- ``KEY.sock``, the socket.  If no process holds the lock, the socket is stale.
- ``KEY.json``: the pid, the folder, the log and the start time of the stack.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import stat
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from currant._values.errors import NO_CURRENT_FOLDER
from currant.stack._errors import (
    NoStackError,
    StackError,
    StackFolderError,
    StackRunningError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

__all__ = [
    "Claim",
    "StackInfo",
    "StackPaths",
    "described_folders",
    "find_stack",
    "key_of",
    "real_folder",
    "runtime_folder",
]

MAX_PATH = 103
"""Bytes of the path of a socket: macOS has room for 104 with the NUL, Linux for 108."""

PRIVATE = 0o700

USUAL_FOLDERS = ("/run/user/{}/currant", "/tmp/currant-{}")  # noqa: S108 - checked below
"""The private folders of a user with and without ``XDG_RUNTIME_DIR``."""


@dataclass(frozen=True, slots=True)
class StackInfo:
    """The process, the folder and the log of a stack.

    Attributes:
        pid: the process of the stack.
        folder: the project's folder.
        log: the file with the output of the stack; None: it is on the stack's own stdout.
        started_at: seconds since the epoch.
    """

    pid: int
    folder: str
    log: str | None
    started_at: float


@dataclass(frozen=True, slots=True)
class StackPaths:
    """The files of the stack of one folder, whether or not one runs.

    Attributes:
        folder: the project's folder, without symbolic links.
        lock: the file that a running stack has locked.
        socket: the Unix socket on which a running stack listens.
        info: a `StackInfo` as JSON.
    """

    folder: str
    lock: str
    socket: str
    info: str

    @classmethod
    def of(cls, folder: str, runtime: str) -> Self:
        """Return the paths for a project's folder in the folder `runtime`."""
        real = os.path.realpath(folder)
        base = os.path.join(runtime, key_of(real))
        return cls(real, f"{base}.lock", f"{base}.sock", f"{base}.json")

    def read_info(self) -> StackInfo | None:
        """Return the description of the running or the last stack; None if there is none."""
        return _info_in(self.info)

    def accepts(self) -> bool:
        """Return whether a stack listens on the socket."""
        with socket.socket(socket.AF_UNIX) as probe:
            probe.setblocking(False)  # noqa: FBT003 - the name of the method says it
            try:
                probe.connect(self.socket)
            except BlockingIOError:  # The queue of waiting clients is full.
                return True
            except OSError:
                return False
            return True


def _info_in(path: str) -> StackInfo | None:
    try:
        with open(path, encoding="utf-8") as file:
            given = json.load(file)
        return StackInfo(**given)
    except (OSError, ValueError, TypeError):
        return None


def described_folders() -> list[str]:
    """Return the folders of all stacks of this user that run, or were killed.

    Raises:
        OSError, StackFolderError: the private folder cannot be read.
    """
    runtime = runtime_folder()
    paths = [os.path.join(runtime, name) for name in os.listdir(runtime) if name.endswith(".json")]
    return [info.folder for info in map(_info_in, paths) if info is not None]


def key_of(real_folder: str) -> str:
    """Return the name of the files of a stack."""
    from hashlib import sha256  # noqa: PLC0415 - takes milliseconds, and a run without a stack none

    return sha256(os.fsencode(real_folder)).hexdigest()[:16]


def runtime_folder(*, create: bool = False) -> str:
    """Return the private folder for the files of stacks.

    Args:
        create: whether to create the folder if it is missing.

    Raises:
        StackFolderError: the folder cannot be created, or other users may enter it.
    """
    parent = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(parent) and _is_own_folder(parent):
        path = os.path.join(parent, "currant")
    else:
        path = f"/tmp/currant-{os.geteuid()}"  # noqa: S108 - checked below
    if create:
        try:
            os.mkdir(path, PRIVATE)
        except FileExistsError:
            pass
        except OSError as error:
            raise StackFolderError(path, error.strerror or str(error)) from error
    _check_private(path)
    return path


def _runtime_folders() -> list[str]:
    """Return the private folder, and others of this user where another shell may have a stack.

    After a login a user has ``XDG_RUNTIME_DIR``; a service of the system and a job of cron do not.

    Raises:
        StackFolderError: other users may enter the private folder.
    """
    folders = [runtime_folder()]
    for each in USUAL_FOLDERS:
        path = each.format(os.geteuid())
        with suppress(StackFolderError):
            _check_private(path)
            folders.append(path)
    return list(dict.fromkeys(folders))


def _is_own_folder(path: str) -> bool:
    """Return whether a folder is this user's: `su` may pass on the variables of another user."""
    try:
        found = os.stat(path)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()


def _check_private(path: str) -> None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StackFolderError(path, error.strerror or str(error)) from error
    if not stat.S_ISDIR(found.st_mode):
        raise StackFolderError(path, "it is not a folder; remove it")
    if found.st_uid != os.geteuid():
        raise StackFolderError(path, f"it belongs to the user {found.st_uid}; set XDG_RUNTIME_DIR")
    if stat.S_IMODE(found.st_mode) & ~PRIVATE:
        raise StackFolderError(path, "others may look into it; run 'chmod 700' on it")


def real_folder(folder: str | None = None) -> str:
    """Return a folder without symbolic links; None: the current folder.

    Raises:
        StackError: the current folder was deleted, or cannot be found.
    """
    try:
        return os.path.realpath(os.getcwd() if folder is None else folder)
    except FileNotFoundError as error:
        raise StackError(NO_CURRENT_FOLDER) from error
    except OSError as error:
        raise StackError(f"the current folder: {error.strerror or error}") from error


def find_stack(folder: str | None = None) -> StackPaths:
    """Return the files of the stack that runs in a folder, or in the nearest parent with a stack.

    Args:
        folder: the folder; None: the current folder.

    Raises:
        NoStackError: no stack runs in the folder or its parents.
        StackFolderError: other users may enter the folder for the files of stacks.
        StackError: the current folder was deleted.
    """
    runtimes = _runtime_folders()
    real = real_folder(folder)
    for each in _with_parents(real):
        for runtime in runtimes:
            paths = StackPaths.of(each, runtime)
            if os.path.exists(paths.socket) and paths.accepts():
                return paths
    raise NoStackError(real)


def _with_parents(folder: str) -> Iterator[str]:
    while True:
        yield folder
        parent = os.path.dirname(folder)
        if parent == folder:
            return
        folder = parent


class Claim:
    """The right to be the stack of a folder: a lock, until `release` or the end of the process.

    A fork shares the lock, which is free once both processes have closed it.

    Args:
        folder: the project's folder.

    Attributes:
        paths: the files of the stack.

    Raises:
        StackRunningError: a stack of that folder runs.
        StackFolderError: there is no place for the files.
    """

    def __init__(self, folder: str) -> None:
        self.paths: StackPaths = StackPaths.of(folder, runtime_folder(create=True))
        if len(os.fsencode(self.paths.socket)) > MAX_PATH:
            raise StackFolderError(self.paths.socket, "the path is too long for a socket")
        for runtime in _runtime_folders()[1:]:
            other = StackPaths.of(folder, runtime)
            if other.accepts():
                info = other.read_info()
                raise StackRunningError(other.folder, None if info is None else info.pid)
        try:
            self._lock: int | None = _locked(self.paths.lock)
        except BlockingIOError:
            info = self.paths.read_info()
            pid = _pid_in(self.paths.lock) if info is None else info.pid
            raise StackRunningError(self.paths.folder, pid) from None
        except OSError as error:
            raise StackFolderError(self.paths.lock, error.strerror or str(error)) from error
        self._remove_stale()
        # If the disk is full, the refusal of another stack lacks the pid.
        with suppress(OSError):
            os.ftruncate(self._lock, 0)
            os.write(self._lock, b"%d" % os.getpid())

    def fileno(self) -> int:
        """Return the descriptor of the lock, which has to stay open."""
        assert self._lock is not None
        return self._lock

    def describe(self, log: str | None) -> StackInfo:
        """Write the description of the stack into its file, and return it.

        Raises:
            OSError: the file cannot be written.
        """
        info = StackInfo(os.getpid(), self.paths.folder, log, time.time())
        beside = f"{self.paths.info}.new"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        with open(os.open(beside, flags, 0o600), "w", encoding="utf-8") as file:
            json.dump(asdict(info), file)
        os.replace(beside, self.paths.info)
        return info

    def release(self) -> None:
        """Remove the files and release the lock; a second call does nothing."""
        if self._lock is None:
            return
        self._remove_stale()
        with suppress(OSError):
            os.unlink(self.paths.lock)  # before the lock is released: see `_locked`
        self.leave()

    def leave(self) -> None:
        """Close the lock and keep the files, because a fork of this process has the lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _remove_stale(self) -> None:
        for path in (self.paths.socket, self.paths.info, f"{self.paths.info}.new"):
            with suppress(OSError):
                os.unlink(path)


def _pid_in(lock: str) -> int | None:
    """Return the process that has locked a file, and has no description yet."""
    try:
        with open(lock, "rb") as file:
            return int(file.read(20))
    except (OSError, ValueError):
        return None


def _locked(path: str) -> int:
    """Open and lock a file; if another process has removed the file by then, create a new file.

    Raises:
        BlockingIOError: another process has locked it.
        OSError: the file cannot be opened.
    """
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(fd), os.stat(path)):
                    return fd
        except OSError as error:
            os.close(fd)
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise BlockingIOError(error.errno, "locked") from None
            raise
        os.close(fd)
