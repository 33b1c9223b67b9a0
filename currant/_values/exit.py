"""How a process ended."""

from __future__ import annotations

from dataclasses import dataclass
from signal import Signals

__all__ = ["Exit"]


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended: by an exit code or by a signal, one of the two.

    Attributes:
        code: the exit code, 0 to 255; None where a signal ended it.
        signal: the signal that ended it; None where it exited.  A real-time signal that has no
            name in Python is its bare number.
        stopped: whether we ended it.
        forced: whether something of its group took SIGKILL, after the grace.
        timed_out: whether we ended it because its time was up, or its Runner's.
    """

    code: int | None
    signal: Signals | int | None
    stopped: bool = False
    forced: bool = False
    timed_out: bool = False

    @classmethod
    def from_returncode(cls, returncode: int, *, stopped: bool = False) -> Exit:
        """Build from a return code as `subprocess` has it: below 0 for a signal."""
        if returncode >= 0:
            return cls(returncode, None, stopped)
        try:
            return cls(None, Signals(-returncode), stopped)
        except ValueError:  # most real-time signals have no name
            return cls(None, -returncode, stopped)

    def __str__(self) -> str:
        if self.signal is None:
            how = f"exit code {self.code}"
        else:
            how = self.signal.name if isinstance(self.signal, Signals) else f"signal {self.signal}"
        if self.timed_out:
            return f"timed out ({how})"
        return f"stopped ({how})" if self.stopped else how
