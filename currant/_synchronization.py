"""Ways to wait, to wake a task, to run tasks beside a block, and to keep interrupts out.

The kill barrier holds each watcher task until the command must stop.  The Rust crate `currant` has
the same barrier: a gate that opens once, lets all current waiters pass, and lets all later waiters
pass at once.  So a process that is started after a kill is stopped like every earlier process.
Here each command has a separate barrier, a child of the Runner's barrier.  Throwing the parent
throws every child in the same step, so a watcher waits for a single barrier, even if the kill is
meant for all commands.

The notifier announces that some state has changed.  Rejected: `anyio.Condition`.  A caller must
hold a lock to notify, and most changes are made in plain functions, which cannot wait for a lock.

The home loop is the event loop in which the tasks of a barrier wait.  Only code that runs in a loop
may wake the loop's tasks, so threads and signal handlers have a function called there instead.
"""

from __future__ import annotations

import sys
from collections import deque
from contextlib import asynccontextmanager, suppress
from threading import get_ident
from typing import TYPE_CHECKING, Any, TypeVarTuple, cast

import anyio
from anyio.lowlevel import checkpoint, current_token

from currant._values.errors import WrongLoopError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine
    from types import CodeType, FunctionType

    from anyio.abc import TaskGroup

__all__ = [
    "ChildBarrier",
    "HomeLoop",
    "KillBarrier",
    "Notifier",
    "keep_interrupts_out",
    "running_loop",
    "start_task",
    "task_group_beside",
]


Args = TypeVarTuple("Args")


@asynccontextmanager
async def task_group_beside() -> AsyncGenerator[TaskGroup]:
    """Open a task group that raises an error of its block as it is.

    A task group of anyio puts that error into an `ExceptionGroup`.  Here an error of the block
    cancels no task, so the block itself has to end the tasks (``finally``).  An error of a task is
    in an `ExceptionGroup`, as usual.

    Cancellation: cancels the tasks.
    """
    failure: BaseException | None = None
    async with anyio.create_task_group() as tasks:
        try:
            yield tasks
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as error:
            failure = error
    if failure is not None:
        raise failure


class HomeLoop:
    """An event loop that can be reached from other threads and from signal handlers."""

    __slots__ = ("_calls", "_has_calls", "_loop", "_thread")

    def __init__(self) -> None:
        self._loop: Any = None  # an asyncio event loop or a TrioToken
        self._thread: int | None = None  # the thread of the loop
        self._calls: deque[Callable[[], object]] = deque()
        self._has_calls = Notifier()

    def check(self, call: str) -> None:
        """Adopt the event loop that runs here, at the first check; later, require that loop.

        Args:
            call: the call that needs the loop, for the error.

        Raises:
            WrongLoopError: no event loop runs in this thread, or another one.
        """
        try:
            loop = running_loop()
        except RuntimeError as error:
            raise WrongLoopError(call) from error
        if self._loop is None:
            self._loop, self._thread = loop, get_ident()
        elif loop is not self._loop:
            raise WrongLoopError(call)

    def check_thread(self, call: str) -> None:
        """Do as `check`, but trust the thread of the loop: `check` is too slow for each message.

        Raises:
            WrongLoopError: as for `check`.
        """
        if get_ident() != self._thread:
            self.check(call)

    def call_soon_threadsafe(self, function: Callable[[], object]) -> None:
        """Have `function` called in the loop, outside of any task; return at once.

        Any thread and any signal handler may call this.  A loop that sleeps wakes up.  Without a
        loop, and after its end, this does nothing.
        """
        loop = self._loop
        if loop is not None:
            schedule = getattr(loop, "run_sync_soon", None) or loop.call_soon_threadsafe
            with suppress(RuntimeError):  # The loop has ended.
                schedule(function)

    def call_in_task(self, function: Callable[[], object]) -> None:
        """Call `function` now if this is a task of the loop; otherwise do as `call_in_task_soon`.

        For finalizers, since the garbage collector runs in any thread and between any two tasks,
        and for callbacks and signal handlers, which do not wake a loop that sleeps.
        """
        try:
            anyio.get_current_task()
            is_here = self._loop in (None, current_token().native_token)
        except (RuntimeError, TypeError):  # Outside of a task, anyio 4.14 raises TypeError.
            is_here = False
        if is_here:
            function()
        else:
            self.call_in_task_soon(function)

    def call_in_task_soon(self, function: Callable[[], object]) -> None:
        """Have the task in `run_calls` call `function`, which may start tasks; return at once.

        Any thread and any signal handler may call this.
        """
        self._calls.append(function)
        self.call_soon_threadsafe(self._has_calls.notify_all)

    async def run_calls(self) -> None:
        """Call the functions of `call_in_task_soon`, until this task is cancelled."""
        while True:
            while self._calls:
                self._calls.popleft()()
            await self._has_calls.wait()


def running_loop() -> object:
    """Return the event loop that runs in this thread: an asyncio event loop or a TrioToken.

    anyio sees an event loop of asyncio that it has not started only from within a task, and not
    from a callback: of a timer, of `add_signal_handler`, of `call_soon_threadsafe`.

    Raises:
        RuntimeError: none runs.
    """
    try:
        return current_token().native_token
    except RuntimeError:
        if "asyncio" not in sys.modules:  # Then no event loop of asyncio runs.
            raise
        return sys.modules["asyncio"].get_running_loop()


class KillBarrier:
    """A gate that is thrown open once and never closes again.

    A barrier may be built anywhere.  Any thread and any signal handler may throw it.  All tasks
    that wait at it must run in one event loop.
    """

    __slots__ = ("_children", "_event", "_home", "_reason", "_thrown")

    def __init__(self) -> None:
        self._begin(HomeLoop())

    def _begin(self, home: HomeLoop) -> None:
        self._event: anyio.Event | None = None  # as soon as a task waits
        self._home = home
        self._reason: str | None = None
        self._thrown = False
        self._children: dict[KillBarrier, None] = {}  # those that have not been opened

    def __repr__(self) -> str:
        state = f"thrown, reason={self.reason!r}" if self.thrown else "closed"
        return f"<KillBarrier {state}>"

    @property
    def thrown(self) -> bool:
        """Whether the barrier has been thrown."""
        return self._thrown

    @property
    def reason(self) -> str | None:
        """The reason given to the first `throw`; None before that, or if there was no reason."""
        return self._reason

    def throw(self, reason: str | None = None) -> None:
        """Let all current and later waiters pass; only the first call counts.

        Returns at once; waiters continue when the event loop next runs them.  Any thread and any
        signal handler may call this.

        Args:
            reason: why the commands are stopped, for `reason`.
        """
        if self.thrown:
            return
        self._reason = reason
        # Tasks that come to wait from here on pass.  The loop wakes the tasks that wait already.
        self._thrown = True
        self._home.call_soon_threadsafe(self._open)

    async def wait(self) -> None:
        """Wait until the barrier is thrown; return at once if that has happened.

        This does not count as waiting for the commands, as `join` does: it discards no unread
        output (see ``Runner(unread=...)``).

        Cancellation: harmless at any time.

        Raises:
            WrongLoopError: a task of another event loop has waited before.
        """
        # In this order: a thread that throws the barrier in between has the loop wake this task.
        self._home.check_thread("KillBarrier.wait")
        if self.thrown:
            await checkpoint()
            return
        if self._event is None:
            self._event = anyio.Event()
        await self._event.wait()

    def _open(self) -> None:
        """Wake the tasks that wait at this barrier and at its children; called in the loop."""
        if self._event is not None:
            self._event.set()
        children, self._children = self._children, {}
        for child in children:
            child._open()  # noqa: SLF001 - the other half of the same class


class ChildBarrier(KillBarrier):
    """A barrier that is thrown along with its parent, and may be thrown alone.

    Args:
        parent: if already thrown, the child is thrown from the start, for the same reason.
    """

    __slots__ = ("_parent",)

    def __init__(self, parent: KillBarrier) -> None:
        self._begin(parent._home)  # noqa: SLF001 - the other half of the same class
        self._parent = parent
        parent._children[self] = None  # noqa: SLF001 - the other half of the same class

    @property
    def thrown(self) -> bool:
        """Whether this barrier or its parent has been thrown."""
        return self._thrown or self._parent.thrown

    @property
    def reason(self) -> str | None:
        """The reason of this barrier, or else of the parent."""
        return self._reason if self._thrown else self._parent.reason

    def throw_in_loop(self, reason: str | None = None) -> None:
        """Let all waiters pass at once; call this in the event loop only."""
        if not self.thrown:
            self._reason = reason
        self._thrown = True
        self._open()

    def _open(self) -> None:
        """Wake the waiters; the parent forgets the child, since commands come and go."""
        super()._open()
        self._parent._children.pop(self, None)  # noqa: SLF001 - the other half of the same class


class Notifier:
    """Wakes every task that waits at that moment; later waiters wait for the next call.

    A notifier costs nothing if no task waits, and may be built outside an event loop.
    """

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event: anyio.Event | None = None

    def notify_all(self) -> None:
        """Wake every waiting task; return at once."""
        if self._event is not None:
            self._event.set()
            self._event = None

    async def wait_for(self, predicate: Callable[[], bool]) -> None:
        """Wait until `predicate` returns true; check now and after each notification.

        Cancellation: harmless at any time.
        """
        while not predicate():
            await self.wait()

    async def wait(self) -> None:
        """Wait for the next notification.

        Cancellation: harmless at any time.
        """
        if self._event is None:
            self._event = anyio.Event()
        await self._event.wait()


_protected: set[CodeType] = set()


def keep_interrupts_out(function: Callable[..., object]) -> None:
    """Let Ctrl-C interrupt no step of `function` from now on, nor of what it calls.

    By default trio raises KeyboardInterrupt between any two steps.  In the middle of a start, that
    would lose the process, and a lost process is killed without its grace.  Now trio waits until
    the main task does, as asyncio and uvloop always do.
    """
    code = cast("FunctionType", function).__code__
    if code not in _protected and (trio := sys.modules.get("trio")) is not None:
        _protected.add(code)  # Asking trio takes 4 µs.
        trio.lowlevel.enable_ki_protection(function)


def start_task(
    tasks: TaskGroup, function: Callable[[*Args], Coroutine[Any, Any, object]], *args: *Args
) -> None:
    """Start a task that Ctrl-C does not interrupt, from its first step on.

    If Ctrl-C ended such a task while the main task waits for a grace, the main task would not
    learn of it before the grace is over.
    """
    keep_interrupts_out(function)
    tasks.start_soon(function, *args)
