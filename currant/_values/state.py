"""The state of a command, folded from its messages.

`state_after` takes a state and the next message, and returns the next state.  A program that
receives the messages of a command therefore knows the state of the command without the Runner.

The phase after an exit agrees with the status of the `Result`, with one exception.  If a command
that is not ready is asked to stop and then exits by itself with success, its result is
``"stopped"``; the messages do not contain that request, so its phase is ``"failed"``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias, assert_never

from currant._values.errors import CannotStopError, HostLostError
from currant._values.lines import Batch, Line
from currant._values.messages import (
    Aborted,
    Dropped,
    Exited,
    Failed,
    HostLost,
    HostUp,
    Ready,
    Restarting,
    Skipped,
    Started,
)

if TYPE_CHECKING:
    from currant._values.command import Command
    from currant._values.errors import CurrantError
    from currant._values.exit import Exit
    from currant._values.messages import BatchMessage

__all__ = ["QUEUED", "CommandState", "Phase", "is_expected", "state_after"]

Phase: TypeAlias = Literal[
    "queued", "running", "ready", "restarting", "succeeded", "failed", "stopped", "skipped"
]
"""The phase of a command: queued until the first start, at the end the status of the `Result`."""


@dataclass(frozen=True, slots=True)
class CommandState:
    """The facts that the messages of a command contain so far.

    Attributes:
        phase: the phase of the command.
        attempt: the number of the last attempt; 0 before the first.
        pid: the process id of the last attempt; None if it has not started.
        started_at: the start of the last attempt in seconds since the epoch; None if it has not
            started.
        exit: the exit of the last attempt; None before the exit, or if the attempt has not started.
        error: the error of the last `Aborted`, `Failed` or `Skipped`; None otherwise, as after an
            exit before the command was ready, for which there is no message.
        host: the host of the last attempt; None: this machine, or it has not started.
    """

    phase: Phase = "queued"
    attempt: int = 0
    pid: int | None = None
    started_at: float | None = None
    exit: Exit | None = None
    error: CurrantError | None = None
    host: str | None = None


QUEUED = CommandState()
"""The state of a command before its first message."""


def state_after(  # noqa: PLR0911 - one case for each message
    message: BatchMessage | Line, before: CommandState = QUEUED, command: Command | None = None
) -> CommandState:
    """Return the state of a command after one of its messages.

    Args:
        message: the message.
        before: the state before the message.
        command: the command; None if it is unknown: 0 is then the only success, and a process is
            ready when it has started.
    """
    match message:
        case Started(pid=pid, attempt=attempt, time=time, host=host):
            return CommandState("running", attempt, pid, time, host=host)
        case Ready():
            return replace(before, phase="ready")
        case Aborted(error=CannotStopError() | HostLostError() as error):
            # No other message follows.
            return replace(before, phase="failed", error=error)
        case Aborted(error=error):
            # The process is still running; its exit will be a failure.
            return replace(before, error=error)
        case Exited(exit=end):
            return replace(before, phase=_phase_after_exit(end, before, command), exit=end)
        case Restarting():
            return replace(before, phase="restarting")
        case Failed(error=error, attempt=attempt):
            return CommandState("failed", attempt, error=error)
        case Skipped(error=error):
            return replace(before, phase="skipped", error=error)
        case Line() | Batch() | Dropped() | HostUp() | HostLost():
            return before
        case _:
            assert_never(message)


def is_expected(end: Exit, command: Command | None) -> bool:
    """Return whether an exit is a success of `command`, or was caused by currant."""
    return end.stopped or _is_success(end, command)


def _phase_after_exit(end: Exit, before: CommandState, command: Command | None) -> Phase:
    if before.error is not None:
        return "failed"
    if end.stopped:
        return "stopped"
    must_be_ready = command is not None and command.ready is not None
    if must_be_ready and before.phase != "ready":
        return "failed"
    return "succeeded" if _is_success(end, command) else "failed"


def _is_success(end: Exit, command: Command | None) -> bool:
    return end.code in ((0,) if command is None else command.success_codes)
