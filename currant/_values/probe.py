"""The interface of a probe: a check of a running command, repeated until it succeeds.

`currant.ready` contains the probes themselves.  A probe is a frozen value and holds no process: it
reaches the running command through the protocol `ProbeTarget`.
"""

from __future__ import annotations

import shlex
from abc import ABC, abstractmethod
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

from currant._values.checks import check_seconds
from currant._values.errors import CommandError
from currant._values.launch_spec import read_streams

if TYPE_CHECKING:
    from collections.abc import Mapping

    from currant._values.exchange import Answer, FileState, Owner, Request
    from currant._values.exit import Exit
    from currant._values.launch_spec import LaunchSpec
    from currant._values.line_pattern import Lines
    from currant._values.lines import StreamName

__all__ = [
    "ALIVE_INTERVAL",
    "READY_TIMEOUT",
    "InUse",
    "LineProbe",
    "Probe",
    "ProbeCommand",
    "ProbeTarget",
    "Unmet",
    "check_probes",
    "check_reads_lines",
    "files_of",
]


READY_TIMEOUT = 60.0
"""The default seconds that a command has to become ready."""

ALIVE_INTERVAL = 5.0
"""The default seconds between two checks of a command that is ready."""


class Unmet(Exception):  # noqa: N818 - the result of a check, which never leaves currant
    """The check of a probe failed; the message says what was found instead."""


class InUse(Unmet):
    """Another process keeps the port of a probe, so that the command cannot have it.

    Args:
        message: the result of the check.
        owner: that process.
    """

    def __init__(self, message: str, owner: Owner) -> None:
        super().__init__(message)
        self.owner = owner


class LineProbe(Protocol):
    """A probe that searches the lines of output."""

    @property
    def stream(self) -> StreamName | None:
        """The stream that the probe reads; None: both."""
        ...

    def found_in(self, lines: Lines, stream: StreamName) -> bool | None:
        """Return whether the line that the probe waits for is one of `lines`.

        None: only if the last line ends as it is.
        """
        ...


class ProbeCommand(NamedTuple):
    """A command that a probe runs to check another command, on the same host.

    Attributes:
        argv: the program and its arguments.
        cwd: the working directory; None: that of the checked command.
        env: variables to set, in addition to those of the checked command.
        success_codes: the exit codes that count as success.
    """

    argv: tuple[str, ...]
    cwd: str | None
    env: Mapping[str, str]
    success_codes: tuple[int, ...]

    def __str__(self) -> str:
        return shlex.join(self.argv)


class ProbeTarget(Protocol):
    """The running command that a probe checks."""

    async def line(self, probe: LineProbe) -> None:
        """Wait until a line of the output matches `probe`, from the start of the output on.

        `probe` must be one of the command's `Probe.line_probes`.
        """
        ...

    async def run(self, command: ProbeCommand) -> Exit:
        """Run another command on the same host, with the same variables, and return the exit."""
        ...

    async def exchange(self, request: Request) -> Answer:
        """Send a request to a server from where the command runs, and return the answer.

        A relative path of a Unix socket begins at the working directory of the command.

        Raises:
            OSError: no server accepts the connection.
            HostLostError: the host of the command is lost.
        """
        ...

    async def examine(self, path: str) -> FileState:
        """Return whether a file was made or changed since the start of the command.

        `path` must be one of the command's `Probe.files`.

        Raises:
            OSError: the system does not show the file.
            HostLostError: the host of the command is lost.
        """
        ...

    def note(self, probe: Probe, failure: Exception | None) -> None:
        """Keep why `probe` is not met, for the error of a caller whose own time is over.

        None: the probe is met.
        """
        ...

    @property
    def failure(self) -> Exception | None:
        """The failure of a probe that is not met, the newest if there are several."""
        ...


@dataclass(frozen=True, slots=True)
class Probe(ABC):
    """A check of a running command; the functions of `currant.ready` make probes.

    Attributes:
        interval: seconds between two checks; None: 0.1 until the command is ready, then 5.
        timeout: for `Command.ready`, seconds that the command has to become ready (None: 60), of
            which a single check may take 5; for `Command.alive`, seconds that a single check may
            take (None: 1).
    """

    _: KW_ONLY
    interval: float | None = None
    timeout: float | None = None

    repeats: ClassVar[bool] = True
    """Whether the probe can be repeated, as `Command.alive` needs."""

    @property
    def line_probes(self) -> tuple[LineProbe, ...]:
        """The probe itself or its parts, if they must see the output from the start."""
        return ()

    @property
    def files(self) -> tuple[str, ...]:
        """The files that the probe looks at, whose state before the start it must know."""
        return ()

    def __post_init__(self) -> None:
        for what, value in (("interval", self.interval), ("timeout", self.timeout)):
            check_seconds(what, value)

    def in_threads(self) -> Probe:
        """Return the probe for a program whose synchronous functions may block.

        Such functions of `ready.when` are called in worker threads, and async functions in the
        event loop as before.  At a timeout, a thread goes on alone, and its result is ignored.
        """
        return self

    @abstractmethod
    async def wait_until_met(self, subject: ProbeTarget) -> Exception | None:
        """Repeat the check until it succeeds; return None, or the last failure at the timeout.

        Cancellation: harmless.
        """

    @abstractmethod
    async def check_once(self, subject: ProbeTarget) -> Exception | None:
        """Check once, and return None or the failure.

        Cancellation: harmless.
        """


def check_probes(ready: object, alive: object) -> None:
    """Check the probes of a command."""
    for what, probe in (("ready", ready), ("alive", alive)):
        if not (probe is None or isinstance(probe, Probe)):
            raise CommandError(f"{what} must be a probe of currant.ready, not {probe!r}")
    if isinstance(alive, Probe) and not alive.repeats:
        raise CommandError(f"alive cannot be {alive!r}: it happens once and cannot be repeated")


def files_of(*probes: Probe | None) -> tuple[str, ...]:
    """Return the files that probes look at, each once."""
    return tuple(dict.fromkeys(path for probe in probes if probe for path in probe.files))


def check_reads_lines(command: LaunchSpec, probe: Probe) -> None:
    """Check that each line that `probe` waits for is on a stream that currant reads."""
    read = read_streams(command)
    for line_probe in probe.line_probes:
        stream = line_probe.stream
        if stream in read or (stream is None and read):
            continue
        if stream == "stderr" and "stdout" in read and (command.pty or command.stderr == "stdout"):
            why = "stderr is merged into stdout"
        else:
            why = f"{stream or 'the output'} does not come to currant"
        raise CommandError(f"ready cannot wait for a line on {stream or 'any stream'}: {why}")
