"""`delay`: a probe that waits for a number of seconds."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

import anyio

from currant._values.checks import check_seconds
from currant.ready._waiting import EventProbe

if TYPE_CHECKING:
    from currant._values.probe import Probe, ProbeTarget

__all__ = ["delay"]


def delay(seconds: float, *, interval: float | None = None, timeout: float | None = None) -> Probe:
    """Return a probe that waits for a number of seconds.

    Give a program half a second if there is nothing to check::

        from currant import Command, Runner, ready

        async with Runner() as runner:
            await runner.start(Command.parse("sleep 60", ready=ready.delay(0.5)))
            runner.kill()

    Args:
        seconds: the delay since the start of the command.
        interval: no effect.
        timeout: seconds after which the probe fails; None: never.

    Raises:
        CommandError: an argument is invalid.
    """
    check_seconds("delay: seconds", seconds, optional=False)
    return _Delay(seconds, interval=interval, timeout=timeout)


@dataclass(frozen=True, slots=True)
class _Delay(EventProbe):
    seconds: float

    async def _wait(self, subject: ProbeTarget) -> None:  # noqa: ARG002 - a clock is enough
        await anyio.sleep(self.seconds)

    def _time_limit(self) -> float:
        return inf if self.timeout is None else self.timeout

    def _missing(self) -> str:
        return f"{self.seconds:g} s have not passed"
