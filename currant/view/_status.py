"""`StatusLine`: how many commands run, are ready and have failed, in a line below the output."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from currant._values.printable import printable
from currant.sinks._progress import ProgressLine

if TYPE_CHECKING:
    from collections.abc import Iterable

    from currant._values.state import Phase

__all__ = ["StatusLine", "fitted"]

HINT = "? for help"
STOPPING_HINT = "q or Ctrl-C kills"

PHASES: tuple[tuple[str, tuple[Phase, ...]], ...] = (
    ("failed", ("failed",)),
    ("restarting", ("restarting",)),
    ("ready", ("ready",)),
    ("running", ("running",)),
    ("done", ("succeeded", "stopped", "skipped")),
)
"""The words of the line, and the phases that each word counts."""


class StatusLine(ProgressLine):
    """A line such as ``currant: 1 failed (db), 2 ready, 1 running | ? for help``.

    Attributes:
        prompt: a question to the person, with the answer so far, in place of the counts.
        note: a text about the selection of output, such as a filter.
        is_hidden: whether the line is empty.
        is_stopping: whether all commands are being stopped; the line names those that are left.
    """

    def __init__(self) -> None:
        super().__init__()
        self.prompt: str | None = None
        self.note: str = ""
        self.is_hidden: bool = False
        self.is_stopping: bool = False

    def _line(self, width: int) -> str:
        if self.is_hidden:
            return ""
        if self.prompt is not None:
            return fitted(f"currant: {self.prompt}", width)
        note = f" [{self.note}]" if self.note else ""
        stopping = "stopping: " if self.is_stopping else ""
        texts = (
            f"currant: {stopping}{self._counts(with_names=with_names)}{note}{hint}"
            for hint in (f" | {STOPPING_HINT if self.is_stopping else HINT}", "")
            for with_names in (True, False)
        )
        *_, shortest = shown = list(texts)
        return next((text for text in shown if columns_of(text) <= width), fitted(shortest, width))

    def _counts(self, *, with_names: bool) -> str:
        parts: list[str] = []
        named = ("ready", "running") if self.is_stopping else ("failed", "restarting")
        for word, phases in PHASES:
            count = self._count(*phases)
            if count:
                names = self._names(phases) if with_names and word in named else ""
                parts.append(f"{count} {word}{names}")
        queued = len(self._commands) - sum(self._count(*phases) for _, phases in PHASES)
        if queued > 0:
            parts.append(f"{queued} queued")
        return ", ".join(parts)

    def _names(self, phases: Iterable[Phase]) -> str:
        names = (printable(name) for phase in phases for name in self._by_phase[phase])
        return f" ({', '.join(names)})"


def fitted(text: str, width: int) -> str:
    """Return the beginning of `text` that fits into `width` columns."""
    while columns_of(text) > width:
        text = text[:-1]
    return text


def columns_of(text: str) -> int:
    """Return how many columns a terminal needs for `text`."""
    return sum(
        0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "FW")
        for c in text
    )
