"""`when`: a probe that calls a function of the user."""

from __future__ import annotations

from dataclasses import dataclass, replace
from inspect import isawaitable, iscoroutinefunction
from typing import TYPE_CHECKING

from currant._channel.threads import in_thread
from currant._values.errors import CommandError
from currant._values.probe import Unmet
from currant.ready._waiting import PolledProbe

if TYPE_CHECKING:
    from collections.abc import Callable

    from currant._values.probe import Probe, ProbeTarget

__all__ = ["when"]


def when(
    check: Callable[[], object],
    *,
    interval: float | None = None,
    timeout: float | None = None,
) -> Probe:
    """Return a probe that calls a function of yours and succeeds if the result is true.

    Wait until a program has created a file::

        import anyio
        from currant import Command, Runner, ready

        async def exists() -> bool:
            return await anyio.Path("started").exists()

        async with Runner() as runner:
            await runner.start(Command.shell("touch started; sleep 60", ready=ready.when(exists)))
            runner.kill()

    Args:
        check: an async function without parameters.  An exception counts as a failure.  The
            function must end if it is cancelled; a check in a thread that cannot be cancelled
            delays the timeout until the thread ends.  A synchronous function works too, if it never
            blocks; `currant.blocking.Runner` calls it in a thread, so there it may block.
        interval: seconds between two calls.
        timeout: seconds to wait; None: 60.

    Raises:
        CommandError: an argument is invalid.
    """
    if not callable(check):
        raise CommandError(f"when: check must be an async function, not {check!r}")
    return _When(check, interval=interval, timeout=timeout)


@dataclass(frozen=True, slots=True)
class _When(PolledProbe):
    function: Callable[[], object]
    is_in_thread: bool = False

    def in_threads(self) -> Probe:
        return self if iscoroutinefunction(self.function) else replace(self, is_in_thread=True)

    async def check(self, subject: ProbeTarget) -> None:  # noqa: ARG002 - the function needs none
        result = await in_thread(self.function) if self.is_in_thread else self.function()
        if isawaitable(result):
            result = await result
        if not result:
            name = getattr(self.function, "__qualname__", self.function)
            raise Unmet(f"{name} returned {result!r}")
