"""Find the line of each key in a TOML file, for messages.

`tomllib` gives no positions, and neither does any other parser in wide use (tomlkit keeps comments,
but no lines).  So this module reads the text a second time.  `tomllib` has already found the text
to be valid, so this module follows the structure alone, and skips the values.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from currant.config._problems import Key

__all__ = ["lines_of"]

_TOKEN = re.compile(
    r"""
      (?P<blank> [ \t\r]+ | \#[^\n]* )
    | (?P<newline> \n )
    | (?P<text>
          \"{3} (?: \\. | [^\\] )*? \"{3} "{0,2}    # one or two quotes may precede the last three
        | '{3} .*? '{3} '{0,2}
        | " (?: \\. | [^"\\\n] )* "
        | ' [^'\n]* '
      )
    | (?P<mark> [\[\]{}=,.] )
    | (?P<word> [^\s\[\]{}=,."'\#]+ )
    """,
    re.VERBOSE | re.DOTALL,
)


class _Token(NamedTuple):
    text: str
    line: int

    @property
    def ends_value(self) -> bool:
        return self.text in ("\n", ",", "]", "}", "")


def lines_of(text: str) -> dict[Key, int]:
    """Return the line, from 1, on which each key, table and item of an array begins.

    Args:
        text: the text of a file that `tomllib` can read.
    """
    return _Finder(text).lines


def _tokens(text: str) -> Iterator[_Token]:
    line = 1
    for match in _TOKEN.finditer(text):
        if match.lastgroup != "blank":
            yield _Token(match[0], line)
        line += match[0].count("\n")
    yield _Token("", line)


class _Finder:
    """Reads the tokens of a file from the first to the last.

    Attributes:
        lines: the line of each key that has been read.
    """

    def __init__(self, text: str) -> None:
        self.lines: dict[Key, int] = {}
        self._tokens = _tokens(text)
        self._token = next(self._tokens)
        self._last_tables: dict[Key, int] = {}
        self._read_file()

    def _read_file(self) -> None:
        table: Key = ()
        while self._token.text:
            if self._token.text == "\n":
                self._take()
            elif self._token.text == "[":
                table = self._header()
            else:
                self._pair(table)

    def _take(self) -> _Token:
        taken, self._token = self._token, next(self._tokens, self._token)
        return taken

    def _note(self, key: Key, line: int) -> None:
        self.lines.setdefault(key, line)

    def _header(self) -> Key:
        """Read ``[a.b]`` or ``[[a.b]]``, and return the key of the table that begins."""
        line = self._take().line
        is_item = self._token.text == "["
        if is_item:
            self._take()
        key: Key = ()
        *parents, last = self._key()
        for part in parents:
            key += (part,)
            self._note(key, line)
            if key in self._last_tables:
                key += (self._last_tables[key],)
        key += (last,)
        self._note(key, line)
        if is_item:
            index = self._last_tables[key] = self._last_tables.get(key, -1) + 1
            key += (index,)
            self._note(key, line)
        while self._token.text == "]":
            self._take()
        return key

    def _pair(self, table: Key) -> None:
        """Read ``a.b = value``."""
        line = self._token.line
        key = table
        for part in self._key():
            key += (part,)
            self._note(key, line)
        self._take()  # the equals sign
        self._value(key)

    def _key(self) -> list[str]:
        parts = [_unquoted(self._take().text)]
        while self._token.text == ".":
            self._take()
            parts.append(_unquoted(self._take().text))
        return parts

    def _value(self, key: Key) -> None:
        if self._token.text == "[":
            self._array(key)
        elif self._token.text == "{":
            self._inline_table(key)
        else:
            while not self._token.ends_value:
                self._take()

    def _array(self, key: Key) -> None:
        self._take()
        index = 0
        while self._token.text != "]":
            if self._token.text == ",":
                index += 1
            if self._token.text in (",", "\n"):
                self._take()
            else:
                self._note((*key, index), self._token.line)
                self._value((*key, index))
        self._take()

    def _inline_table(self, key: Key) -> None:
        self._take()
        while self._token.text != "}":
            if self._token.text in (",", "\n"):
                self._take()
            else:
                self._pair(key)
        self._take()


def _unquoted(key: str) -> str:
    if key[0] not in "\"'":
        return key
    unquoted: str = tomllib.loads(f"key = {key}")["key"]
    return unquoted
