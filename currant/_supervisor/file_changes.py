"""`FileChanges`: the paths that change below some files and folders, with the package watchfiles.

The system watches folders, not paths: a file that an editor replaces, or a folder that is deleted
and made again, is another one to it.  So the folder of each path is watched, too (only itself, not
what is below), or the nearest one that exists.  If one of the watched folders is itself among the
changes, it may have become another one, so all are watched anew.

Two threads read the changes: one of the folders with all that is below them, one of the folders
around.  watchfiles itself would have a thread for each call, and a stop would take a second.
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
"""Milliseconds between two looks at what the system has told; no change is lost between them."""

STORM = 100
"""Milliseconds after which the changes of a storm are passed on, although more follow."""

PATIENCE = 50
"""Milliseconds after which a thread without a change looks whether it has to end."""

ATTEMPTS = 20
"""How often to begin to watch, if folders disappear in the moment between the look and that."""

Identity: TypeAlias = "tuple[int, int] | None"
"""The device and the inode of a file; None: there is none."""


class Plan(NamedTuple):
    """What to watch.

    Attributes:
        deep: the folders to watch with all that is below them.
        around: the folders to watch alone.
        paths: what each path is at this moment, by the path as given.
    """

    deep: frozenset[str] = frozenset()
    around: frozenset[str] = frozenset()
    paths: Mapping[str, Identity] = MappingProxyType({})


def require_watchfiles() -> None:
    """Check that the packages of the extra ``watch`` are installed.

    Raises:
        MissingExtraError: one of them is not.
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
        home: the event loop that is told.
    """

    def __init__(self, home: HomeLoop) -> None:
        self._home = home
        self._paths: frozenset[str] = frozenset()
        self._plan = Plan()
        self._deep: _Reader | None = None
        self._around: _Reader | None = None
        self._found: set[str] = set()
        self._is_outdated = False  # whether there may be other folders to watch
        self._is_stale = False  # whether a folder may have become another one of the same name
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
            CurrantError: the system does not watch so many folders, for example.
        """
        self._found |= await self._renew()

    async def next(self) -> set[str]:
        """Wait for changes, and return the paths that have changed; what `close` ends waits on.

        A path is one that is watched, as given, or one below the real path of it.
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
        """Watch nothing any more; the threads end within a moment."""
        for reader in (self._deep, self._around):
            if reader is not None:
                reader.stop()
        self._deep = self._around = None

    async def _renew(self) -> set[str]:
        """Watch what `follow` has named as it is now, and return what has become different."""
        before = self._plan
        for _ in range(ATTEMPTS):
            # Changes that come from here on may set these again.
            is_stale, self._is_outdated, self._is_stale = self._is_stale, False, False
            self._plan = plan = await in_thread(partial(_plan_of, self._paths))
            try:
                self._deep = await self._renewed(
                    self._deep, plan.deep, deep=True, is_stale=is_stale
                )
                self._around = await self._renewed(
                    self._around, plan.around, deep=False, is_stale=is_stale
                )
            except FileNotFoundError:
                self._is_stale = True
                continue
            known = before.paths.keys() & plan.paths.keys()
            return {path for path in known if before.paths[path] != plan.paths[path]}
        raise CurrantError(f"cannot watch files: folders come and go: {sorted(self._paths)}")

    async def _renewed(
        self, reader: _Reader | None, folders: frozenset[str], *, deep: bool, is_stale: bool
    ) -> _Reader | None:
        """Return a reader of `folders`, which begins before `reader` ends: nothing is lost."""
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
        """Take what a thread has found, in the event loop."""
        failed = isinstance(found, Exception)
        # A name that is no UTF-8, or too many changes for the system: anything may have changed.
        paths = set(self._paths) if isinstance(found, Exception) else found
        self._found |= paths
        # After an error, the next reader decides whether to go on.
        is_stale = failed or not paths.isdisjoint(self._plan.deep | self._plan.around)
        self._is_stale = self._is_stale or is_stale
        self._is_outdated = self._is_outdated or is_stale or not deep
        self._arrived.notify_all()


class _Reader:
    """A thread that reads the changes of some folders, and begins to watch at once.

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
        self._error: Exception | None = None  # with which it could not begin
        self._is_stopped = False
        threading.Thread(target=self._run, name="currant watch", daemon=True).start()

    async def begun(self) -> None:
        """Wait until the folders are watched.

        Raises:
            FileNotFoundError: one of them does not exist any more.
            CurrantError: the system does not watch them.
        """
        await self._has_begun.wait()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """End the thread, once the changes until now are passed on."""
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
                is_last = self._is_stopped  # What has changed before is still read.
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


def _plan_of(paths: Iterable[str]) -> Plan:
    real = {path: os.path.realpath(path) for path in paths}
    folders = {each for each in real.values() if os.path.isdir(each)}
    # A link may become another one, and so may its target.
    entries = {*real, *real.values()}
    return Plan(
        # A folder inside another one is watched with it.
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
