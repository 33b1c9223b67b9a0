"""Start a process in a new process group: the only caller of `anyio.open_process`.

With pidfds (Linux) each process is a `Child`, which starts faster than a process of the event loop
and behaves the same on every loop.  Without pidfds (macOS) the event loop starts the process,
because only the loop learns of the exit without polling.

A process in a terminal is a `Child` on every system: the process has to take the terminal between
fork and exec, and `anyio.open_process` has no hook for that.  The same holds if this program blocks
or ignores signals, and if the process stays in the session of this program.  A process with another
user, group or umask, or with further descriptors, is a `Child` too: uvloop cannot set these.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import anyio

from currant._process.child import Child, SpawnSpec
from currant._system.dispositions import differ_from_default
from currant._system.forks import starting
from currant._system.groups import has_pidfds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any, TypeAlias

    from anyio.abc import Process

__all__ = [
    "RETRY_DELAYS",
    "StartProcess",
    "default_start",
    "start_with_pidfd",
    "start_without_pidfd",
    "with_retries",
]

StartProcess: TypeAlias = "Callable[[SpawnSpec], Awaitable[Child | Process]]"
"""Starts a process in a new process group and returns once the program runs."""

RETRY_DELAYS = (0.005, 0.01, 0.02, 0.05)
"""Seconds between attempts to start a process that failed for a passing reason."""


def default_start() -> StartProcess:
    """Return the better of the two ways to start a process that this system has."""
    return start_with_pidfd if has_pidfds() else start_without_pidfd


async def start_with_pidfd(spec: SpawnSpec) -> Child:
    """Start a process; its pidfd reports the exit."""
    return Child(spec)


async def start_without_pidfd(spec: SpawnSpec) -> Child | Process:
    """Start a process by way of the event loop; if that cannot set it up, poll for the exit."""
    if not spec.is_plain or differ_from_default():
        return Child(spec, with_pidfd=False)
    options: dict[str, Any] = spec.options()
    # Bounded: a fork and an exec.  A cancelled start would lose the event loop's handle.
    with anyio.CancelScope(shield=True), starting():  # uvloop runs the hooks of a fork.
        process = await anyio.open_process(spec.argv, **options)
    # Both type checkers assume that every cancel scope swallows errors.
    return process  # noqa: RET504  # pyright: ignore[reportPossiblyUnboundVariable]


async def with_retries(start: StartProcess, spec: SpawnSpec) -> Child | Process:
    """Start a process; after a failure that will pass, retry for up to 0.1 s."""
    for delay in RETRY_DELAYS:
        try:
            return await start(spec)
        except (OSError, RuntimeError) as error:
            if not _is_passing(error):
                raise
        await anyio.sleep(delay)
    return await start(spec)


def _is_passing(error: OSError | RuntimeError) -> bool:
    if isinstance(error, OSError):
        # The program's file is still open for writing.  Another thread may have forked a child that
        # holds the file open until the child's own exec.
        return error.errno == errno.ETXTBSY
    # On uvloop, an event loop in another thread is starting a process at this moment.
    return "Racing" in str(error)
