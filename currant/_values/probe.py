"""What a probe is: a question to a running command, asked again until the answer is yes.

Here is what all probes share; the probes themselves are `currant.ready`.  A probe is a frozen value
that knows no process: what it may ask of one is the protocol `ProbeTarget`.
"""

from __future__ import annotations

import shlex
from abc import ABC, abstractmethod
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

from currant._values.checks import check_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from currant._values.exit import Exit
    from currant._values.lines import Line, StreamName

__all__ = [
    "ALIVE_INTERVAL",
    "READY_TIMEOUT",
    "LineProbe",
    "Probe",
    "ProbeCommand",
    "ProbeTarget",
    "Unmet",
]


READY_TIMEOUT = 60.0
"""Seconds that a command has to become ready."""

ALIVE_INTERVAL = 5.0
"""Seconds between two looks at a command that is ready."""


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


@dataclass(frozen=True, slots=True)
class ProbeCommand:
    """A command that a probe runs, where the command that it asks about runs.

    Attributes:
        argv: the program and its arguments.
        cwd: the working directory; None: that of the other command.
        env: variables set over those of the other command.
        success_codes: the exit codes that count as success.
    """

    argv: tuple[str, ...]
    cwd: str | None
    env: Mapping[str, str]
    success_codes: tuple[int, ...]

    def __str__(self) -> str:
        return shlex.join(self.argv)


class ProbeTarget(Protocol):
    """A running command, as a probe sees it."""

    async def line(self, probe: LineProbe) -> None:
        """Wait until a line of its output matches, from its start on.

        Only for those that the command's probe has named (`Probe.line_probes`).
        """
        ...

    async def run(self, command: ProbeCommand) -> Exit:
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

    @property
    def line_probes(self) -> tuple[LineProbe, ...]:
        """Those that have to see the output from its beginning."""
        return ()

    def __post_init__(self) -> None:
        for what, value in (("interval", self.interval), ("timeout", self.timeout)):
            check_seconds(what, value)

    @abstractmethod
    async def wait_until_met(self, subject: ProbeTarget) -> Exception | None:
        """Look until the answer is yes, and return None; or what it was when the time was up.

        Cancellation: harmless.
        """

    @abstractmethod
    async def check_once(self, subject: ProbeTarget) -> Exception | None:
        """Look once, and return None if the answer is yes; else what it is.

        Cancellation: harmless.
        """
