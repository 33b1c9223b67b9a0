"""`Usage`: the processor time and the memory that a process has used."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Usage"]


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used, together with all descendants that were waited for.

    A shell waits for its programs, so they count; a process in the background that nobody waited
    for does not.

    Attributes:
        user: seconds of processor time in the program's own code.
        system: seconds of processor time in the kernel.
        peak_memory: bytes of memory that the largest process held at its peak, not the sum over
            all processes.  Linux includes the program that starts the command, so no peak is below
            the peak of the program that runs currant.
    """

    user: float
    system: float
    peak_memory: int
