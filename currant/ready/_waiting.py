"""The two kinds of waiting: a check that is repeated, and an event that happens once."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, ClassVar

import anyio

from currant._values.probe import READY_TIMEOUT, InUse, Probe, Unmet

if TYPE_CHECKING:
    from currant._values.exchange import Owner
    from currant._values.probe import ProbeTarget

__all__ = ["EventProbe", "PolledProbe"]


READY_INTERVAL = 0.1
"""The default seconds between two checks of a command that is not ready yet."""

READY_CHECK_TIMEOUT = 5.0
"""Seconds that a single check may take of a command that is not ready yet."""

ALIVE_CHECK_TIMEOUT = 1.0
"""The default seconds that a single check may take of a command that is ready."""

IN_USE_FOR = 1.0
"""Seconds in which a process that keeps the port of a command may still end, or be replaced."""


@dataclass(frozen=True, slots=True)
class PolledProbe(Probe):
    """A probe that repeats its check."""

    async def wait_until_met(self, subject: ProbeTarget) -> Exception | None:
        """Repeat the check until it succeeds; return None, or the last failure at the timeout.

        If another process keeps the port of the command, wait neither for the interval nor for the
        timeout.
        Cancellation: harmless.
        """
        last: Exception = Unmet("no answer")
        port = _PortInUse()
        with anyio.move_on_after(READY_TIMEOUT if self.timeout is None else self.timeout):
            while True:
                failure = await self._check_within(READY_CHECK_TIMEOUT, subject)
                subject.note(self, failure)
                if failure is None:
                    return None
                if port.lasts(failure):
                    return failure
                last = failure
                await anyio.sleep(self._pause_after(failure))
                last = Unmet(f"no answer to the last check; the check before: {failure}")
        return last

    def _pause_after(self, failure: Exception) -> float:
        interval = READY_INTERVAL if self.interval is None else self.interval
        return min(interval, READY_INTERVAL) if isinstance(failure, InUse) else interval

    async def check_once(self, subject: ProbeTarget) -> Exception | None:
        """Check once, and return None or the failure.

        Cancellation: harmless.
        """
        timeout = ALIVE_CHECK_TIMEOUT if self.timeout is None else self.timeout
        return await self._check_within(timeout, subject)

    async def _check_within(self, seconds: float, subject: ProbeTarget) -> Exception | None:
        with anyio.move_on_after(seconds):
            try:
                await self.check(subject)
            except anyio.get_cancelled_exc_class():
                if anyio.current_effective_deadline() == -inf:
                    raise
                return Unmet("the check was cancelled")  # by code that the check has called
            except Exception as raised:  # the caller's code may raise anything
                return raised
            return None
        return Unmet(f"no answer within {seconds:g} s")

    @abstractmethod
    async def check(self, subject: ProbeTarget) -> None:
        """Check once, and return if the check succeeds.

        Raises:
            Exception: the check failed; the message says what was found instead.
        """


class _PortInUse:
    """Notices that the same process keeps a port, check after check.

    A process may use a port for a moment, and one that is being replaced is about to end.
    """

    def __init__(self) -> None:
        self._owner: Owner | None = None
        self._since = inf

    def lasts(self, failure: Exception) -> bool:
        """Return whether the process that `failure` names has kept the port for `IN_USE_FOR`."""
        owner = failure.owner if isinstance(failure, InUse) else None
        now = anyio.current_time()
        if owner != self._owner:
            self._owner, self._since = owner, now
        return owner is not None and now - self._since >= IN_USE_FOR


class EventProbe(Probe):
    """A probe that waits for an event that happens once."""

    __slots__ = ()

    repeats: ClassVar[bool] = False

    async def wait_until_met(self, subject: ProbeTarget) -> Exception | None:
        missing = Unmet(self._missing())
        subject.note(self, missing)
        with anyio.move_on_after(self._time_limit()):
            await self._wait(subject)
            subject.note(self, None)
            return None
        return missing

    async def check_once(self, subject: ProbeTarget) -> Exception | None:
        return await self.wait_until_met(subject)  # `Command.alive` refuses this probe

    @abstractmethod
    async def _wait(self, subject: ProbeTarget) -> None:
        """Wait for the event."""

    def _time_limit(self) -> float:
        return READY_TIMEOUT if self.timeout is None else self.timeout

    @abstractmethod
    def _missing(self) -> str:
        """Return a description of the event that has not happened."""
