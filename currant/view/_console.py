"""`ViewConsole`: a console for keys, which filters the output and shows the last failure."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from currant._values.lines import Batch
from currant._values.messages import Aborted, Exited, Failed, Started
from currant._values.printable import printable
from currant.sinks._console import ConsoleSink
from currant.sinks._control import SequenceFilter
from currant.sinks._events import describe
from currant.view._status import StatusLine

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from currant._values.command import Command
    from currant._values.messages import BatchMessage

__all__ = ["Selection", "ViewConsole"]

TAIL = 4096
"""Bytes of the last output of each command, kept for a failure."""

LINES = 20
"""Lines of the last output that a failure shows."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which output is shown.

    Attributes:
        solo: the name of the only command with visible output; None: all commands.
        text: a text that each line must contain, in upper or lower case; empty: all lines.
    """

    solo: str | None = None
    text: str = ""

    def __str__(self) -> str:
        solo = "" if self.solo is None else f"only {printable(self.solo)}"
        return ", ".join(filter(None, (solo, f"filter: {self.text}" if self.text else "")))

    def of(self, backlog: Iterable[BatchMessage]) -> list[BatchMessage]:
        """Return the messages without the output that is not selected."""
        pattern = re.compile(
            rb"[^\n]*" + re.escape(self.text.encode()) + rb"[^\n]*\n?", re.IGNORECASE
        )
        shown: list[BatchMessage] = []
        for message in backlog:
            if not isinstance(message, Batch):
                shown.append(message)
            elif self.solo in (None, message.command):
                data = b"".join(pattern.findall(message.data)) if self.text else message.data
                if data:
                    shown.append(replace(message, data=data))
        return shown


class _Failure(NamedTuple):
    """The text of a failure, and the last output before the failure."""

    command: str
    text: str
    time: float
    tail: bytes

    def lines(self, label: str) -> Iterable[str]:
        """Return the lines that show the failure, with a label before those of the output."""
        at = time.strftime("%H:%M:%S", time.localtime(self.time))
        name = printable(self.command)
        yield f"currant: the last failure, at {at}: {name}: {self.text}"
        # The first line may lack its beginning.
        lines = SequenceFilter().feed(self.tail).decode(errors="replace").splitlines()
        for line in lines[1 if len(self.tail) == TAIL else 0 :][-LINES:]:
            yield f"{label}{printable(line)}"


class ViewConsole(ConsoleSink):
    """A `ConsoleSink` with a status line, for the `Keyboard`.

    Attributes:
        selection: the output that is shown from now on.
    """

    selection: Selection = Selection()
    _has_keys = True
    _failure: _Failure | None = None

    @property
    def status(self) -> StatusLine | None:
        """The line below the output; None if stderr is no terminal that can move the cursor."""
        return self._progress if isinstance(self._progress, StatusLine) else None

    async def show(self, lines: Iterable[str]) -> None:
        """Write lines of currant's own, after the output that has come."""
        await self._run(partial(self._show, list(lines)))

    async def refresh(self, *, is_resized: bool = False) -> None:
        """Write the status line again."""
        await self._run(partial(self._flush, is_resized=is_resized))

    async def show_last_failure(self) -> None:
        """Write the last failure and the output before it."""
        failure = self._failure
        if failure is None:
            await self.show(["currant: no command has failed"])
        else:
            batch = Batch(failure.command, "stdout", failure.tail, failure.time)
            await self.show(failure.lines(self._formatter.label(batch)))

    def _new_progress(self) -> StatusLine:
        self._tails: dict[str, bytes] = {}
        return StatusLine()

    def _handle(self, backlog: Sequence[BatchMessage], commands: Mapping[str, Command]) -> None:
        for message in backlog:
            self._note(message, commands)
        selection = self.selection
        super()._handle(backlog if selection == Selection() else selection.of(backlog), commands)

    def _note(self, message: BatchMessage, commands: Mapping[str, Command]) -> None:
        match message:
            case Batch(command=name, data=data):
                if self._progress is not None:
                    self._tails[name] = (self._tails.get(name, b"") + data[-TAIL:])[-TAIL:]
            case Started(command=name):
                self._tails.pop(name, None)
            case Exited(command=name) | Failed(command=name) | Aborted(command=name):
                described = describe(message, commands)
                if not described.is_expected or not isinstance(message, Exited):
                    tail = self._tails.get(name, b"")
                    self._failure = _Failure(name, described.text, message.time, tail)
            case _:
                pass

    def _show(self, lines: Sequence[str]) -> None:
        writer, output = next(iter(self._outputs.items()))  # stderr
        for line in lines:
            output.add(writer.note(line))
        self._flush()
