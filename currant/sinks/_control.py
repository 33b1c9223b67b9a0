r"""Output without the control sequences that would spoil a shared terminal or a log.

A sequence that moves the cursor, clears the screen or switches to another screen destroys the lines
of other commands.  `ControlFilter` lets colours (SGR: ``CSI ... m``) and hyperlinks (OSC 8) pass,
and ends them with their line.  Where a line may be rewound, the sequences that erase it (EL: ``CSI
K``; ED from the cursor on: ``CSI J``) pass on request.  A move to the first column (CHA: ``CSI 1
G``; CUB by 100 columns or more: ``CSI 1000 D``) becomes a ``\r``, which does the same.  The filter
removes all the rest of ECMA-48 and xterm: other CSI and OSC sequences; the strings DCS, APC, PM and
SOS; short sequences such as ``ESC c`` and ``ESC 7``; the characters of C1; and the control
characters that move the cursor (backspace, vertical tab, form feed), switch the character set (SO,
SI) or make the terminal answer (ENQ).

The result depends on the bytes alone, not on the pieces in which they arrive: an incomplete
sequence or character at the end of a piece is held back.  A string ends with its line at the
latest, so a string without an end hides no more than the rest of its line.
"""

from __future__ import annotations

import re

from currant._values.escape_sequences import ESCAPE, ESCAPE_SEQUENCE, SEQUENCE

__all__ = ["ControlFilter", "SequenceFilter"]

MAX_HELD = 4096
"""Bytes of an incomplete sequence that are held back; the rest of a longer sequence is discarded.

A hyperlink is shorter: terminals accept about 2083 bytes.
"""

RESET = b"\x1b[0m"
END_OF_LINK = b"\x1b]8;;\x1b\\"

_INCOMPLETE = re.compile(
    rb"\x1b(?:\[[0-?]*+[ -/]*+|\][^\x07\x1b\r\n]*+\x1b?|[PX^_][^\x1b\r\n]*+\x1b?|[ -/]*+)"
)
_BEGINS_LONG = b"[]PX^_"
"""The second bytes of the sequences that may be long."""

_COLOR = rb"\x1b\[[0-9;:]*+m"
_ERASE = rb"\x1b\[(?:[02]?+K|0?+J)"
_LINK = rb"\x1b\]8;[^;\x07\x1b\r\n]*+;[^\x07\x1b\r\n]*+(?:\x07|\x1b\\)"
_FIRST_COLUMN = re.compile(rb"\x1b\[(?:[01]?+G|[0-9]{3,}+D)")
_CONTROLS = (b"\x05", b"\x08", b"\x0b", b"\x0c", b"\x0e", b"\x0f")
_CONTROL = b"[" + b"".join(_CONTROLS) + b"]"

_ANY_CONTROL = re.compile(b"()(?:" + SEQUENCE + b"|" + _CONTROL + b")")
_STYLE_OR_ANY = re.compile(b"(" + _COLOR + b"|" + _LINK + b")|" + SEQUENCE + b"|" + _CONTROL)
_STYLE_ERASE_OR_ANY = re.compile(
    b"(" + _COLOR + b"|" + _LINK + b"|" + _ERASE + b")|" + SEQUENCE + b"|" + _CONTROL
)
"""Sequences and control characters; the group is the part that passes."""
_NO_COLOR = re.compile(rb"\x1b(?!\[[0-9;:]*+m)|" + _CONTROL)
"""The start of any sequence but a colour; most output has none, and the search is fast."""

_CHARACTER = rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}"
_C1 = re.compile(rb"\xc2[\x80-\x9f]|(" + _CHARACTER + rb")|[\x80-\x9f]")
"""A character of C1, as UTF-8 or as a single byte; the group is any other character."""
_C1_AS_UTF_8 = re.compile(rb"\xc2[\x80-\x9f]")
_CUT_CHARACTER = re.compile(rb"(?:[\xc2-\xf4]|[\xe0-\xf4][\x80-\xbf]|[\xf0-\xf4][\x80-\xbf]{2})\Z")

_OPEN_COLOR = rb"\x1b\[(?!0*m)[0-9;:]*+m[^\x1b\r\n]*+(?>(?:\x1b(?!\[[0-9;:]*+m)[^\x1b\r\n]*+)*)"
_OPEN_LINK = (
    rb"\x1b\]8;[^;\x07\x1b\r\n]*+;[^\x07\x1b\r\n]++(?:\x07|\x1b\\)"
    rb"[^\x1b\r\n]*+(?>(?:\x1b(?!\]8;)[^\x1b\r\n]*+)*)"
)


class SequenceFilter:
    """Removes all escape sequences from one stream, and nothing else."""

    def __init__(self) -> None:
        self._held: bytes = b""

    def feed(self, data: bytes) -> bytes:
        """Add the next piece of the stream, and return the text that is complete so far."""
        if not self._held and ESCAPE not in data:
            return data
        return ESCAPE_SEQUENCE.sub(b"", self._complete(data))

    def _complete(self, data: bytes) -> bytes:
        """Return the data without an incomplete sequence at the end, which is held back."""
        data = self._held + data
        start = _start_of_incomplete(data)
        held = self._held = data[start:]
        if len(held) > MAX_HELD:
            # The "?" makes sure that the sequence will be neither a colour nor a link.
            filler = b"?" if held[1:2] in _BEGINS_LONG else b""
            self._held = held[:2] + filler + (ESCAPE if held.endswith(ESCAPE) else b"")
        return data[:start]


def _start_of_incomplete(data: bytes) -> int:
    """Return where an incomplete sequence at the end begins; without one, the size of `data`."""
    last = data.rfind(ESCAPE)
    if last < 0:
        return len(data)
    if last == len(data) - 1:  # This may be the first half of ``ESC \``, the end of a string.
        before = data.rfind(ESCAPE, 0, last)
        if before >= 0 and _INCOMPLETE.fullmatch(data, before):
            return before
    return last if _INCOMPLETE.fullmatch(data, last) else len(data)


class ControlFilter(SequenceFilter):
    """Removes from one stream what would harm a shared terminal.

    Args:
        styles: whether colours and hyperlinks pass.
    """

    def __init__(self, *, styles: bool) -> None:
        super().__init__()
        self._styles = styles
        self._controls = _STYLE_OR_ANY if styles else _ANY_CONTROL
        self._color, self._link = _Style(_OPEN_COLOR, RESET), _Style(_OPEN_LINK, END_OF_LINK)
        self._cut_character = b""

    def feed(self, data: bytes, *, erases: bool = False) -> bytes:
        r"""Add the next piece of the stream, and return the harmless text that is complete so far.

        Args:
            data: any bytes, in which ``\r`` and ``\n`` end a line.
            erases: whether the sequences that erase a line pass, too, where styles do.
        """
        if self._cut_character or not data.isascii():
            data = self._without_c1(data)
        if self._held or ESCAPE in data or any(control in data for control in _CONTROLS):
            data = _FIRST_COLUMN.sub(b"\r", self._complete(data))
            if not self._styles or _NO_COLOR.search(data):
                may_erase = erases and self._styles
                controls = _STYLE_ERASE_OR_ANY if may_erase else self._controls
                data = controls.sub(rb"\1", data)
        return self._link.end_with_lines(self._color.end_with_lines(data))

    def end_styles(self) -> bytes:
        """Return the sequences that end the styles of the unfinished line."""
        return self._link.end() + self._color.end()

    def finish(self) -> bytes:
        """Return the bytes of an incomplete character, at the end of the stream."""
        return self._cut_character

    def _without_c1(self, data: bytes) -> bytes:
        data = self._cut_character + data
        cut = _CUT_CHARACTER.search(data, max(0, len(data) - 3))
        end = len(data) if cut is None else cut.start()
        self._cut_character = data[end:]
        data = data[:end]
        try:
            data.decode()
        except UnicodeDecodeError:
            return _C1.sub(rb"\1", data)
        return _C1_AS_UTF_8.sub(b"", data) if b"\xc2" in data else data  # This saves a lot of time.


class _Style:
    """A style that begins with one sequence and ends with another, line by line.

    Args:
        opened: a pattern for the start of the style, and the rest of an unfinished line.
        end: the sequence that ends the style.
    """

    def __init__(self, opened: bytes, end: bytes) -> None:
        self._open_line = re.compile(rb"(" + opened + rb")(?=[\r\n])")
        self._open_piece = re.compile(opened + rb"\Z")
        self._end = end
        self._begin = b""  # of the style of the unfinished line

    def end_with_lines(self, data: bytes) -> bytes:
        """Return `data` with an end of the style before each end of a line that lacks one."""
        if not self._begin and ESCAPE not in data:
            return data
        whole = self._open_line.sub(rb"\1" + self._end.replace(b"\\", rb"\\"), self._begin + data)
        shown = whole[len(self._begin) :]
        found = self._open_piece.search(whole)
        self._begin = b"" if found is None else _start_of(found[0])
        return shown

    def end(self) -> bytes:
        """Return the end of the style of the unfinished line; nothing if none is open."""
        end = self._end if self._begin else b""
        self._begin = b""
        return end


def _start_of(line: bytes) -> bytes:
    found = ESCAPE_SEQUENCE.match(line)
    assert found is not None
    return found[0]
