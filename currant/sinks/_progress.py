"""`ProgressLine`: the line below the output on a terminal, which counts the commands."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from currant._values.lines import Batch
from currant._values.messages import Failed, Restarting, Started
from currant._values.state import QUEUED, state_after

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from currant._values.command import Command
    from currant._values.messages import BatchMessage
    from currant._values.state import CommandState, Phase

__all__ = ["ProgressLine"]

UNKNOWN_WIDTH = 80
"""Columns of a terminal that reports no width, as some terminals do before they are shown."""

ERASE = b"\r\x1b[J"
"""Clears the line of the cursor and what is below it, on a terminal."""


ENDED: tuple[Phase, ...] = ("succeeded", "failed", "stopped", "skipped")
"""The phases of a command that is done."""


class ProgressLine:
    """How many commands are done, running and failed.

    There may be any number of commands in slots, those of `currant.map`, and one may have the name
    of an earlier one.  So the line has no total for them, and forgets a command that has ended.

    The cursor stays at the start of the line: if the terminal becomes narrower and wraps the line,
    the cursor goes with its start, and all rows of the line are below it.
    """

    def __init__(self) -> None:
        self._commands: Mapping[str, Command] = {}
        self._states: dict[str, CommandState] = {}
        self._by_phase: defaultdict[Phase, dict[str, None]] = defaultdict(dict)
        self._in_slots = False
        self._forgotten: Counter[Phase] = Counter()  # commands in slots that have ended
        self._is_shown = False
        self._written = b""

    def follow(
        self,
        backlog: Iterable[BatchMessage],
        commands: Mapping[str, Command],
        *,
        in_slots: bool = False,
    ) -> None:
        """Count the commands by their states after `backlog`, and show the line.

        Args:
            backlog: the next messages.
            commands: the commands of the Runner by name; those of a map that run.
            in_slots: whether they are the commands of a map; see `SinkAttribute`.
        """
        self._commands = commands
        self._in_slots = in_slots
        self._is_shown = True
        for message in backlog:
            name = message.command
            if name is None or isinstance(message, Batch):
                continue
            if in_slots:
                self._begin(message, name)
            before = self._states.get(name, QUEUED)
            after = state_after(message, before, commands.get(name))
            self._states[name] = after
            self._by_phase[before.phase].pop(name, None)
            self._by_phase[after.phase][name] = None
        if in_slots:
            done = [name for phase in ENDED for name in self._by_phase[phase]]
            for name in done:
                if name not in commands:
                    self._forget(name)

    def _begin(self, message: BatchMessage, name: str) -> None:
        """Count the earlier command of a name, if this message is of a later one."""
        if isinstance(message, (Started, Failed)) and message.attempt == 1:
            self._forget(name)
        elif isinstance(message, Restarting) and name not in self._states:
            # While the terminal was slow, the last attempt ended, too.  So the command was taken
            # for one that had failed for good.
            self._forgotten["failed"] -= 1

    def _forget(self, name: str) -> None:
        """Keep no more of a command than how it ended."""
        state = self._states.pop(name, None)
        if state is not None:
            del self._by_phase[state.phase][name]
            self._forgotten[state.phase] += 1

    def clear(self) -> None:
        """Show no line from the next output on."""
        self._is_shown = False

    def wrap(self, columns: int | None, *, fits: bool, changed: bool) -> tuple[bytes, bytes]:
        """Return the bytes to write before and after some output, so that the line is below it.

        Args:
            columns: the width of the terminal; None if unknown.
            fits: whether the output ends with a whole line, so that there is room for this line.
            changed: whether there is any output, or the terminal was resized.
        """
        width = (columns or UNKNOWN_WIDTH) - 1
        text = self._line(width) if fits and self._is_shown else ""
        line = text.encode(errors="backslashreplace") + b"\r" if text else b""
        if not changed and line == self._written:
            return b"", b""
        erase = ERASE if self._written else b""
        self._written = line
        return erase, line

    def _line(self, width: int) -> str:
        """Return the text, of at most `width` columns."""
        running, failed = self._count("running", "ready"), self._count("failed")
        total = "" if self._in_slots else f"/{len(self._commands)}"
        text = f"{self._count(*ENDED)}{total} done, {running} running, {failed} failed"
        return f"currant: {text}"[:width]

    def _count(self, *phases: Phase) -> int:
        return sum(len(self._by_phase[phase]) + self._forgotten[phase] for phase in phases)
