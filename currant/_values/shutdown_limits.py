"""`ShutdownLimits`: how long each step of leaving a Runner's block may take.

Leaving takes at most the longest grace, then `reap` and `drain`.  (A command that others need stops
after them, so along such a chain the graces add up.)  If sinks are slow, leaving takes up to the
longest grace again, and `sinks`.  A launcher may state limits of its own
(`currant._process.launcher`).
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["ShutdownLimits"]


class ShutdownLimits(NamedTuple):
    """Time limits in seconds.

    Attributes:
        grace: the grace of a command that a launcher starts without a Runner, which sets its own.
        end_of_input: how long a command with ``stdin=PIPE`` may take to exit after the end of its
            input, before it is asked with a signal; a part of the grace.
        reap: how long a process group may exist after SIGKILL; a process that can die needs far
            less.
        drain: how long output may last after the process group is empty, because a process outside
            the group may hold the pipe open.
        end_of_output: how soon output ends after its writers have exited, unless another process
            holds the pipe open.
        escapee_grace: the least grace of escapees, if a kill has used up the grace of their
            command.
        last_lines: how long a probe with parts may take to see a line that was written before
            the exit.
        sinks: how long sinks may take if the block is left early, after twice the longest grace.
        spill: how long a write to the file of `Capture.spill` may take, after a request to stop
            and what is left of the grace.
        search: how long a search for escapees is repeated, if no file descriptor is left or a
            program is just being started.
        unread: how long the channel may be full before unread output is discarded, if the Runner
            has no reader at all.
        guard_exit: how long the orphan guard may take to exit on request; it needs a thousandth of
            this.
    """

    grace: float = 5.0
    end_of_input: float = 0.5
    reap: float = 2.0
    drain: float = 1.0
    end_of_output: float = 0.05
    escapee_grace: float = 0.2
    last_lines: float = 0.5
    sinks: float = 1.0
    spill: float = 1.0
    search: float = 0.3
    unread: float = 1.0
    guard_exit: float = 1.0
