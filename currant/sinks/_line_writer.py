"""What stands in one file so far, as far as it matters for what comes next.

Whole lines only: where a line is unfinished, only its own command and stream may go on with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from currant.sinks._colors import paint

if TYPE_CHECKING:
    from currant._values.lines import Batch
    from currant.sinks._files import Part

__all__ = ["Parts", "Sheet"]

Parts: TypeAlias = "tuple[bytes, Part]"
"""What comes first, and what may be large and is not copied once more."""

ESCAPE = b"\x1b"
RESET = b"\x1b[0m"


class Sheet:
    """Makes the text of one file, line by line.

    Args:
        color_system: which colours it takes; None: none.
        rewinds: whether it is a terminal, on which text after a lone carriage return is written
            over what was there before.
    """

    def __init__(self, color_system: str | None = None, *, rewinds: bool = False) -> None:
        self._color_system = color_system
        self.rewinds = rewinds
        self._unfinished: tuple[str, str] | None = None  # of which command, and which stream
        self._may_be_styled = False  # by what a command wrote
        self._rewound = False  # whether it stands at the beginning of that line again

    @property
    def is_at_line_start(self) -> bool:
        """Whether nothing unfinished stands there."""
        return self._unfinished is None

    def lines(self, batch: Batch, label: str, style: str | None, *, in_place: bool) -> Parts:
        """Return the text for `batch`, each of its lines with `label` before it.

        Args:
            batch: the lines.
            label: what stands before each; may be empty.
            style: that of the label.
            in_place: whether a lone carriage return may rewind the line; or else it ends it.
        """
        prefix = self._styled(label, style)
        data = batch.data
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n")
            if not in_place:
                data = data.replace(b"\r", b"\n")
        begin = self._begin(batch, prefix)
        self._may_be_styled = self._may_be_styled or ESCAPE in data
        self._note_end(batch, data[-1:])
        body = data.replace(b"\n", b"\n" + prefix)
        if in_place:
            body = body.replace(b"\r", b"\r" + prefix)
        if data.endswith((b"\n", b"\r")):
            return begin, memoryview(body)[: len(body) - len(prefix)]  # none after the last line
        return begin, body

    def as_written(self, batch: Batch) -> Parts:
        """Return the bytes of `batch`, after the end of an unfinished line of another one."""
        begin = self._begin(batch, b"")
        self._note_end(batch, batch.data[-1:])
        return begin, batch.data

    def note(self, text: str) -> bytes:
        """Return the text for what currant says itself."""
        return self.end() + text.encode(errors="backslashreplace") + b"\n"

    def end(self) -> bytes:
        """Return what ends an unfinished line, and the style that a command has left on."""
        rest = b"" if self._unfinished is None else b"\n"
        if self._may_be_styled and self._color_system is not None:
            rest = RESET + rest
        self._unfinished, self._may_be_styled = None, False
        return rest

    def _begin(self, batch: Batch, prefix: bytes) -> bytes:
        if self._unfinished is None:
            return prefix
        if self._unfinished != (batch.command, batch.stream):
            return b"\n" + prefix
        return prefix if self._rewound else b""

    def _note_end(self, batch: Batch, last: bytes) -> None:
        self._unfinished = None if last == b"\n" else (batch.command, batch.stream)
        self._rewound = last == b"\r"

    def _styled(self, text: str, style: str | None) -> bytes:
        data = text.encode(errors="backslashreplace")
        if not data or style is None or self._color_system is None:
            return data
        before, after = paint(style, self._color_system)
        return before + data + after
