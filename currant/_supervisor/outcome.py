"""`Outcome`: how one attempt ends, from facts that come in any order.

The facts are the exit of the leader, the first fault, and whether the attempt was ready or asked to
stop.  A fault is what a check or the output has found, the loss of the host, or a process that
survives SIGKILL.  Only this module sets the exit, the error and the status of an attempt.  The
module knows no event loop.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from currant._values.errors import (
    CannotStopError,
    ExitStatusLostError,
    NotReadyError,
    TimeLimitError,
)

if TYPE_CHECKING:
    from currant._channel.output import Output
    from currant._values.command import Command
    from currant._values.errors import CurrantError, LaunchError
    from currant._values.exit import Exit
    from currant._values.results import Status

__all__ = ["Outcome", "Readiness"]

Readiness: TypeAlias = Literal["ready", "pending", "missed"]
"""Whether an attempt has become ready, still may (from lines not read yet), or no longer can."""


class Outcome:
    """How one attempt ends.

    Args:
        command: the command.

    Attributes:
        exit: how the leader exited; None before.
        error: why the attempt has failed, if the exit does not say so.
        status: how the attempt ended; None until that is known.
    """

    __slots__ = ("_command", "error", "exit", "status")

    def __init__(self, command: Command) -> None:
        self.exit: Exit | None = None
        self.error: CurrantError | None = None
        self.status: Status | None = None
        self._command = command

    @property
    def cannot_be_stopped(self) -> bool:
        """Whether a process survived SIGKILL."""
        return isinstance(self.error, CannotStopError)

    @property
    def is_status_lost(self) -> bool:
        """Whether another part of this program has taken the exit status."""
        return isinstance(self.error, ExitStatusLostError)

    # ---- facts ----

    def note_failed_launch(self, error: LaunchError, *, was_killed: bool) -> None:
        """End an attempt whose process did not start."""
        self.error = error
        self.status = "stopped" if was_killed else "failed"

    def note_fault(self, fault: CurrantError) -> None:
        """Fail because of `fault`, which must be the first; a success came too early."""
        self.error = fault
        if self.status == "succeeded":
            self.status = None  # `judge` is called again.

    def note_lost_host(self) -> None:
        """Fail because how all processes end will never be known; the caller has noted a fault."""
        if self.exit is None or self.status == "stopped":
            self.status = "failed"

    def note_exit(self, end: Exit, *, was_asked: bool) -> None:
        """Note the exit of the leader; a stop may do so once more.

        Args:
            end: the exit, as the launcher returns it.
            was_asked: whether the process was asked to stop without a signal, of which the launcher
                does not know.
        """
        was_stopped = self.exit is not None and self.exit.stopped
        if was_asked or was_stopped:
            end = end if end.stopped else replace(end, stopped=True)
        if isinstance(self.error, TimeLimitError):
            end = replace(end, timed_out=True)
        self.exit = end
        if end.is_status_lost and not end.stopped and self.error is None:
            self.error = ExitStatusLostError(self._command.name)

    def fail(self, error: CurrantError) -> None:
        """Count the attempt as failed because of `error`, whatever the other facts are."""
        self.error, self.status = error, "failed"

    # ---- the verdict ----

    def judge(self, readiness: Readiness, output: Output, *, was_stopped: bool) -> bool:
        """Set `status` and return True; return False if unread output still decides the status.

        The exit must be known.

        Args:
            readiness: whether the attempt has become ready.
            output: the output of the process.
            was_stopped: whether a stop was asked for, also if the process exited by itself first.
        """
        assert self.exit is not None
        status = self._status(self.exit, readiness, was_stopped=was_stopped)
        if status is None or (status != "failed" and output.may_fail):
            return False
        self.status = status
        is_success = self.exit.code in self._command.success_codes
        if status == "failed" and self.error is None and is_success:
            why = f"it has ended: {self.exit}"
            self.error = NotReadyError(self._command.name, why, output.tail)
        return True

    def _status(self, end: Exit, readiness: Readiness, *, was_stopped: bool) -> Status | None:
        """Return the status; None if unread lines still decide whether the attempt was ready.

        A command that exits before it is ready has failed, whatever the exit code, unless the
        command was stopped first.
        """
        if self.error is not None:  # A reported error counts, even if the process then exits.
            return "failed"
        if end.stopped:
            return "stopped"
        if end.code not in self._command.success_codes:
            return "failed"
        if readiness == "ready":
            return "succeeded"
        if readiness == "pending":
            return None
        return "stopped" if was_stopped else "failed"
