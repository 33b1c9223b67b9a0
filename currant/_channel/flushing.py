"""`FlushingSplitter`: whole lines, and what has come of a line that takes long.

Silence alone is no sign that a reader should see an unfinished line: a program that prints a dot
for each of its steps is never silent, and its line may take minutes.  So after ten times
`flush_after`, the next chunk takes the unfinished line with it.  Not after once that time, because
programs write in blocks, which end inside a line, and lines that come whole are easier to read.
"""

from __future__ import annotations

from anyio import current_time

from currant._values.lines import MAX_LINE, LineSplitter

__all__ = ["HALF_CHARACTER", "FlushingSplitter"]

HALF_CHARACTER = 0.05
"""Seconds to wait for the rest of a character, if an unfinished line is given at once."""

PATIENCE = 10
"""How many times `flush_after` a line that is never silent may take."""


class FlushingSplitter(LineSplitter):
    """A `LineSplitter` that does not hold back a line for long, while chunks come.

    If no chunk comes, call `flush` after the silence.

    Args:
        limit: the most bytes of a line, without the ending, that stay together.
        flush_after: seconds of silence after which the caller flushes; None: never.
    """

    __slots__ = ("_begun", "_flush_after")

    def __init__(self, limit: int = MAX_LINE, flush_after: float | None = None) -> None:
        super().__init__(limit)
        self._flush_after = flush_after
        self._begun = 0.0  # when the unfinished line began

    def feed(self, chunk: bytes) -> bytes:
        """Add a `chunk`, and return the whole lines so far, and a line that has taken too long."""
        if self._flush_after is None:
            return super().feed(chunk)
        is_new = not self.can_flush
        whole = super().feed(chunk)
        if not self.can_flush:
            return whole
        if self._flush_after == 0:
            return whole + self.flush_characters()
        now = current_time()
        if is_new or whole:
            self._begun = now
        if now - self._begun < PATIENCE * self._flush_after:
            return whole
        self._begun = now
        return whole + self.flush()
