"""`Failure`: the first error that stops a whole Runner and leaves the block."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import anyio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from currant._synchronization import KillBarrier

__all__ = ["Failure", "is_interrupt", "unwrapped"]


class Failure:
    """Keeps the first error, and throws the barrier for each.

    Args:
        barrier: the Runner's.
        on_interrupt: called for an interrupt, before the barrier is thrown.

    Attributes:
        error: the first error; None if there was none.
    """

    def __init__(self, barrier: KillBarrier, on_interrupt: Callable[[], None]) -> None:
        self.error: BaseException | None = None
        self._barrier = barrier
        self._on_interrupt = on_interrupt

    def note(self, error: BaseException) -> None:
        """Stop all commands because of `error`."""
        if self.error is None:
            self.error = error
        if is_interrupt(error):
            self._on_interrupt()
        self._barrier.throw(f"{type(error).__name__}: {error}")

    async def noting(self, part: Callable[[], Awaitable[object]]) -> None:
        """Run `part`, and note its error instead of raising it.

        Cancellation: passes through.
        """
        try:
            await part()
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as error:  # of a launcher or of the system, or Ctrl-C on trio
            self.note(unwrapped(error))

    def raise_first(self) -> None:
        """Raise the first error, if there is one."""
        if self.error is not None:
            raise self.error


def is_interrupt(error: BaseException) -> bool:
    """Return whether `error` came from a signal handler, or asks for the end of the program.

    True for `KeyboardInterrupt`, for the `SystemExit` of a handler that calls `sys.exit`, and for
    the errors with which test tools end a test.  A handler runs between any two steps of any task.
    """
    if isinstance(error, (Exception, GeneratorExit)):  # GeneratorExit: the event loop may be gone.
        return False
    return not isinstance(error, anyio.get_cancelled_exc_class())


def unwrapped(error: BaseException) -> BaseException:
    """Return the error that the task groups of an attempt have wrapped.

    On asyncio, a second Ctrl-C may land inside a cancel scope of anyio, which then raises
    `RuntimeError` when it is left: the result is the `KeyboardInterrupt` behind it.
    """
    while isinstance(error, BaseExceptionGroup):
        wrapped = cast("BaseExceptionGroup[BaseException]", error).exceptions
        # The error has cancelled the other tasks of the group.
        cancelled = anyio.get_cancelled_exc_class()
        error = next((each for each in wrapped if not isinstance(each, cancelled)), wrapped[0])
    behind = error.__context__ if isinstance(error, RuntimeError) else None
    while behind is not None and not is_interrupt(behind):
        behind = behind.__context__
    return error if behind is None else behind
