"""Limit output to the size that a model can read, and say how much is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from currant._values.errors import plain_text
from currant._values.messages import Dropped
from currant._values.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from currant._values.lines import Line

__all__ = ["MAX_LINE", "last_that_fit", "shown"]

MAX_LINE = 1000
"""Characters of a line that are shown: a bundle in one line says no more than its start."""


def shown(message: Line | Dropped) -> str:
    """Return a line of output with its command, or a note about missing lines."""
    name = printable(message.command or "")
    if isinstance(message, Dropped):
        return f"{name} | ({message.lines} lines are missing here)"
    text = plain_text(message)
    rest = len(text) - MAX_LINE
    return f"{name} | {text}" if rest <= 0 else f"{name} | {text[:MAX_LINE]}… ({rest} more)"


def last_that_fit(lines: Sequence[str], max_chars: int) -> Sequence[str]:
    """Return the last lines that have at most `max_chars` characters together, at least one."""
    size = 0
    for count, line in enumerate(reversed(lines)):
        size += len(line) + 1
        if count and size > max_chars:
            return lines[len(lines) - count :]
    return lines
