"""`Callers`: the callers of all threads that use one blocking Runner.

The thread that enters the block has the task of the block.  Every other thread gets a task at its
first call, which ends when the thread ends.
"""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from threading import RLock, get_ident, local
from typing import TYPE_CHECKING, TypeVar, cast

import anyio

from currant._synchronization import HomeLoop, task_group_beside
from currant._values.checks import check_seconds
from currant.blocking._caller import BlockEndedError, Caller

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from anyio.abc import TaskGroup

__all__ = ["Callers"]

__tracebackhide__ = True  # pytest leaves these frames out

T = TypeVar("T")

NOT_ENTERED = "the blocking Runner has not been entered; use 'with Runner(...)'"


class _ThreadLife:
    """A thread-local value, which is deleted when the thread ends: then its caller ends, too."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._process = os.getpid()

    def __del__(self) -> None:
        if os.getpid() == self._process:  # A fork has none of the other threads, and no event loop.
            self._caller.abort()


class Callers:
    """Makes the calls of all threads in the event loop of the block.

    Attributes:
        owner: makes the calls of the thread that enters the block.
    """

    def __init__(self) -> None:
        self._home = HomeLoop()
        self.owner: Caller = Caller(self._home)
        self._others: set[Caller] = set()
        self._threads = local()
        self._tasks: TaskGroup | None = None  # of the others
        self._lock = RLock()  # so that no caller is added after the end
        self._is_over = False
        self._process = os.getpid()
        self._loop_thread: int | None = None

    @property
    def is_in_fork(self) -> bool:
        """Whether this process is a fork, which has no thread for the event loop."""
        return os.getpid() != self._process

    def adopt_owner(self) -> None:
        """Use `owner` for the calls of this thread, which enters the block.

        This thread may end before the block, and `owner` then goes on.
        """
        self._threads.caller = self.owner

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Take calls of all threads; at the end, wait for the calls that are being made."""
        self._home.check("the entry of a blocking Runner")
        self._loop_thread = get_ident()
        try:
            async with task_group_beside() as self._tasks:
                starting = anyio.CancelScope()
                self._tasks.start_soon(self._start_tasks, starting)
                try:
                    yield
                finally:
                    self._close()
                    starting.cancel()
        finally:
            for caller in self._others:  # Their tasks may never have begun.
                caller.abort()

    async def _start_tasks(self, scope: anyio.CancelScope) -> None:
        with scope:
            await self._home.run_calls()

    def _close(self) -> None:
        with self._lock:
            self._is_over = True
        for caller in self._others:
            caller.close()

    def call(self, function: Callable[[], Awaitable[T]]) -> T:
        """Await an async function in the task of this thread, and return what it returns.

        Raises:
            RuntimeError: the block has not been entered or has ended, or this is the thread of the
                event loop, or a fork.
        """
        tasks = self._opened_tasks()
        caller: Caller | None = getattr(self._threads, "caller", None)
        if caller is None:
            caller = self._new_caller(tasks)
            self._threads.life = _ThreadLife(caller)
            self._threads.caller = caller
        if not caller.is_busy:
            return cast("T", caller.call(function))
        nested = self._new_caller(tasks)  # This is a signal handler that has interrupted a call.
        try:
            return cast("T", nested.call(function))
        finally:
            nested.abort()

    def call_within(
        self,
        timeout: float | None,
        what: str,
        function: Callable[[], Awaitable[T]],
        why: Callable[[], str | None] = lambda: None,
    ) -> T:
        """Do as `call`, for a limited time.

        Args:
            timeout: seconds to wait; None: no limit.
            what: how the error begins, such as "command 'web' is not ready".
            function: the async function.
            why: returns the reason for the error, in the event loop; None: it is not known.

        Raises:
            TimeoutError: the time is over; the call was cancelled.
            CommandError: `timeout` is no number of seconds.
            RuntimeError: as for `call`.
        """
        check_seconds("timeout", timeout)

        async def call() -> T:
            with anyio.move_on_after(timeout):
                return await function()
            reason = why()
            raise TimeoutError(f"{what} after {timeout:g} s" + (f" ({reason})" if reason else ""))

        return self.call(call)

    def call_sync(self, function: Callable[[], T]) -> T:
        """Do as `call`, with a function that is not async."""

        async def call() -> T:
            return function()

        return self.call(call)

    def look(self, function: Callable[[], T]) -> T:
        """Call a function that reads what the tasks of the event loop change; return its value.

        The call is made in the event loop, where no task runs meanwhile.  Before and after the
        block nothing changes, and the function is called in this thread.
        """
        if self._tasks is None or self._is_over:
            return function()
        try:
            return self.call_sync(function)
        except BlockEndedError:  # just now
            return function()

    def _opened_tasks(self) -> TaskGroup:
        """Return the task group; check that this thread may make calls.

        Raises:
            RuntimeError: as for `call`.
        """
        if self.is_in_fork:
            raise RuntimeError("this process is a fork, without the thread of the blocking Runner")
        if self._tasks is None:
            raise RuntimeError(NOT_ENTERED)
        self.check_thread()
        return self._tasks

    def check_thread(self) -> None:
        """Check that this is not the thread of the event loop.

        Raises:
            RuntimeError: it is.
        """
        if get_ident() == self._loop_thread and not self._is_over:
            raise RuntimeError("a call in the thread of the event loop would wait for itself")

    def _new_caller(self, tasks: TaskGroup) -> Caller:
        caller = Caller(self._home)
        with self._lock:
            if self._is_over:
                raise BlockEndedError
            self._others.add(caller)
        self._home.call_in_task_soon(lambda: tasks.start_soon(self._serve, caller))
        return caller

    async def _serve(self, caller: Caller) -> None:
        try:
            await caller.serve()
        finally:
            self._others.discard(caller)
