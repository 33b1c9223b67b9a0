"""Work that may block, such as writing to a slow disk, outside of the event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import anyio
from anyio import to_thread

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["in_thread"]

T = TypeVar("T")


async def in_thread(work: Callable[[], T]) -> T:
    """Call `work` in a worker thread, and return the result.

    Cancellation: a thread cannot be interrupted, so the thread goes on alone.
    """
    # With a limiter of its own, a slow file takes no thread from the rest of the program, and the
    # rest of the program does not delay the output.
    return await to_thread.run_sync(work, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1))
