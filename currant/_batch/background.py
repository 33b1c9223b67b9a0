"""Start a task that is not nested in the block of the caller.

`currant.map` returns an async iterator.  A loop over an iterator may be left at any point, so a
task group that the first step opened would stay open in the task of the caller.  Every cancel scope
around it would then be closed in the wrong order.  So the commands run in a task of their own.  The
event loop cancels this task when it ends, and waits for it.
"""

from __future__ import annotations

from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from anyio.lowlevel import current_token

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["start_in_background"]

_tasks: set[Any] = set()
"""Keeps the tasks alive: asyncio has only weak references to them."""


def start_in_background(function: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
    """Run an async function in a task that belongs to the event loop; return at once.

    The event loop cancels the task when it ends, and waits for it.

    Args:
        function: it must not raise, because nobody handles its errors.
        name: the name of the task.
    """
    loop: Any = current_token().native_token
    if hasattr(loop, "run_sync_soon"):  # a TrioToken
        import trio  # noqa: PLC0415 - it runs already

        trio.lowlevel.spawn_system_task(function, name=name, context=copy_context())
    else:
        task = loop.create_task(function(), name=name)
        _tasks.add(task)
        task.add_done_callback(_tasks.discard)
