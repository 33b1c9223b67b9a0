r"""A regular expression that is searched for in each line of output.

Searching line by line in Python would cost more than reading the output.  So many lines are
searched at once, with ``^`` and ``$`` at each line, and only the line of a match is then searched
alone.  This finds the same lines, unless the expression looks beyond its line (`LOOKS_AROUND`):
then each different line is searched alone.

Text is searched without its escape sequences, unless the caller wants it as it is: colours would
divide "ready in 5 ms".
"""

from __future__ import annotations

import re
from codecs import utf_8_decode
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias, cast

from currant._values.escape_sequences import ESCAPE, ESCAPE_SEQUENCE

__all__ = ["LinePattern", "Lines"]

LOOKS_AROUND = re.compile(r"\\[AZz]|\(\?(?:[=!>(]|<[=!]|[a-zA-Z]*-)|[*+?}]\+")
"""Finds in the source of an expression: anchors of the whole text, lookarounds, conditions, local
flags, and possessive repetitions, which take no newline back."""

CONTINUATIONS = ("a", "0", " ", ":", "\0")
"""What may come next in an unfinished line: a character of each kind that patterns tell apart."""

AnyText: TypeAlias = Any
"""A str or bytes, as the expression is."""


class Lines(NamedTuple):
    """Lines of output to search.

    Attributes:
        data: the bytes, endings included.
        begins_inside: whether the first line has begun before `data`.
        may_go_on: whether more of the last line may come, if the last line has no ending.
    """

    data: bytes
    begins_inside: bool = False
    may_go_on: bool = False


@dataclass(frozen=True, slots=True)
class LinePattern:
    """A regular expression for a line.

    Attributes:
        pattern: the expression, of str (UTF-8; U+FFFD replaces invalid bytes) or of bytes.
        raw: whether escape sequences are searched, too.
    """

    pattern: re.Pattern[Any]
    raw: bool = False
    _quick: re.Pattern[Any] | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_quick", _for_many_lines(self.pattern))

    def found_in(self, lines: Lines) -> bool | None:
        """Return whether a line matches; None if a match holds only if the last line ends here."""
        data = lines.data
        if not data:
            return False
        if not self.raw and ESCAPE in data:
            data = ESCAPE_SEQUENCE.sub(b"", data)
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        is_open = lines.may_go_on and not data.endswith(b"\n")
        data = data.removesuffix(b"\n")
        is_text = isinstance(self.pattern.pattern, str)
        # Half a character at the end is no text until it is known that the rest does not come.
        text, used = utf_8_decode(data, "replace", not is_open) if is_text else (data, len(data))
        start = int(lines.begins_inside)  # so that ^ does not match there
        if self._quick is None:
            found = self._search_each(text, start, is_open=is_open)
        else:
            found = self._search_all(text, start, self._quick, is_open=is_open)
        return None if found is False and used < len(data) else found

    def _search_all(
        self, text: AnyText, start: int, quick: re.Pattern[Any], *, is_open: bool
    ) -> bool | None:
        newline = _like(text, "\n")
        while match := cast("re.Match[Any] | None", quick.search(text, start)):
            begin = text.rfind(newline, 0, match.start()) + 1
            end = text.find(newline, match.start())
            line = text[begin:] if end < 0 else text[begin:end]
            found = self._search(line, max(0, start - begin), is_open=is_open and end < 0)
            if found is not False or end < 0:
                return found
            start = end + 1
        return False

    def _search_each(self, text: AnyText, start: int, *, is_open: bool) -> bool | None:
        *lines, last = text.split(_like(text, "\n"))
        if lines:
            # A command that repeats itself has few different lines.
            others = set(lines[1:])
            if self.pattern.search(lines[0], start) or any(map(self.pattern.search, others)):
                return True
        return self._search(last, 0 if lines else start, is_open=is_open)

    def _search(self, line: AnyText, start: int, *, is_open: bool) -> bool | None:
        if self.pattern.search(line, start) is None:
            return False
        if not is_open:
            return True
        # Whatever comes next must not undo the match.
        if _like(line, "(?!") in self.pattern.pattern:
            return None
        longer = (line + _like(line, each) for each in CONTINUATIONS)
        is_certain = all(self.pattern.search(each, start) is not None for each in longer)
        return True if is_certain else None


def _like(text: AnyText, word: str) -> AnyText:
    """Return `word` as a str or as bytes, as `text` is."""
    return word if isinstance(text, str) else word.encode()


def _for_many_lines(pattern: re.Pattern[Any]) -> re.Pattern[Any] | None:
    """Return an expression that matches in a text if `pattern` matches in one of its lines.

    None if there is no such expression.
    """
    source: Any = pattern.pattern
    words = source if isinstance(source, str) else source.decode("latin-1")
    if LOOKS_AROUND.search(words):
        return None
    flags = pattern.flags | re.MULTILINE
    if words.startswith("^") and "|" not in words:
        # Without the anchor, a search for a literal is ten times as fast.
        with suppress(re.error):
            return re.compile(source[1:], flags)
    return re.compile(source, flags)
