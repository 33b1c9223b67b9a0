"""`Background`: runs an async function in an event loop in the background, safe against Ctrl-C.

Ctrl-C may raise an exception between any two steps of a thread.  If it interrupts `start`, the
thread cannot know whether the function will run.  One atomic step decides (`_claim`): the function
runs, unless the thread has given up before.  Waiting for the end can be repeated.

Rejected: `anyio.from_thread.start_blocking_portal`, which hangs if Ctrl-C interrupts the start of
its event loop.  Rejected: `threading.Event` and `Future`.  Their locks are taken in Python code,
where Ctrl-C can leave them locked.
"""

from __future__ import annotations

from concurrent.futures import CancelledError
from queue import SimpleQueue
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, Literal

import anyio

from currant.blocking._waiting import LOOK_AGAIN, wait_for_item

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from anyio.from_thread import BlockingPortal

__all__ = ["Background"]

__tracebackhide__ = True  # pytest leaves these frames out


class Background:
    """Runs an async function once, in an event loop in a thread of its own, or in a portal.

    Args:
        function: calls `enter` when `start` may return.
        loop: keyword arguments of `anyio.run`; a portal has no use for them.
        portal: runs the function; None: a thread of its own does.

    Attributes:
        failure: the exception with which it has ended; None: there was none.
    """

    def __init__(
        self,
        function: Callable[[], Awaitable[None]],
        loop: dict[str, Any],
        portal: BlockingPortal | None,
    ) -> None:
        self.failure: BaseException | None = None
        self._function = function
        self._loop = loop
        self._portal = portal
        self._thread: Thread | None = None
        self._has_ended = False
        self._claims: dict[str, str] = {}
        self._entered: SimpleQueue[None] = SimpleQueue()
        self._running = Lock()
        self._running.acquire()  # `_end` releases it.

    @property
    def is_over(self) -> bool:
        """Whether the function has ended, or will never begin, and its thread has ended."""
        return self._has_ended and not (self._thread is not None and self._thread.is_alive())

    def start(self) -> None:
        """Start the function, and wait until it calls `enter`.

        If this is interrupted, the function may or may not run: call `wait_for_end`.

        Raises:
            BaseException: the function failed before it called `enter`.
            RuntimeError: the portal does not run, or this is its thread.
        """
        if self._portal is None:
            self._thread = Thread(target=self._run_loop, name="currant", daemon=True)
            self._thread.start()
        else:
            self._portal.start_task_soon(self._run_in_portal)
        wait_for_item(self._entered)
        if self.failure is not None:
            raise self.failure

    def enter(self) -> None:
        """Let `start` return."""
        self._entered.put(None)

    def wait_for_end(self) -> None:
        """Wait until the function and its thread have ended.

        If the function has not begun, it never will.  If this is interrupted, call it again.
        """
        if self._claim("exit"):
            self._has_ended = True
        while not self._has_ended:
            self._running.acquire(timeout=LOOK_AGAIN)
        if self._thread is not None and self._thread.is_alive():
            self._thread.join()

    def _claim(self, side: Literal["entry", "exit"]) -> bool:
        """Return whether this side comes first; if not, the other side has decided."""
        return self._claims.setdefault("first", side) == side

    def _run_loop(self) -> None:
        if self._claim("entry"):
            try:
                anyio.run(self._function, **self._loop)
            except BaseException as error:
                self.failure = error
            self._end()

    async def _run_in_portal(self) -> None:
        if self._claim("entry"):
            try:
                await self._function()
            except anyio.get_cancelled_exc_class():
                self.failure = CancelledError("the portal of the blocking Runner was stopped")
                raise
            except BaseException as error:
                self.failure = error
            finally:
                self._end()

    def _end(self) -> None:
        self._has_ended = True
        self._entered.put(None)
        self._running.release()
