"""Search for a line of the processes that run now, or of a later one."""

from __future__ import annotations

import time
from math import inf
from typing import TYPE_CHECKING

from currant._values.errors import plain_text

if TYPE_CHECKING:
    import re
    from collections.abc import Sequence

    from currant._values.lines import Line
    from currant._values.messages import Started
    from currant.stack._client import CommandInfo

__all__ = ["LineSearch"]

COMING = ("queued", "restarting", "stopping")
"""The states of a command whose next lines are those of another process."""


class LineSearch:
    """Says which line of the history is wanted.

    Args:
        pattern: what to find.
        commands: the commands of the stack, as they are now.
        begin: the time from which on all lines count, in seconds since the epoch; None: a line
            counts if the present process has written it, or a later one.
    """

    def __init__(
        self, pattern: re.Pattern[str], commands: Sequence[CommandInfo], begin: float | None = None
    ) -> None:
        self._pattern = pattern
        self._begins = {each.name: _begin_of(each) if begin is None else begin for each in commands}
        self._pids = {each.name: each.pid for each in commands if begin is None and each.pid}

    def note_start(self, started: Started) -> None:
        """Note the start of a process, before its lines.

        The stack knows the pid of a new process a moment before its start is in the history.  Until
        then, the start of the process before is listed as the start of the new one.
        """
        name, pid = started.command, self._pids.get(started.command)
        if started.pid == pid:
            self._begins[name] = started.time
        elif pid is not None and started.time == self._begins[name]:
            self._begins[name] = inf

    def wants(self, line: Line) -> bool:
        """Return whether a line counts and matches."""
        is_recent = line.time >= self._begins.get(line.command, 0.0)
        return is_recent and self._pattern.search(plain_text(line)) is not None


def _begin_of(command: CommandInfo) -> float:
    """Return the time from which on the lines of a command count; all, if it is over."""
    if command.started_at is not None:
        return command.started_at
    return time.time() if command.state in COMING else 0.0
