"""What reports say about a command that has ended: how, in a line, and its last lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from currant._values.errors import plain_text
from currant._values.results import end_of

if TYPE_CHECKING:
    from currant._values.results import Result

__all__ = ["LAST_LINES", "MAX_OUTPUT", "as_utf_8", "end_in_a_line", "last_lines"]

LAST_LINES = 10
"""How many of the last lines of a failed command are shown."""

MAX_OUTPUT = 16 * 1024
"""Bytes of each output that a report has: the last ones."""


def end_in_a_line(result: Result) -> str:
    """Return in one line how a command has ended, without the last lines of an error."""
    return str(end_of(result)).partition("\n")[0]


def last_lines(result: Result) -> str:
    """Return the last lines of a command, without escape sequences and control characters."""
    return "\n".join(map(plain_text, result.tail[-LAST_LINES:]))


def as_utf_8(text: str) -> str:
    """Return a text with U+FFFD in place of bytes that are not UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
