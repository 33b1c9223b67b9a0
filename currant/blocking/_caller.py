"""`Caller`: a task of an event loop that makes the calls of one thread.

currant decides by tasks whether a command waits for its readers: a task that has read may read
again, unless it waits for a command.  So each thread has one task, which lives as long as the
thread, and the rules for tasks hold for threads: a command waits for a thread that is slow to read,
but not for a thread that itself waits for a command.

A thread waits for one call at a time, the wanted call.  The task cancels any other call, because
its thread has given it up.  So an interrupt may come between any two steps of `Caller.call`.

Rejected: `anyio.from_thread.BlockingPortal.call`, which starts a task for each call.  A reader
whose task has ended counts as gone, and its output is discarded.  Rejected: a `Future` for the
outcome.  Its lock is taken in Python code, where Ctrl-C can leave it locked.
"""

from __future__ import annotations

from queue import SimpleQueue
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio

from currant._synchronization import Notifier
from currant.blocking._waiting import wait_for_item

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from currant._synchronization import HomeLoop

__all__ = ["BlockEndedError", "Caller"]

__tracebackhide__ = True  # pytest leaves these frames out


class BlockEndedError(RuntimeError):
    """A call came after the end of the block."""

    def __init__(self) -> None:
        super().__init__("the block of the blocking Runner has ended")


class _Outcome(NamedTuple):
    value: Any
    error: BaseException | None


class _Call:
    """A call that a thread waits for; only its first outcome counts."""

    __slots__ = ("_function", "_outcomes", "_scope")

    def __init__(self, function: Callable[[], Awaitable[Any]]) -> None:
        self._function = function
        self._outcomes: SimpleQueue[_Outcome] = SimpleQueue()
        self._scope: anyio.CancelScope | None = None

    async def make(self) -> None:
        """Call the function, and give the outcome to the thread; without one if cancelled."""
        with anyio.CancelScope() as self._scope:
            try:
                self._outcomes.put(_Outcome(await self._function(), None))
            except Exception as error:
                self._outcomes.put(_Outcome(None, error))

    def cancel(self) -> None:
        """Cancel the call if it is being made: the thread no longer waits for it."""
        if self._scope is not None:
            self._scope.cancel()

    def refuse(self) -> None:
        """Make `result` raise an error, unless there is an outcome; any thread may call this."""
        self._outcomes.put(_Outcome(None, BlockEndedError()))

    def result(self) -> Any:  # noqa: ANN401 - what the function returns
        """Wait for the outcome: return what the function has returned, or raise its error."""
        value, error = wait_for_item(self._outcomes)
        if error is None:
            return value
        try:
            raise error
        finally:
            del error  # The error refers to this frame.


class Caller:
    """Makes the calls of one thread.

    Args:
        home: the event loop.
    """

    def __init__(self, home: HomeLoop) -> None:
        self._home = home
        self._lock = Lock()  # so that no call is submitted after the end
        self._is_closed = False
        self._wanted: _Call | None = None
        self._made: _Call | None = None  # the last call, perhaps unfinished
        self._change = Notifier()

    async def serve(self) -> None:
        """Make the calls of the thread until `close` or `abort`.

        Cancellation: as `abort`.
        """
        try:
            while True:
                wanted = self._wanted
                if wanted is not None and wanted is not self._made:
                    self._made = wanted
                    await wanted.make()
                elif self._is_closed:
                    return
                else:
                    await self._change.wait()
        finally:
            self.abort()

    def call(self, function: Callable[[], Awaitable[Any]]) -> Any:  # noqa: ANN401 - what it returns
        """Await an async function in the event loop, and return what it returns.

        A signal handler of this thread may interrupt the call with an exception, as Ctrl-C does.
        Then the call is cancelled in the event loop.

        Raises:
            RuntimeError: the block has ended.
        """
        call = _Call(function)
        try:
            self._submit(call)
            result = call.result()
        except BaseException:
            self._wanted = None
            self._notify()
            raise
        self._wanted = None
        return result

    def _submit(self, call: _Call) -> None:
        with self._lock:
            if self._is_closed:
                raise BlockEndedError
            self._wanted = call
        self._notify()

    @property
    def is_busy(self) -> bool:
        """Whether the thread waits for a call; if it asks, it is in a signal handler."""
        return self._wanted is not None

    def close(self) -> None:
        """Take no more calls, but let the call that is being made end; any thread may call this."""
        with self._lock:
            self._is_closed = True
        self._notify()

    def abort(self) -> None:
        """Take no more calls, and refuse a call that is being made; any thread may call this."""
        with self._lock:
            self._is_closed = True
            unfinished, self._wanted = self._wanted, None
        if unfinished is not None:
            unfinished.refuse()
        self._notify()

    def _notify(self) -> None:
        self._home.call_soon_threadsafe(self._notice)

    def _notice(self) -> None:
        """Cancel a call that the thread no longer waits for, and wake the task."""
        if self._made is not None and self._made is not self._wanted:
            self._made.cancel()
        self._change.notify_all()
