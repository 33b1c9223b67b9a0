"""`FileChanges`: the paths that change below some files and folders, with the package watchfiles.

The system watches inodes, not paths.  If an editor replaces a file, or a folder is deleted and made
again, the path has another inode.  So the folder around each path is watched, too, without its
subfolders; if that folder does not exist, the nearest parent.  If a watched folder itself changes,
it may be another folder of the same name, so all folders are watched again.

Two threads read the changes: one for the folders with their subfolders, and one for the folders
around.  The async interface of watchfiles would need a thread for each call, and a second for a
stop.
"""

from __future__ import annotations

import os
import threading
from contextlib import closing
from functools import partial
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import anyio

from currant._channel.threads import in_thread
from currant._synchronization import Notifier
from currant._values.errors import CurrantError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from currant._synchronization import HomeLoop

__all__ = ["FileChanges", "require_watchfiles"]

STEP = 25
"""Milliseconds between two reads of the system's queue of changes; no change is lost between."""

STORM = 100
"""Milliseconds after which changes are passed on, although more follow."""

PATIENCE = 50
"""Milliseconds between two checks of an idle thread whether to end."""

ATTEMPTS = 20
"""How often to try to watch, if folders disappear before the watch begins."""

Identity: TypeAlias = "tuple[int, int] | None"
"""The device and the inode of a file; None: there is none."""


class _Folders(NamedTuple):
    """The folders to watch.

    Attributes:
        deep: the folders to watch with their subfolders.
        around: the folders to watch without their subfolders.
        paths: the identity of each path, by the path as given.
    """

    deep: frozenset[str] = frozenset()
    around: frozenset[str] = frozenset()
    paths: Mapping[str, Identity] = MappingProxyType({})


def require_watchfiles() -> None:
    """Check that the packages of the extra ``watch`` are installed.

    Raises:
        MissingExtraError: a package is not installed.
    """
    for package in ("pathspec", "watchfiles"):
        try:
            import_module(package)
        except ModuleNotFoundError as error:
            if error.name != package:
                raise
            raise MissingExtraError("commands with watch", package, "watch") from error


class FileChanges:
    """Watches files and folders, from `follow` on.

    Args:
        home: the event loop that gets the changes.
    """

    def __init__(self, home: HomeLoop) -> None:
        self._home = home
        self._paths: frozenset[str] = frozenset()
        self._folders = _Folders()
        self._deep: _Reader | None = None
        self._around: _Reader | None = None
        self._found: set[str] = set()
        self._is_outdated = False  # whether other folders may have to be watched
        self._is_stale = False  # whether another folder may have the name of a watched folder
        self._arrived = Notifier()

    def follow(self, paths: Collection[str]) -> None:
        """Watch these absolute paths from the next `begin` or `next` on, and no others."""
        self._paths = frozenset(paths)
        self._is_outdated = True
        self._arrived.notify_all()

    async def begin(self) -> None:
        """Watch now, so that later changes are found.

        Cancellation: some of the paths may be watched; call `close`.

        Raises:
            CurrantError: the system cannot watch the folders, for example because of a limit.
        """
        self._found |= await self._renew()

    async def next(self) -> set[str]:
        """Wait for changes, and return the paths that have changed; after `close`, wait forever.

        A changed path is a watched path, as given, or a path below the real path of a watched path.
        Cancellation: loses changes; call `close`.

        Raises:
            CurrantError: as for `begin`.
        """
        while True:
            await self._arrived.wait_for(lambda: bool(self._found) or self._is_outdated)
            found, self._found = self._found, set()
            if self._is_outdated:
                found |= await self._renew()
            if found:
                return found

    def close(self) -> None:
        """Stop watching; the threads end soon after the return."""
        for reader in (self._deep, self._around):
            if reader is not None:
                reader.stop()
        self._deep = self._around = None

    async def _renew(self) -> set[str]:
        """Watch the paths as they are now, and return the paths with another identity."""
        before = self._folders
        for _ in range(ATTEMPTS):
            # Changes that come from here on may set these again.
            is_stale, self._is_outdated, self._is_stale = self._is_stale, False, False
            self._folders = folders = await in_thread(partial(_folders_of, self._paths))
            try:
                self._deep = await self._renewed(
                    self._deep, folders.deep, deep=True, is_stale=is_stale
                )
                self._around = await self._renewed(
                    self._around, folders.around, deep=False, is_stale=is_stale
                )
            except FileNotFoundError:
                self._is_stale = True
                continue
            known = before.paths.keys() & folders.paths.keys()
            return {path for path in known if before.paths[path] != folders.paths[path]}
        raise CurrantError(f"cannot watch files: folders come and go: {sorted(self._paths)}")

    async def _renewed(
        self, reader: _Reader | None, folders: frozenset[str], *, deep: bool, is_stale: bool
    ) -> _Reader | None:
        """Return a reader of `folders`.  It begins before `reader` ends, so no change is lost."""
        if reader is not None and reader.folders == folders and not is_stale:
            return reader
        follower: _Reader | None = None
        if folders:
            follower = _Reader(folders, self._home, partial(self._on_changes, deep), deep=deep)
            try:
                await follower.begun()
            except BaseException:
                follower.stop()
                raise
        if reader is not None:
            reader.stop()
        return follower

    def _on_changes(self, deep: bool, found: set[str] | Exception) -> None:
        """Take the changes or the error of a thread, in the event loop."""
        failed = isinstance(found, Exception)
        # The error may be a name that is not UTF-8, or too many changes: any path may have changed.
        paths = set(self._paths) if isinstance(found, Exception) else found
        self._found |= paths
        # After an error, the next reader decides whether to go on.
        is_stale = failed or not paths.isdisjoint(self._folders.deep | self._folders.around)
        self._is_stale = self._is_stale or is_stale
        self._is_outdated = self._is_outdated or is_stale or not deep
        self._arrived.notify_all()


class _Reader:
    """A thread that watches folders, from now on.

    Attributes:
        folders: as given.
    """

    def __init__(
        self,
        folders: frozenset[str],
        home: HomeLoop,
        tell: Callable[[set[str] | Exception], None],
        *,
        deep: bool,
    ) -> None:
        self.folders = folders
        self._home = home
        self._tell = tell
        self._deep = deep
        self._has_begun = anyio.Event()
        self._error: Exception | None = None  # why the thread could not begin
        self._is_stopped = False
        threading.Thread(target=self._run, name="currant watch", daemon=True).start()

    async def begun(self) -> None:
        """Wait until the folders are watched.

        Raises:
            FileNotFoundError: a folder does not exist any more.
            CurrantError: the system cannot watch the folders.
        """
        await self._has_begun.wait()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """End the thread, once all changes until now are passed on."""
        self._is_stopped = True

    def _run(self) -> None:
        try:
            self._read()
        except FileNotFoundError as error:
            self._fail(error)
        except Exception as error:  # of watchfiles, or of the system behind it
            problem = CurrantError(f"cannot watch files: {error}")
            problem.__cause__ = error
            self._fail(problem)

    def _read(self) -> None:
        import watchfiles

        changes = watchfiles.watch(
            *self.folders,
            watch_filter=None,
            debounce=STORM,
            step=STEP,
            rust_timeout=PATIENCE,
            yield_on_timeout=True,
            raise_interrupt=False,
            recursive=self._deep,
            ignore_permission_denied=True,
        )
        with closing(changes):
            is_last = False
            while not is_last:
                is_last = self._is_stopped  # Changes before the stop are still read.
                found = {path for _, path in next(changes)}
                self._home.call_soon_threadsafe(self._has_begun.set)
                if found:
                    self._home.call_soon_threadsafe(partial(self._tell, found))

    def _fail(self, error: Exception) -> None:
        def tell() -> None:
            if self._has_begun.is_set():
                self._tell(error)
            self._error = error
            self._has_begun.set()

        if not self._is_stopped:
            self._home.call_soon_threadsafe(tell)


def _folders_of(paths: Iterable[str]) -> _Folders:
    real = {path: os.path.realpath(path) for path in paths}
    folders = {each for each in real.values() if os.path.isdir(each)}
    # Both a link and its target may be replaced.
    entries = {*real, *real.values()}
    return _Folders(
        # A folder inside another folder is watched with that.
        frozenset(f for f in folders if not any(is_below(f, other) for other in folders)),
        frozenset(_nearest_folder(os.path.dirname(entry)) for entry in entries),
        {path: _identity_of(target) for path, target in real.items()},
    )


def is_below(path: str, folder: str) -> bool:
    """Return whether `path` is inside of `folder`, at any depth."""
    return path.startswith(folder.rstrip("/") + "/") and path != folder


def _nearest_folder(path: str) -> str:
    """Return the real path of `path`, or of the nearest folder above that exists."""
    while not os.path.isdir(path) and path != os.path.dirname(path):
        path = os.path.dirname(path)
    return os.path.realpath(path)


def _identity_of(path: str) -> Identity:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
