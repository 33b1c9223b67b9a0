"""The orphan guard that all calls of `run_process` in one event loop share.

A Runner starts a guard of its own.  For a single short process that would cost more than the
process itself.  So the first call in an event loop starts a guard, and the end of the loop ends it:
the guard is kept by an async generator that waits at its `yield`, and an event loop closes such
generators when it ends.  (If a program closes an asyncio loop and skips
`loop.shutdown_asyncgens`, the guard waits for the end of the program.)
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from anyio.lowlevel import RunVar

from currant._process.guard import OrphanGuard

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

__all__ = ["shared_guard"]


class _Shared(NamedTuple):
    guard: OrphanGuard
    keeper: AsyncGenerator[OrphanGuard]


_shared: RunVar[_Shared | None] = RunVar("currant_guard")


async def shared_guard(exit_limit: float) -> OrphanGuard:
    """Return the guard of this event loop; start one if there is none, or if it was killed.

    Cancellation: harmless.

    Args:
        exit_limit: how long the end of the loop waits for the exit of the guard, in seconds.
    """
    last = _shared.get(None)
    if last is not None and last.guard.is_alive:
        return last.guard
    keeper = _keep(exit_limit)
    shared = _Shared(await anext(keeper), keeper)
    _shared.set(shared)
    if last is not None:
        await last.keeper.aclose()  # This warns that the last guard was killed.
    return shared.guard


async def _keep(exit_limit: float) -> AsyncGenerator[OrphanGuard]:
    guard = OrphanGuard(os.urandom(8).hex(), exit_limit)
    guard.start()
    try:
        yield guard
    finally:
        shared = _shared.get(None)
        if shared is not None and shared.guard is guard:
            _shared.set(None)  # The keeper refers to the event loop, which could not be freed.
        guard.close()  # An `await` would fail here: trio closes generators in a cancelled scope.
