"""Descriptors that a fork of this program must not keep.

A fork that goes on in Python, such as a worker of `multiprocessing`, has a copy of every
descriptor.  While such a worker lives, closing the stdin of a command does not end its input, and
currant does not notice the end of its output.  An exec closes all of currant's descriptors; a fork
does not.

So each object that has descriptors passes itself to `close_in_forks`, and the child of a fork calls
`close_in_fork` on each of them.  The method must not unregister them from the event loop, because
the child shares the epoll of its parent.  The object must not signal or close anything later: in
the child, its numbers belong to other files.

Another thread may fork at any moment.  While a thread holds `no_fork`, all forks wait, so do not
await while you hold it.  A thread holds the lock while it opens and notes a descriptor, and while
it closes and forgets one.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from threading import RLock, local
from typing import TYPE_CHECKING, Protocol, cast
from weakref import ref

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from typing import Any

__all__ = ["HasDescriptors", "close_in_forks", "no_fork", "popen", "starting"]


class HasDescriptors(Protocol):
    """An object that closes its descriptors in the child of a fork."""

    def close_in_fork(self) -> None:
        """Close all descriptors, and forget their numbers and the processes behind them."""
        ...


no_fork = RLock()
"""Held for a step that no fork may split; reentrant, because a signal handler may fork."""

_owners: set[ref[HasDescriptors]] = set()
"""A WeakSet does the same, but forgets an object in Python: that takes 3 µs, and ours die often."""


class _Starts(local):
    """How many starts of a process are under way in this thread."""

    count = 0


_starts = _Starts()


def close_in_forks(owner: HasDescriptors) -> None:
    """Have each later fork of this program call `owner.close_in_fork`, while `owner` exists."""
    _owners.add(ref(owner, _owners.discard))


@contextmanager
def starting() -> Generator[None]:
    """Leave all descriptors open in forks of this thread, which start a process.

    The new process needs the descriptors for its standard files, and its exec closes the others.
    """
    _starts.count += 1
    try:
        yield
    finally:
        _starts.count -= 1


def popen(
    argv: Sequence[str | os.PathLike[str]],
    preexec_fn: Callable[[], object] | None,
    **options: Any,  # noqa: ANN401 - they are those of `Popen`
) -> subprocess.Popen[bytes]:
    """Start a process with `subprocess.Popen`.

    `Popen` returns when its own pipe to the child ends, so a fork with a copy of that pipe would
    hold up this thread for as long as the fork lives.
    """
    # Only for a `preexec_fn` does Python run the hooks of a fork.  The hooks may wait for a lock of
    # another thread, so this thread must not hold one.
    with no_fork if preexec_fn is None else starting():
        process = subprocess.Popen(argv, preexec_fn=preexec_fn, **options)  # noqa: PLW1509 - see the callers
    return cast("subprocess.Popen[bytes]", process)


def _after_in_child() -> None:
    try:
        if not _starts.count:
            owners = [owner for each in _owners.copy() if (owner := each()) is not None]
            _owners.clear()
            for owner in owners:
                owner.close_in_fork()
    finally:
        no_fork.release()


if hasattr(os, "register_at_fork"):  # On other systems `require_posix` raises a clear error later.
    # When this module is imported, and not later: the hooks that were registered first run last, so
    # this thread holds `no_fork` for as short a time as possible.
    os.register_at_fork(
        before=no_fork.acquire,
        after_in_parent=no_fork.release,
        after_in_child=_after_in_child,
    )
