"""`in_threads`: the same probe for a program whose functions may block."""

from __future__ import annotations

from dataclasses import replace
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING

from currant.ready._several import Several
from currant.ready._when import When

if TYPE_CHECKING:
    from currant._values.probe import Probe

__all__ = ["in_threads"]


def in_threads(probe: Probe) -> Probe:
    """Return the probe with the functions of `when` called in worker threads.

    Async functions are called in the event loop as before.  At a timeout, a thread goes on alone,
    and its result is ignored.
    """
    if isinstance(probe, When) and not iscoroutinefunction(probe.function):
        return replace(probe, is_in_thread=True)
    if isinstance(probe, Several):
        return replace(probe, probes=tuple(in_threads(part) for part in probe.probes))
    return probe
