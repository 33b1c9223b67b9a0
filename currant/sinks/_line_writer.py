"""`LineWriter`: the text of a file, which knows whether the file ends in an unfinished line.

Only the same command and stream may continue an unfinished line; other output starts a new line.
On a terminal, a `ControlFilter` for each stream removes the sequences that would spoil other lines.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

from currant._values.escape_sequences import ESCAPE
from currant.sinks._colors import paint
from currant.sinks._control import RESET

if TYPE_CHECKING:
    from collections.abc import Callable

    from currant._values.lines import Batch
    from currant.sinks._control import ControlFilter
    from currant.sinks._files import Chunk

__all__ = ["Chunks", "LineWriter"]

Chunks: TypeAlias = "tuple[bytes, Chunk]"
"""A beginning, and a body that may be large and is not copied again."""

REWINDS = re.compile(rb"\r+")
ERASE_REST = b"\x1b[K"
ERASE_SEQUENCE = re.compile(rb"\x1b\[([02]?)[KJ]")
"""Erases the rest of the line of the cursor, or with a 2 all of it."""


class LineWriter:
    """Builds the text of a file, line by line.

    Args:
        color_system: the colours that the file takes, by rich's name; if None, no colours.
        rewinds: whether the file is a terminal, on which text after a lone carriage return
            overwrites the line.
        keeps_returns: whether carriage returns stay as they are, because the file is no terminal.
        new_filter: returns the filter for a stream; if None, `lines` passes all sequences on.
    """

    def __init__(
        self,
        color_system: str | None = None,
        *,
        rewinds: bool = False,
        keeps_returns: bool = False,
        new_filter: Callable[[], ControlFilter] | None = None,
    ) -> None:
        self._color_system = color_system
        self.rewinds = rewinds
        self._keeps_returns = keeps_returns
        self._new_filter = new_filter
        self._filters: dict[tuple[str, str], ControlFilter] = {}
        self._unfinished: tuple[str, str] | None = None  # the command and the stream
        self._is_over = False  # whether no more output of the unfinished line can come
        self._may_be_styled = False  # by the output of a command
        self._rewound = False  # after a lone carriage return
        # The commands and streams whose unfinished line was ended for the text of another.
        self._broken_off: set[tuple[str, str]] = set()

    @property
    def is_at_line_start(self) -> bool:
        """Whether the file does not end in an unfinished line."""
        return self._unfinished is None

    def lines(self, batch: Batch, label: str, style: str | None, *, in_place: bool) -> Chunks:
        """Return the text for `batch`, with `label` before each line.

        Args:
            batch: the lines.
            label: the label; may be empty.
            style: the style of the label; if None, no colour.
            in_place: whether a lone carriage return rewinds the line, which may then be erased; if
                not, it ends the line, unless it is kept.
        """
        prefix = self._styled(label, style)
        data = batch.data
        if self._new_filter is not None:
            data = self._filter_of(batch, self._new_filter).feed(data, erases=in_place)
        if b"\r" in data and not self._keeps_returns:
            # A terminal adds a \r before each \n, also if the program has written one.
            data = data.replace(b"\r\r\n", b"\n").replace(b"\r\n", b"\n")
            if not in_place and b"\r" in data:
                data = REWINDS.sub(b"\n", data)
        if in_place and ESCAPE in data:
            is_begun = self._unfinished == (batch.command, batch.stream)
            data = _with_own_erases(data, is_begun=is_begun)
        data = self._without_end_of_broken_line(batch, data)
        if not data:
            return b"", b""
        begin = self._begin(batch, prefix)
        if self._new_filter is None and self._color_system is not None:
            # A filter ends each style with its line.
            self._may_be_styled = self._may_be_styled or ESCAPE in data
        self._note_end(batch, data[-1:])
        if not prefix:
            return begin, data
        body = data.replace(b"\n", b"\n" + prefix)
        if in_place:
            body = body.replace(b"\r", b"\r" + prefix)
        if data.endswith((b"\n", b"\r") if in_place else b"\n"):
            # No line follows the last ending, so no label does.
            return begin, memoryview(body)[: len(body) - len(prefix)]
        return begin, body

    def as_written(self, batch: Batch) -> Chunks:
        """Return the bytes of `batch`, after the end of another command's unfinished line."""
        begin = self._begin(batch, b"")
        self.wrote(batch)
        return begin, batch.data

    def wrote(self, batch: Batch) -> None:
        """Note that the bytes of `batch` are in the file as they are."""
        self._note_end(batch, batch.data[-1:])

    def begin_attempt(self, command: str) -> bytes:
        """Return the end of a line that the attempt before left unfinished, if the file ends in it.

        The new attempt does not continue that line, nor a line that other text broke off.
        """
        sources = {(command, "stdout"), (command, "stderr")}
        end = self.end() if self._unfinished in sources else b""
        self._broken_off -= sources
        return end

    def note(self, text: str) -> bytes:
        """Return a line with a text of currant's own."""
        return self.end() + text.encode(errors="backslashreplace") + b"\n"

    def finish(self, command: str) -> bytes:
        """Return the rest of an attempt's output: an incomplete character at its end."""
        rest = b""
        for stream in ("stdout", "stderr"):
            control = self._filters.pop((command, stream), None)
            self._broken_off.discard((command, stream))
            if self._unfinished == (command, stream):
                self._is_over = True
                if control is not None:
                    rest = control.finish() + control.end_styles()
        return rest

    def end(self) -> bytes:
        """Return the bytes that end an unfinished line, and a style that a command left on."""
        rest = self._end_line()
        if self._may_be_styled:
            rest = RESET + rest
        self._unfinished, self._may_be_styled = None, False
        return rest

    def _begin(self, batch: Batch, prefix: bytes) -> bytes:
        if self._unfinished is None:
            return prefix
        if self._unfinished != (batch.command, batch.stream):
            return self._end_line() + prefix
        return prefix if self._rewound else b""

    def _end_line(self) -> bytes:
        if self._unfinished is None:
            return b""
        if not self._is_over:
            self._broken_off.add(self._unfinished)
        control = self._filters.get(self._unfinished)
        return b"\n" if control is None else control.end_styles() + b"\n"

    def _without_end_of_broken_line(self, batch: Batch, data: bytes) -> bytes:
        """Leave out the end of a line that was ended for the text of another command.

        Otherwise an empty line would follow, with a label of its own.
        """
        source = (batch.command, batch.stream)
        if source not in self._broken_off or not data:
            return data
        self._broken_off.discard(source)
        return data.removeprefix(b"\n")

    def _filter_of(self, batch: Batch, new_filter: Callable[[], ControlFilter]) -> ControlFilter:
        key = (batch.command, batch.stream)
        if key not in self._filters:
            self._filters[key] = new_filter()
        return self._filters[key]

    def _note_end(self, batch: Batch, last: bytes) -> None:
        self._unfinished = None if last == b"\n" else (batch.command, batch.stream)
        self._is_over = False
        self._rewound = last == b"\r" and not self._keeps_returns

    def _styled(self, text: str, style: str | None) -> bytes:
        data = text.encode(errors="backslashreplace")
        if not data or style is None or self._color_system is None:
            return data
        before, after = paint(style, self._color_system)
        return before + data + after


def _with_own_erases(data: bytes, *, is_begun: bool) -> bytes:
    r"""Return `data` with erases that leave the label alone, and only where there is text to erase.

    A line is erased after a ``\r``, which is followed by the label.

    Args:
        data: the text of a command; its lines may be rewound.
        is_begun: whether the first line was begun before.
    """
    first, *others = data.split(b"\n")
    lines = [_with_own_erases_in_line(first, is_begun=is_begun)]
    lines += (_with_own_erases_in_line(line, is_begun=False) for line in others)
    return b"\n".join(lines)


def _with_own_erases_in_line(line: bytes, *, is_begun: bool) -> bytes:
    text, *rest = ERASE_SEQUENCE.split(line)
    for how, following in zip(rest[::2], rest[1::2], strict=True):
        if how == b"2" and (is_begun or text) and not text.endswith(b"\r"):
            text += b"\r"
        if is_begun or b"\r" in text:
            text += ERASE_REST
        text += following
    return text
