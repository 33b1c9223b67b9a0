"""`Caller`: a task of an event loop that makes the calls of one thread.

currant looks at tasks: a task that waits for a command does not read, and a task that has read may
read again.  So each thread has one task, which lives as long as the thread, and whatever holds for
a task holds for the thread: if a thread is slow to read, the command waits; if the thread waits for
the command, nothing waits for the thread.

Rejected: `anyio.from_thread.BlockingPortal.call`, which starts a task for each call.  A reader
whose task has ended counts as gone, and its output is discarded.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from currant._synchronization import Notifier
from currant._values.checks import check_seconds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from currant._synchronization import HomeLoop

__all__ = ["Caller"]

__tracebackhide__ = True  # pytest leaves these frames out

T = TypeVar("T")

ENDED = "the block of the blocking Runner has ended"


@dataclass(eq=False, slots=True)
class _Call:
    """A call that a thread waits for; all but `future` belongs to the event loop."""

    function: Callable[[], Awaitable[Any]]
    future: Future[Any] = field(default_factory=Future)
    scope: anyio.CancelScope | None = None
    is_cancelled: bool = False

    async def make(self) -> None:
        """Call the function, and give the outcome to the thread."""
        if self.is_cancelled:
            return
        try:
            with anyio.CancelScope() as self.scope:
                self.future.set_result(await self.function())
        except Exception as error:
            self.future.set_exception(error)
        finally:
            self.refuse()

    def cancel(self) -> None:
        """End the call, or do not make it: the thread no longer waits."""
        self.is_cancelled = True
        if self.scope is not None:
            self.scope.cancel()

    def refuse(self) -> None:
        """Raise an error in the thread, unless the call was made."""
        if not self.future.done():
            self.future.set_exception(RuntimeError(ENDED))


class Caller:
    """Makes the calls of one thread, one after the other.

    Args:
        home: the event loop.
    """

    def __init__(self, home: HomeLoop) -> None:
        self._home = home
        self._calls: deque[_Call] = deque()
        self._change = Notifier()
        self._lock = Lock()  # between a last call and the end
        self._is_closed = False

    async def serve(self) -> None:
        """Make the calls of the thread until `close`, which lets the earlier calls end."""
        try:
            while True:
                await self._change.wait_for(lambda: bool(self._calls) or self._is_closed)
                if not self._calls:
                    return
                await self._calls.popleft().make()
        finally:
            self.close()
            for call in self._calls:
                call.refuse()

    def call(self, function: Callable[[], Awaitable[T]]) -> T:
        """Await an async function in the event loop, and return what it returns.

        A signal handler of this thread may interrupt the call with an exception, as Ctrl-C does.
        Then the call is cancelled in the event loop.

        Raises:
            RuntimeError: the block has ended.
        """
        call = _Call(function)
        try:
            with self._lock:
                if self._is_closed:
                    raise RuntimeError(ENDED)
                self._calls.append(call)
            self._wake()
            error = call.future.exception()
        finally:
            if not call.future.done():
                self._home.call_soon_threadsafe(call.cancel)
        if error is not None:
            raise error  # here, so that a traceback does not show the future
        result: T = call.future.result()
        return result

    def call_within(
        self, timeout: float | None, what: str, function: Callable[[], Awaitable[T]]
    ) -> T:
        """Do as `call`, for `timeout` seconds at most; `what` is not so, if the time is over.

        Raises:
            TimeoutError: the time is over; the call was cancelled.
            CommandError: `timeout` is no number of seconds.
            RuntimeError: the block has ended.
        """
        check_seconds("timeout", timeout)

        async def call() -> T:
            with anyio.move_on_after(timeout):
                return await function()
            raise TimeoutError(f"{what} after {timeout:g} s")

        return self.call(call)

    def look(self, function: Callable[[], T]) -> T:
        """Call a function between two steps of the tasks of the event loop, and return its value.

        For a look at what these tasks change.  After the end of the block nothing changes any more,
        and the function is called here.
        """

        async def call() -> T:
            return function()

        return function() if self._is_closed else self.call(call)

    def close(self) -> None:
        """Take no more calls; any thread may call this."""
        with self._lock:
            self._is_closed = True
        self._wake()

    def _wake(self) -> None:
        self._home.call_soon_threadsafe(self._change.notify_all)
