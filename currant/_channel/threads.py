"""Work that may block, such as writing to a slow disk, outside of the event loop."""

from __future__ import annotations

import errno
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

    Raises:
        BlockingIOError: the system allows no more threads.
    """
    # With a limiter of its own, a slow file takes no thread from the rest of the program, and the
    # rest of the program does not delay the output.
    limiter = anyio.CapacityLimiter(1)
    try:
        return await to_thread.run_sync(work, abandon_on_cancel=True, limiter=limiter)
    except RuntimeError as error:
        if "can't start new thread" not in str(error):
            raise
        # To the caller, that is a failure of the system like those of `work`, such as a full disk.
        problem = "the system allows no more threads ('ulimit -u')"
        raise BlockingIOError(errno.EAGAIN, problem) from error
