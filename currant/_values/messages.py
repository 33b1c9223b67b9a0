"""The messages of a running command.

Messages are immutable, can be pickled and compare by their fields (errors by identity).  `time` is
in seconds since the epoch and for display only; durations are monotonic.

`Line` is a named tuple, and the others are frozen dataclasses: currant builds a `Line` for each
line of output, and a frozen dataclass takes four times as long (measured: 840 ns and 180 ns).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from currant._values.lines import Batch, Line

if TYPE_CHECKING:
    from currant._values.errors import CurrantError, DependencyError, HostLostError, LaunchError
    from currant._values.exit import Exit
    from currant._values.usage import Usage

__all__ = [
    "Aborted",
    "BatchMessage",
    "Dropped",
    "Exited",
    "Failed",
    "HostLost",
    "HostMessage",
    "HostUp",
    "Message",
    "Ready",
    "Restarting",
    "Skipped",
    "Started",
    "size_of",
]


@dataclass(frozen=True, slots=True)
class Started:
    """The process of the command runs.

    Attributes:
        command: the command's name.
        pid: the process id on the host where the process runs.
        attempt: 1 for the first start, plus 1 for each restart, also of a command that had ended.
        time: seconds since the epoch.
        host: the name of that host; None: this machine.
        launching: seconds that the launch of the process took; None if that is unknown, and in
            messages from the socket of a stack.  Messages that differ only in this are equal.
    """

    command: str
    pid: int
    attempt: int
    time: float
    host: str | None = None
    launching: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Ready:
    """The command is ready: its probe `ready` has succeeded.

    Attributes:
        command: the command's name.
        after: seconds since the start of the attempt.
        time: seconds since the epoch.
    """

    command: str
    after: float
    time: float


@dataclass(frozen=True, slots=True)
class Exited:
    """The process has exited, and all of the output has been sent.

    Attributes:
        command: the command's name.
        exit: how the process ended.
        attempt: the number of the attempt, from 1.
        time: seconds since the epoch.
        usage: what the process has used; None if that is unknown, and in messages from the socket
            of a stack.  Messages that differ only in this are equal.
        stopping: seconds from the request to stop the process until now; None if it exited without
            one, and in messages from the socket of a stack.  Messages that differ only in this
            are equal.
    """

    command: str
    exit: Exit
    attempt: int
    time: float
    usage: Usage | None = field(default=None, compare=False)
    stopping: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Restarting:
    """The command will be restarted after a delay.

    Attributes:
        command: the command's name.
        attempt: the number of the next attempt, from 2.
        delay: seconds until the restart.
        time: seconds since the epoch.
        reason: the cause, if that is a change or another command, such as ``src/app.py changed``;
            None: the policy of the command, or `Job.restart`.
    """

    command: str
    attempt: int
    delay: float
    time: float
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The command could not be started.

    Attributes:
        command: the command's name.
        error: the reason, with advice in its text.
        attempt: the number of the attempt, from 1.
        time: seconds since the epoch.
    """

    command: str
    error: LaunchError
    attempt: int
    time: float


@dataclass(frozen=True, slots=True)
class Aborted:
    """The attempt has failed, and not by its exit; if the process still runs, currant stops it.

    The command was not ready in time, did not pass its `alive` probe, exceeded a limit, or could
    not be stopped; the file of `Capture.spill` could not be written; or its host is lost, and then
    no `Exited` follows if the exit is unknown.

    Attributes:
        command: the command's name.
        error: a `NotReadyError`, `UnresponsiveError`, `TimeLimitError`, `OutputLimitError`,
            `SpillError`, `CannotStopError` or `HostLostError`.
        attempt: the number of the attempt, from 1.
        time: seconds since the epoch.
    """

    command: str
    error: CurrantError
    attempt: int
    time: float


@dataclass(frozen=True, slots=True)
class Skipped:
    """The command is not started: a condition that it waits for can no longer come true.

    Attributes:
        command: the command's name.
        error: the condition, and why it cannot come true.
        time: seconds since the epoch.
    """

    command: str
    error: DependencyError
    time: float


@dataclass(frozen=True, slots=True)
class Dropped:
    """Output was discarded: no reader took it while a task waited, or for too long.

    Attributes:
        command: the command's name.
        lines: the number of discarded lines, both streams together.
        time: seconds since the epoch.
    """

    command: str
    lines: int
    time: float


@dataclass(frozen=True, slots=True)
class HostUp:
    """A host takes commands, for the first time or again.

    Attributes:
        host: the name of the host.
        time: seconds since the epoch.
    """

    host: str
    time: float

    @property
    def command(self) -> None:
        """None: the message is about no command."""
        return


@dataclass(frozen=True, slots=True)
class HostLost:
    """A host takes no more commands: it is lost, or could not be reached.

    Each command that ran there has failed, and has an `Aborted` of its own.

    Attributes:
        host: the name of the host.
        error: why it is lost; a `HostUnreachableError` if it was never up.
        time: seconds since the epoch.
    """

    host: str
    error: HostLostError
    time: float

    @property
    def command(self) -> None:
        """None: the message is about no command."""
        return


HostMessage: TypeAlias = HostUp | HostLost
"""The messages about a host; their `command` is None."""

_Event: TypeAlias = (
    Started | Ready | Aborted | Exited | Restarting | Failed | Skipped | Dropped | HostMessage
)

Message: TypeAlias = Line | _Event
"""The messages of ``async for message in runner``."""

BatchMessage: TypeAlias = Batch | _Event
"""The messages of `Runner.batches`, which a sink receives too."""


def size_of(message: BatchMessage) -> int:
    """Return how many bytes of output `message` carries."""
    return len(message.data) if isinstance(message, Batch) else 0
