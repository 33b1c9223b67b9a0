"""`ProgressLine`: the line below the output on a terminal, which counts the commands."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from currant._values.state import QUEUED, state_after

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from currant._values.command import Command
    from currant._values.messages import BatchMessage
    from currant._values.state import CommandState, Phase

__all__ = ["ProgressLine"]

UNKNOWN_WIDTH = 80
"""Columns of a terminal that reports no width, as some terminals do before they are shown."""

ERASE = b"\r\x1b[K"
"""Clears the line of the cursor, on a terminal."""


class ProgressLine:
    """How many commands are done, running and failed."""

    def __init__(self) -> None:
        self._states: dict[str, CommandState] = {}
        self._counts: Counter[Phase] = Counter()
        self._text = ""
        self._shown = b""

    def follow(self, backlog: Iterable[BatchMessage], commands: Mapping[str, Command]) -> None:
        """Count the commands by their states after `backlog`."""
        for message in backlog:
            name = message.command
            if name is None:
                continue
            before = self._states.get(name, QUEUED)
            after = state_after(message, before, commands.get(name))
            self._states[name] = after
            self._counts[before.phase] -= 1
            self._counts[after.phase] += 1
        counts = self._counts
        done = sum(counts[end] for end in ("succeeded", "failed", "stopped", "skipped"))
        running = counts["running"] + counts["ready"]
        self._text = (
            f"currant: {done}/{len(commands)} done, {running} running, {counts['failed']} failed"
        )

    def clear(self) -> None:
        """Show no line from the next output on."""
        self._text = ""

    def wrap(self, columns: int | None, *, fits: bool, changed: bool) -> tuple[bytes, bytes]:
        """Return the bytes to write before and after some output, so that the line is below it.

        Args:
            columns: the width of the terminal; None if unknown.
            fits: whether the output ends with a whole line, so that there is room for this line.
            changed: whether there is any output.
        """
        width = (columns or UNKNOWN_WIDTH) - 1
        line = self._text[:width].encode() if fits else b""
        if not changed and line == self._shown:
            return b"", b""
        erase = ERASE if self._shown else b""
        self._shown = line
        return erase, line
