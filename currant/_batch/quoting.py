"""Find the placeholders of a shell script, and the quotation that each of them stands in.

This reads as much of the shell's grammar as quotes need: quotes, escapes, substitutions, comments
and here-documents.  It need not be exact.  `currant._batch.script` puts a reference to a parameter
in the place of a placeholder, and a shell never reads the value of a parameter as code.  So a
mistake here could split a value into words, and no more.  The exceptions are a script for another
shell inside of the script, and arithmetic, where some shells evaluate a value as an expression,
which may contain a command: a placeholder there is an error, also if it is not sure that it is
there.  What a command such as ``declare -i`` does with a value is not looked at.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, TypeAlias

from currant._batch.placeholders import Placeholder, pattern_of, placeholder_of, split_text
from currant._values.errors import CommandError, CommandParseError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Place", "split_script"]


@lru_cache(16)
def _marks_of(names: tuple[str, ...]) -> re.Pattern[str]:
    """Return the pattern of what has a meaning in a script, or is a placeholder."""
    return re.compile(
        rf"""
          \\.
        | (?P<placeholder> {pattern_of(names).pattern} )
        | \$[$\#] | \$?\(\( | \$\( | \$\{{ | <<< | <<
        | [`'"()}}\#\n]
        """,
        re.VERBOSE | re.DOTALL,
    )


_SHELLS = r"""
    (?: ash | bash | csh | dash | fish | ksh | mksh | nu | rbash | sh | tcsh | zsh | BASH | SHELL )
    [\d.]* ["'}]*
"""
"""The name of a shell, or a variable with its path, and what may close quotes around it."""

_SPACE = r"(?> (?: \s | \\\n )+ )"

_OPTION = rf"""
    (?: (?: [-+]\w*[oO] | --(?: emulate | init-file | rcfile ) ) {_SPACE} \S+
      | [-+] (?! \w*[oO]\s ) \S* )
"""
"""An option of a shell, with its value if it has one, as in ``-o pipefail``."""

_BEFORE_COMMAND = "(?: then | do | else | if | elif | while | until | builtin | command )"

_RUNS_SCRIPT = re.compile(
    rf"""
      (?<! [\w.-] ) {_SHELLS} (?: {_SPACE} {_OPTION} )*
          {_SPACE} -\w*c (?: \w*[oO] {_SPACE} \S+ | \w* ) (?> (?: {_SPACE} {_OPTION} )* ) {_SPACE}
    | (?P<eval> (?: \A | [;&|(){{}}`!\n] | (?<! \w ) {_BEFORE_COMMAND} ) \s* eval {_SPACE} )
    | (?P<builtin> (?<! [\w./-] ) (?: eval | trap ) (?> (?: {_SPACE} -- )? ) {_SPACE} )
    """,
    re.VERBOSE,
)
"""What stands before a word that a shell inside of the script takes for a script of its own."""

_SUBSTITUTION = r"""(?: \$ (?: \w++ | \{\w+\} | \( [^()"'`\\]* \) | [@*\#?$!-] ) | `[^`"'\\]*` )"""
"""A substitution without quotes of its own."""

_WORD = rf"""
    (?> (?: \\. | '[^']*' | " (?> (?: \\. | [^"\\`$] | {_SUBSTITUTION} | \$ (?= [\s"] ) )* ) "
      | [^\s\\'"`$;&|()<>] | {_SUBSTITUTION} )+ )
"""
"""A word with simple quotes."""

_WHOLE_WORD = re.compile(
    rf"(?! (?> {_SUBSTITUTION}+ ) [ \t] ) {_WORD} (?= [\s;&|)<>] )", re.VERBOSE | re.DOTALL
)
"""A word that has ended for sure, and is there even if a variable is empty."""

_WHOLE_COMMAND = re.compile(
    rf"(?> (?: {_WORD} | [ \t] | >[&|]? | <&? )+ ) (?= [\n;&|)] )", re.VERBOSE | re.DOTALL
)
"""The words of a command that has ended for sure."""

_INDEX = r"(?> (?: \[ [^]]* \] | [^]] )* )"

_EVALUATED = re.compile(
    rf"""
    (?: \$\[ {_INDEX}
      | (?<! [\w./-] ) let \s (?: '[^']*' | " (?: \\. | [^"\\] )* (?: " | \Z ) | [^;&|\n'"] )*
      | (?<! \w ) [A-Za-z_]\w* \[ (?> (?: \[ [^]]* \] | [^]\s] )* )
      | (?<! \w ) [A-Za-z_]\w* \+?=\( (?: [^)]*\s )? \[ (?> (?: \[ [^]]* \] | [^]\s] )* )
      | \$\{{ [\w@*!\#]* \[ {_INDEX}
      | \$\{{ [\w@*!\#]+ (?: \[ [^}}]* \] )? : (?! [-=?+] ) (?> (?: \$\{{ [^}}]* \}} | [^}}] )* )
    ) \Z
    """,
    re.VERBOSE,
)
"""The begin of arithmetic that is no ``(( ))``: ``$[ ]``, ``let``, the index of an array, and the
place of a substring."""

_IN_TEST = re.compile(r"\[\[ \s (?P<test> (?: (?! \]\] ) . )* ) \Z", re.VERBOSE | re.DOTALL)
"""The begin of ``[[ ]]``."""

_END_OF_TEST = re.compile(r"&& | \|\| | \]\]", re.VERBOSE)

_NUMERIC = re.compile(r"(?: \A | \s ) -(?: eq | ne | lt | le | gt | ge | v ) \s", re.VERBOSE)
"""An operator of ``[[ ]]`` that evaluates its operands; that of ``[ ]`` does not."""

_ARITHMETIC = (
    "{} cannot be in the arithmetic of a shell, because some shells run commands in a value there; "
    "if two parentheses are not arithmetic, put a space between them; for a test, write [ ] for "
    "[[ ]]"
)

_PROBLEM = (
    "{} is in a script inside of the script, which would read a value as code; pass the value on "
    "as an argument: bash -c 'echo \"$1\"' bash {{}}"
)

_BEFORE_WORD = " \t\n;&|(`"

_AFTER_WORD = " \t\n;&|)`"

_ESCAPED_IN_QUOTES = '$`"\\\n'
"""What a backslash takes the meaning from inside of double quotes."""

Quote: TypeAlias = Literal["", "'", '"']


@dataclass(frozen=True, slots=True)
class Place:
    """A placeholder in a script.

    Attributes:
        placeholder: the placeholder.
        quote: the quotation mark around it; empty if there is none.
        is_word: whether it is a word by itself, so that several values become several words.
        is_plain: whether a quoted value could stand here.  It cannot in backquotes and ``${...}``,
            where quotes follow other rules.
    """

    placeholder: Placeholder
    quote: Quote
    is_word: bool
    is_plain: bool


def split_script(
    script: str, names: Sequence[str] | None, columns: int | None
) -> tuple[str | Place, ...]:
    """Split a script into its literal parts and its placeholders.

    Braces after ``$`` belong to the shell, and an unquoted backslash before a placeholder makes it
    literal.  A comment has no placeholders.

    Args:
        script: a script in the language of POSIX's ``sh``.
        names: the names of the columns; None if they have none.
        columns: the number of values of each row; None if it is not known.

    Raises:
        CommandError: a placeholder has an unknown name, is for a value beyond `columns`, or is in
            arithmetic or after the first line of a here-document.
        CommandParseError: a quotation is not closed.
    """
    scanner = _Scanner(script, names, columns)
    scanner.scan()
    return tuple(scanner.parts)


class _Scanner:
    """A pass over a script, from its beginning to its end.

    Attributes:
        parts: the literal parts and the placeholders up to the present position.
    """

    def __init__(self, script: str, names: Sequence[str] | None, columns: int | None) -> None:
        self.parts: list[str | Place] = []
        self._script = script
        self._names = names
        self._columns = columns
        self._pattern = pattern_of(tuple(names or ()))
        self._marks = _marks_of(tuple(names or ()))
        self._opened: list[str] = []
        """The quotes, substitutions and parentheses around the present position."""
        self._copied = 0
        """The end of what `parts` has."""
        self._escaped = 0
        """The end of the last escape, which is a part of the word that follows."""
        self._has_document = False

    def scan(self) -> None:
        position = 0
        while match := self._marks.search(self._script, position):
            if match["placeholder"]:
                self._read_placeholder(match)
                position = match.end()
            else:
                position = self._read(match[0], match.start(), match.end())
        if '"' in self._opened:
            raise CommandParseError(self._script, "No closing quotation")
        self._copy(len(self._script), len(self._script))

    def _read(self, mark: str, start: int, end: int) -> int:
        """Read a mark of the shell's grammar, and return where the next one may begin."""
        is_quoted = self._is_quoted()
        if mark[0] == "\\":
            if is_quoted and mark[1] not in _ESCAPED_IN_QUOTES:
                return self._read_literal_backslash(start)
            self._escaped = end
        elif mark in {'"', "`"} and self._top() == mark:
            self._opened.pop()
        elif mark in {'"', "`", "$(", "$((", "${"}:
            self._opened.append(mark)
        elif mark == "}" and self._top() == "${":
            self._opened.pop()
        elif not is_quoted:
            return self._read_unquoted(mark, start, end)
        return end

    def _read_literal_backslash(self, start: int) -> int:
        """Read a backslash that is no escape, and must not become the escape of a reference."""
        if self._pattern.match(self._script, start + 1):
            self._copy(start, start + 1)
            self.parts.append("\\\\")
        return start + 1

    def _read_unquoted(self, mark: str, start: int, end: int) -> int:
        """Read a mark that has a meaning outside of quotes only."""
        if mark == "'":
            return self._read_single_quotes(start)
        if mark in {"(", "(("}:
            self._opened.append(mark)
        elif mark == ")":
            return self._close_parenthesis(end)
        elif mark == "#" and self._begins_word(start):
            newline = self._script.find("\n", end)
            return len(self._script) if newline < 0 else newline
        elif mark == "<<" and not self._is_arithmetic():
            self._has_document = True
        elif mark == "\n" and self._has_document:
            return self._skip_document(end)
        return end

    def _read_single_quotes(self, start: int) -> int:
        end = self._script.find("'", start + 1)
        if end < 0:
            raise CommandParseError(self._script, "No closing quotation")
        self._copy(start + 1, start + 1)
        parts = split_text(self._script[start + 1 : end], self._names, self._columns)
        if any(isinstance(part, Placeholder) for part in parts):
            if _is_read_again(self._script[: start + 1], is_word=False):
                raise CommandError(_PROBLEM.format("a placeholder"))
            if self._is_evaluated(start, end + 1):
                raise CommandError(_ARITHMETIC.format("a placeholder"))
        for part in parts:
            self.parts.append(
                part if isinstance(part, str) else Place(part, "'", is_word=False, is_plain=True)
            )
        self._copied = end
        return end + 1

    def _close_parenthesis(self, end: int) -> int:
        if self._top() in {"(", "$("}:
            self._opened.pop()
        elif self._top() in {"((", "$(("} and self._script.startswith(")", end):
            self._opened.pop()
            return end + 1
        return end

    def _skip_document(self, start: int) -> int:
        """Leave the rest as it is: where the document ends is not known."""
        for match in self._pattern.finditer(self._script, start):
            is_known = not match["name"] or match["name"] in (self._names or ())
            is_of_shell = self._script[match.start() - 1] == "$"
            if is_known and not is_of_shell and not match["literal"]:
                raise CommandError(
                    f"{match[0]} cannot come after the first line of a here-document; put the "
                    "value into a variable before, such as value={}"
                )
        return len(self._script)

    def _read_placeholder(self, match: re.Match[str]) -> None:
        placeholder = placeholder_of(match, self._names, self._columns)
        self._copy(match.start(), match.end())
        if placeholder is None:
            self.parts.append(f"{{{match['literal']}}}")
            return
        quote: Quote = '"' if self._is_quoted() else ""
        is_word = not quote and self._is_word(match.start(), match.end())
        if _is_read_again(self._script[: match.start()], is_word=is_word):
            raise CommandError(_PROBLEM.format(match[0]))
        if self._is_evaluated(match.start(), match.end()):
            raise CommandError(_ARITHMETIC.format(match[0]))
        is_plain = not {"`", "${"}.intersection(self._opened)
        self.parts.append(Place(placeholder, quote, is_word, is_plain))

    def _copy(self, end: int, next_part: int) -> None:
        """Take the text up to `end` as a literal part; the next part begins at `next_part`."""
        if self._copied < end:
            self.parts.append(self._script[self._copied : end])
        self._copied = next_part

    def _top(self) -> str:
        return self._opened[-1] if self._opened else ""

    def _is_quoted(self) -> bool:
        """Return whether double quotes are around the position, with no substitution between."""
        return next((each for each in reversed(self._opened) if each != "${"), "") == '"'

    def _is_evaluated(self, start: int, end: int) -> bool:
        """Return whether a shell takes the text there for a part of an expression."""
        before = self._script[:start]
        if self._is_arithmetic() or _EVALUATED.search(before):
            return True
        if (found := _IN_TEST.search(before)) is None:
            return False
        begin = _END_OF_TEST.split(found["test"])[-1]
        rest = _END_OF_TEST.split(self._script[end:], maxsplit=1)[0]
        return _NUMERIC.search(f"{begin} {rest}") is not None

    def _is_arithmetic(self) -> bool:
        return not {"((", "$(("}.isdisjoint(self._opened)

    def _begins_word(self, start: int) -> bool:
        return start == 0 or (self._script[start - 1] in _BEFORE_WORD and start != self._escaped)

    def _is_word(self, start: int, end: int) -> bool:
        is_last = end == len(self._script) or self._script[end] in _AFTER_WORD
        return self._begins_word(start) and is_last


def _is_read_again(before: str, *, is_word: bool) -> bool:
    """Return whether a placeholder after this text is in a script for a shell inside of the script.

    A word that is not simple counts as unfinished.  So a harmless template may be refused, but no
    value becomes code because of quotes that are hard to read.
    """
    position = 0
    while call := _RUNS_SCRIPT.search(before, position):
        if is_word and (call["eval"] or call["builtin"]) and call.end() == len(before):
            return False  # The value begins the script, as in `eval {}`.
        script = (_WHOLE_COMMAND if call["eval"] else _WHOLE_WORD).match(before, call.end())
        if script is None:
            return True
        position = script.end()
    return False
