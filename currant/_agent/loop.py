"""A small event loop with the names of anyio that `currant._process` and this package use.

An agent runs currant's own modules on a host where nothing is installed.  There, this module has
the name `anyio`.  anyio itself would be five times as much to send, takes 0.1 s to import with
asyncio, and needs Python 3.10; this module needs the standard library of Python 3.9 alone.

The loop behaves as anyio does, with these differences:

- There is one loop in a process, on one thread.
- A task group raises the first error of its tasks, or of its body, and not a group of errors.
- A scope swallows a cancellation if no scope around it asks for the same, as in trio.

A task is a coroutine that yields to wait.  The value that it yields is a function that breaks off
the wait, or None if the wait cannot be cancelled.  Cancellation is a state, not an event: as long
as a scope around a task is cancelled, each wait of the task raises `Cancelled`.
"""

from __future__ import annotations

import selectors
from collections import deque
from functools import partial
from heapq import heapify, heappop, heappush
from itertools import count
from math import inf
from time import monotonic as current_time
from types import coroutine
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator
    from types import TracebackType
    from typing import Self

__all__ = [
    "BrokenResourceError",
    "ByteReceiveStream",
    "ByteSendStream",
    "CancelScope",
    "ClosedResourceError",
    "EndOfStream",
    "Event",
    "Lock",
    "checkpoint",
    "create_task_group",
    "current_time",
    "get_cancelled_exc_class",
    "move_on_after",
    "notify_closing",
    "run",
    "sleep",
    "wait_readable",
    "wait_writable",
]


CANCELLED_TIMERS = 100
"""How many cancelled timers may stay in the heap; more only if the heap has as many others."""


MAX_SLEEP = 3600.0
"""Seconds that the loop sleeps at most; the system takes no timeout of a month."""


class BrokenResourceError(Exception):
    """The other end of a stream is gone."""


class ClosedResourceError(Exception):
    """The stream or file was closed at this end."""


class EndOfStream(Exception):  # noqa: N818 - the name is anyio's
    """The stream has ended."""


class Cancelled(BaseException):
    """A scope around the task was cancelled."""


def get_cancelled_exc_class() -> type[BaseException]:
    """Return the exception that a cancellation raises."""
    return Cancelled


class ByteReceiveStream:
    """A stream of bytes to receive."""

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Return at most `max_bytes`; wait for the first one."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """Close the stream."""
        raise NotImplementedError


class ByteSendStream:
    """A stream to send bytes to."""

    async def send(self, item: bytes) -> None:
        """Send all of `item`."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """Close the stream."""
        raise NotImplementedError


# ---- the loop ----


class _Task:
    """A coroutine that runs; `abort` breaks off its wait, or is None if the wait must go on."""

    __slots__ = ("abort", "coroutine", "on_end", "scope")

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, object],
        scope: CancelScope,
        on_end: Callable[[BaseException | None], object],
    ) -> None:
        self.coroutine = coroutine
        self.scope = scope
        self.on_end = on_end
        self.abort: Callable[[], object] | None = None


class _Timer:
    """A call at a given time; `call` is None once the call was made or cancelled."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], object]) -> None:
        self.call: Callable[[], object] | None = call


class _Loop:
    """Runs tasks, calls timers, and watches files.

    Attributes:
        task: the task that runs now.
    """

    def __init__(self) -> None:
        self.task: _Task
        self._ready: deque[tuple[_Task, BaseException | None]] = deque()
        self._timers: list[tuple[float, int, _Timer]] = []
        self._timer_numbers = count()
        self._cancelled_timers = 0
        self._selector = selectors.DefaultSelector()
        self._waiting: dict[int, dict[int, _Task]] = {}  # by the file and the kind of event

    def close(self) -> None:
        self._selector.close()

    def spawn(
        self,
        coroutine: Coroutine[Any, Any, object],
        scope: CancelScope,
        on_end: Callable[[BaseException | None], object],
    ) -> None:
        """Start a task inside `scope`; `on_end` is called with its error or None."""
        task = _Task(coroutine, scope, on_end)
        scope.members.add(task)
        self._ready.append((task, None))

    def wake(self, task: _Task, error: BaseException | None = None) -> None:
        """End the wait of a task; no other event may wake the task any more."""
        task.abort = None
        self._ready.append((task, error))

    def interrupt(self, task: _Task) -> None:
        """Break off the wait of a cancelled task, if it waits and may be interrupted."""
        abort = task.abort
        if abort is not None:
            abort()
            self.wake(task, Cancelled())

    def call_at(self, when: float, call: Callable[[], object]) -> _Timer:
        timer = _Timer(call)
        heappush(self._timers, (when, next(self._timer_numbers), timer))
        return timer

    def cancel_timer(self, timer: _Timer) -> None:
        if timer.call is None:
            return
        timer.call = None
        self._cancelled_timers += 1
        if self._cancelled_timers > max(CANCELLED_TIMERS, len(self._timers) // 2):
            self._timers = [entry for entry in self._timers if entry[2].call is not None]
            heapify(self._timers)
            self._cancelled_timers = 0

    def watch(self, fd: int, event: int, task: _Task) -> None:
        """Wake `task` when the file is ready.

        Raises:
            RuntimeError: another task waits for the same event of the file.
        """
        waiting = self._waiting.get(fd)
        if waiting is None:
            self._selector.register(fd, event)
            self._waiting[fd] = {event: task}
        elif event in waiting:
            raise RuntimeError(f"another task waits for the file {fd} already")
        else:
            waiting[event] = task
            self._selector.modify(fd, selectors.EVENT_READ | selectors.EVENT_WRITE)

    def unwatch(self, fd: int, event: int) -> None:
        """Wake no task any more when the file is ready."""
        waiting = self._waiting[fd]
        del waiting[event]
        if waiting:
            self._selector.modify(fd, next(iter(waiting)))
        else:
            del self._waiting[fd]
            self._selector.unregister(fd)

    def wake_watchers(self, fd: int, events: int, error: BaseException | None = None) -> None:
        """Wake the tasks that wait for one of `events`."""
        for event, task in list(self._waiting.get(fd, {}).items()):
            if event & events:
                self.unwatch(fd, event)
                self.wake(task, error)

    def run_once(self) -> None:
        """Wait for events, and run each task that is ready until its next wait."""
        for key, events in self._selector.select(self._time_until_next()):
            self.wake_watchers(key.fd, events)
        self._call_timers()
        for _ in range(len(self._ready)):
            self._step(*self._ready.popleft())

    def _time_until_next(self) -> float | None:
        """Return how long the loop may sleep; None: until a file is ready."""
        if self._ready:
            return 0
        if not self._timers:
            return None
        return min(max(0, self._timers[0][0] - current_time()), MAX_SLEEP)

    def _call_timers(self) -> None:
        now = current_time()
        while self._timers and self._timers[0][0] <= now:
            timer = heappop(self._timers)[2]
            call, timer.call = timer.call, None
            if call is None:
                self._cancelled_timers -= 1
            else:
                call()

    def _step(self, task: _Task, error: BaseException | None) -> None:
        """Run a task until it waits or ends."""
        self.task = task
        try:
            abort = task.coroutine.throw(error) if error else task.coroutine.send(None)
        except StopIteration:
            self._end(task, None)
        except BaseException as raised:
            self._end(task, raised)
        else:
            task.abort = abort
            if abort is not None and task.scope.is_cancelled():
                self.interrupt(task)

    def _end(self, task: _Task, error: BaseException | None) -> None:
        task.scope.members.discard(task)
        task.on_end(error)


_loop: _Loop


def run(function: Callable[..., Coroutine[Any, Any, object]], *args: object) -> None:
    """Run a task, and the tasks that it starts, until it ends; raise its error."""
    global _loop  # noqa: PLW0603 - there is one in a process
    _loop = _Loop()
    ends: list[BaseException | None] = []
    _loop.spawn(function(*args), CancelScope(), ends.append)
    try:
        while not ends:
            _loop.run_once()
    finally:
        _loop.close()
    if ends[0] is not None:
        raise ends[0]


@coroutine
def _wait(abort: Callable[[], object] | None) -> Generator[object, None, None]:
    """Wait until the task is woken; a cancellation calls `abort`, or is delayed if that is None."""
    yield abort


# ---- cancellation ----


class CancelScope:
    """A block whose waits can be cancelled together.

    Args:
        deadline: the time at which the scope cancels itself.
        shield: whether a cancellation from outside does not reach into the scope.

    Attributes:
        shield: as given.
        cancel_called: whether the scope was cancelled.
        cancelled_caught: whether the scope has swallowed its cancellation.
        members: the tasks whose innermost scope this is, and the scopes inside this one.
    """

    def __init__(self, *, deadline: float = inf, shield: bool = False) -> None:
        self.shield = shield
        self.cancel_called = False
        self.cancelled_caught = False
        self.members: set[_Task | CancelScope] = set()
        self._deadline = deadline
        self._timer: _Timer | None = None
        self._parent: CancelScope | None = None

    def __enter__(self) -> Self:
        task = _loop.task
        self._parent = task.scope
        self._parent.members.discard(task)
        self._parent.members.add(self)
        self.members.add(task)
        task.scope = self
        if self._deadline <= current_time():
            self.cancel()
        elif self._deadline != inf:
            self._timer = _loop.call_at(self._deadline, self.cancel)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        task, parent = _loop.task, self._parent
        assert parent is not None
        assert task.scope is self
        if self._timer is not None:
            _loop.cancel_timer(self._timer)
        self.members.discard(task)
        parent.members.discard(self)
        parent.members.add(task)
        task.scope = parent
        is_own = self.cancel_called and (self.shield or not parent.is_cancelled())
        if is_own and isinstance(exc, Cancelled):
            self.cancelled_caught = True
        return self.cancelled_caught

    def cancel(self) -> None:
        """Cancel the scope: every wait inside raises `Cancelled`, now and later."""
        if not self.cancel_called:
            self.cancel_called = True
            self._deliver()

    def is_cancelled(self) -> bool:
        """Return whether this scope is cancelled, or one around it that it is not shielded from."""
        scope: CancelScope | None = self
        while scope is not None:
            if scope.cancel_called:
                return True
            scope = None if scope.shield else scope._parent  # noqa: SLF001 - the same class
        return False

    def _deliver(self) -> None:
        for member in list(self.members):
            if isinstance(member, _Task):
                _loop.interrupt(member)
            elif not member.shield:
                member._deliver()  # noqa: SLF001 - the same class


def move_on_after(seconds: float, *, shield: bool = False) -> CancelScope:
    """Return a scope that cancels itself after `seconds`."""
    return CancelScope(deadline=current_time() + seconds, shield=shield)


# ---- tasks ----


class TaskGroup:
    """A block that ends when all tasks started in it have ended; an error cancels the others.

    Attributes:
        cancel_scope: the scope of all tasks, and of the body.
    """

    def __init__(self) -> None:
        self.cancel_scope = CancelScope()
        self._running = 0
        self._errors: list[BaseException] = []
        self._waiter: _Task | None = None

    async def __aenter__(self) -> Self:
        self.cancel_scope.__enter__()
        return self

    def start_soon(
        self,
        function: Callable[..., Coroutine[Any, Any, object]],
        *args: object,
        name: object = None,  # noqa: ARG002 - part of anyio's signature
    ) -> None:
        """Start a task, which runs as soon as this one waits."""
        self._running += 1
        _loop.spawn(function(*args), self.cancel_scope, self._on_end)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._note(exc)
        if self._running:
            self._waiter = _loop.task
            await _wait(None)  # A cancellation reaches the tasks, and so ends this wait.
        self._errors.sort(key=lambda error: isinstance(error, Cancelled))
        error = self._errors[0] if self._errors else None
        if self.cancel_scope.__exit__(type(error) if error else None, error, None):
            return True
        if error is None or error is exc:
            return False
        raise error

    def _on_end(self, error: BaseException | None) -> None:
        self._running -= 1
        self._note(error)
        if self._waiter is not None and not self._running:
            _loop.wake(self._waiter)

    def _note(self, error: BaseException | None) -> None:
        if error is not None:
            self._errors.append(error)
            self.cancel_scope.cancel()


def create_task_group() -> TaskGroup:
    """Return a new task group."""
    return TaskGroup()


# ---- waiting ----


async def checkpoint() -> None:
    """Let other tasks run; raise `Cancelled` if the task is cancelled."""
    _loop.wake(_loop.task)
    await _wait(None)
    if _loop.task.scope.is_cancelled():
        raise Cancelled


async def sleep(seconds: float) -> None:
    """Wait for `seconds`."""
    if seconds <= 0:
        await checkpoint()
        return
    timer = _loop.call_at(current_time() + seconds, partial(_loop.wake, _loop.task))
    await _wait(partial(_loop.cancel_timer, timer))


async def wait_readable(fd: int) -> None:
    """Wait until a file can be read without waiting.

    Raises:
        ClosedResourceError: `notify_closing` was called meanwhile.
    """
    await _wait_for_file(fd, selectors.EVENT_READ)


async def wait_writable(fd: int) -> None:
    """Wait until a file can be written without waiting; otherwise as `wait_readable`."""
    await _wait_for_file(fd, selectors.EVENT_WRITE)


async def _wait_for_file(fd: int, event: int) -> None:
    _loop.watch(fd, event, _loop.task)
    await _wait(partial(_loop.unwatch, fd, event))


def notify_closing(fd: int) -> None:
    """Wake the tasks that wait for a file that is about to be closed."""
    events = selectors.EVENT_READ | selectors.EVENT_WRITE
    _loop.wake_watchers(fd, events, ClosedResourceError())


class Event:
    """Lets tasks wait until it is set."""

    def __init__(self) -> None:
        self._is_set = False
        self._waiters: dict[_Task, None] = {}

    def is_set(self) -> bool:
        """Return whether the event was set."""
        return self._is_set

    def set(self) -> None:
        """Let all tasks pass that wait now or later."""
        self._is_set = True
        waiters, self._waiters = self._waiters, {}
        for task in waiters:
            _loop.wake(task)

    async def wait(self) -> None:
        """Wait until the event is set."""
        if self._is_set:
            await checkpoint()
            return
        task = _loop.task
        self._waiters[task] = None
        await _wait(partial(self._waiters.pop, task))


class Lock:
    """Lets one task at a time pass, in the order in which they came.

    Args:
        fast_acquire: whether a lock that is free is acquired without a checkpoint.
    """

    def __init__(self, *, fast_acquire: bool = False) -> None:
        self._fast_acquire = fast_acquire
        self._is_held = False
        self._waiters: dict[_Task, None] = {}

    def locked(self) -> bool:
        """Return whether a task holds the lock."""
        return self._is_held

    async def __aenter__(self) -> None:
        if not self._fast_acquire:
            await checkpoint()
        if self._is_held:
            task = _loop.task
            self._waiters[task] = None
            await _wait(partial(self._waiters.pop, task))  # The lock is passed on to this task.
        self._is_held = True

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        first = next(iter(self._waiters), None)
        if first is None:
            self._is_held = False
        else:
            del self._waiters[first]
            _loop.wake(first)
