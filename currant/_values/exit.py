"""`Exit`: how a process ended."""

from __future__ import annotations

from dataclasses import dataclass
from signal import Signals

__all__ = ["Exit"]


_LIMITS = {"SIGXCPU": "processor time", "SIGXFSZ": "file size"}
"""The signals that tell a process that it has exceeded a limit of `Limits`."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended: with an exit code, or by a signal.

    ``str(exit)`` reads ``exit code 3``, ``SIGSEGV``, ``stopped (SIGTERM)`` or
    ``timed out (SIGKILL)``.  A signal that the system sends for a limit is explained: ``SIGXCPU
    (exceeded its limit of processor time)``.

    If both `code` and `signal` are None, the exit status is lost: another part of the program has
    reaped the process (see `ExitStatusLostError`).

    Attributes:
        code: the exit code, 0 to 255; None if a signal ended the process.
        signal: the signal that ended the process; None if it exited.  A real-time signal without a
            name in Python is an int.
        stopped: whether currant stopped the process.
        forced: whether a process of its group was sent SIGKILL after the grace.
        timed_out: whether currant stopped the process because its time limit, or that of its
            Runner, was exceeded.
    """

    code: int | None
    signal: Signals | int | None
    stopped: bool = False
    forced: bool = False
    timed_out: bool = False

    @classmethod
    def from_returncode(cls, returncode: int, *, stopped: bool = False) -> Exit:
        """Build from a return code of `subprocess`, which is negative for a signal."""
        if returncode >= 0:
            return cls(returncode, None, stopped)
        try:
            return cls(None, Signals(-returncode), stopped)
        except ValueError:  # most real-time signals have no name
            return cls(None, -returncode, stopped)

    @property
    def is_status_lost(self) -> bool:
        """Whether the exit status is unknown."""
        return self.code is None and self.signal is None

    def __str__(self) -> str:
        if self.is_status_lost:
            how = "exit status unknown"
        elif self.signal is None:
            how = f"exit code {self.code}"
        else:
            how = self.signal.name if isinstance(self.signal, Signals) else f"signal {self.signal}"
        if self.timed_out:
            return f"timed out ({how})"
        if self.stopped:
            return f"stopped ({how})"
        return f"{how} (exceeded its limit of {_LIMITS[how]})" if how in _LIMITS else how
