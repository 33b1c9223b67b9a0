"""What a probe is: a question to a running command, asked again until the answer is yes.

Here is what all probes share; the probes themselves are `currant.ready`.  A probe is a frozen value
that knows no process: what it may ask of one is the protocol `ProbeTarget`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import KW_ONLY, dataclass
from math import inf
from typing import TYPE_CHECKING, ClassVar, Protocol

import anyio

from currant._values.checks import check_seconds

if TYPE_CHECKING:
    from currant._values.command import Command
    from currant._values.exit import Exit
    from currant._values.lines import Line, StreamName

__all__ = ["ALIVE_INTERVAL", "READY_TIMEOUT", "LineProbe", "Probe", "ProbeTarget", "Unmet"]


READY_INTERVAL = 0.1
"""Seconds between two looks at a command that is to become ready."""

READY_TIMEOUT = 60.0
"""Seconds that a command has to become ready."""

ALIVE_INTERVAL = 5.0
"""Seconds between two looks at a command that is ready."""

READY_LOOK = 5.0
"""Seconds that one look may take at a command that is to become ready."""

ALIVE_LOOK = 1.0
"""The same at a command that is ready."""


class Unmet(Exception):  # noqa: N818 - an answer, which never leaves currant
    """What is asked is not so (yet); the text says what is so instead."""


class LineProbe(Protocol):
    """A probe that looks at each line of output."""

    @property
    def stream(self) -> StreamName | None:
        """The one in which it looks; None: both."""
        ...

    def matches(self, line: Line) -> bool:
        """Tell whether `line` is the one."""
        ...


class ProbeTarget(Protocol):
    """A running command, as a probe sees it."""

    async def line(self, probe: LineProbe) -> None:
        """Wait until a line of its output matches, from its start on.

        Only for those that the command's probe has named (`Probe.line_probes`).
        """
        ...

    async def run(self, command: Command) -> Exit:
        """Run a command where it runs, with its variables, and return how that ended."""
        ...

    async def listens(self, address: str, port: int) -> bool | None:
        """Tell whether it listens on a TCP port at a numeric address; None: that is not known."""
        ...


@dataclass(frozen=True, slots=True)
class Probe(ABC):
    """A question to a running command; made by the functions of `currant.ready`.

    Attributes:
        interval: seconds between two looks; None: 0.1 until it is ready, 5 after that.
        timeout: seconds that the command has to become ready, where a look may take 5; and, where
            the probe tells whether it is alive, that one look may take; None: 60 and 1.
    """

    _: KW_ONLY
    interval: float | None = None
    timeout: float | None = None

    repeats: ClassVar[bool] = True
    """Whether it can tell as well that a command is still alive."""

    alive_look: ClassVar[float] = ALIVE_LOOK
    """Seconds that a look at whether a command is alive may take, where no `timeout` is given."""

    @property
    def line_probes(self) -> tuple[LineProbe, ...]:
        """Those that have to see the output from its beginning."""
        return ()

    def __post_init__(self) -> None:
        for what, value in (("interval", self.interval), ("timeout", self.timeout)):
            check_seconds(what, value)

    async def wait_until_met(self, subject: ProbeTarget) -> Exception | None:
        """Look until the answer is yes, and return None; or what it was when the time was up.

        Cancellation: harmless.
        """
        problem: Exception = Unmet("no answer")
        with anyio.move_on_after(READY_TIMEOUT if self.timeout is None else self.timeout):
            while True:
                answer = await self._look_within(READY_LOOK, subject)
                if answer is None:
                    return None
                problem = answer
                await anyio.sleep(READY_INTERVAL if self.interval is None else self.interval)
                problem = Unmet(f"no answer to the last look; to the one before: {answer}")
        return problem

    async def check_once(self, subject: ProbeTarget) -> Exception | None:
        """Look once, and return None if the answer is yes; else what it is.

        Cancellation: harmless.
        """
        return await self._look_within(
            self.alive_look if self.timeout is None else self.timeout, subject
        )

    async def _look_within(self, seconds: float, subject: ProbeTarget) -> Exception | None:
        with anyio.move_on_after(seconds):
            try:
                await self.look(subject)
            except anyio.get_cancelled_exc_class():
                if anyio.current_effective_deadline() == -inf:
                    raise
                return Unmet("it was cancelled")  # something that it awaited
            except Exception as raised:  # whatever the code of others raises: not yet
                return raised
            return None
        return Unmet(f"no answer within {seconds:g} s")

    @abstractmethod
    async def look(self, subject: ProbeTarget) -> None:
        """Look once, and return if the answer is yes.

        Raises:
            Exception: it is not; the text says what is so instead.
        """
