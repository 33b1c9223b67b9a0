"""A shell script with placeholders, filled in such a way that no value is ever read as code.

The values of a job never enter the text of the script.  They are parameters of the shell, and the
text refers to them, in the way that suits the quotes around a placeholder::

    gzip -c {} > '{/.}'.gz    becomes    gzip -c "${1}" > ''"${2}"''.gz

Escaping the values was rejected, because the rules differ between shells, and between the places of
one script.
"""

from __future__ import annotations

import re
import shlex
from functools import lru_cache
from typing import TYPE_CHECKING

from currant._batch.quoting import Place, Quote, split_script
from currant._values.shell_syntax import with_exec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from currant._batch.placeholders import Placeholder
    from currant._batch.rows import Row

__all__ = ["Script"]

_CHANGES_PARAMETERS = re.compile(
    r"""
      \( \s* \)
    | (?<! [\w./-] ) (?: set | shift | function | eval | source | IFS ) (?! [\w./-] )
    | (?: ^ | [;&|({] ) \s* \. \s
    """,
    re.VERBOSE | re.MULTILINE,
)
"""A function, or a command that may change the parameters of the shell."""

_HARD_TO_READ = re.compile(r"\$\( | ` | << | \$' | (?<! \w ) case (?! \w )", re.VERBOSE)
"""What may mislead about the quotes around a placeholder: no value is written there for people."""

_SPECIAL_IN_QUOTES = re.compile(r'[$`"\\]')


class Script:
    """A script in which placeholders refer to parameters of the shell.

    Attributes:
        has_placeholder: whether there is a placeholder.
    """

    def __init__(
        self,
        text: str,
        names: Sequence[str] | None,
        columns: int | None,
        *,
        shell: str,
        may_exec: bool,
    ) -> None:
        """Find the placeholders.

        Args:
            text: the script.
            names: the names of the columns; None if they have none.
            columns: the number of values of each row; None if it is not known.
            shell: the name of the shell, which it puts before its own messages.
            may_exec: whether the program of a simple command may take the place of the shell.

        Raises:
            CommandError: a placeholder is unknown, or cannot be where it is.
        """
        self._parts = split_script(text, names, columns)
        places = [part for part in self._parts if isinstance(part, Place)]
        self.has_placeholder = bool(places)
        self._shell = shell
        # Each placeholder has its parameters, however often the script has it.
        unique = dict.fromkeys(place.placeholder for place in places)
        self._placeholders = tuple(sorted(unique, key=lambda each: each.kind == "all"))
        self._may_exec = may_exec
        self._has_own_parameters = _CHANGES_PARAMETERS.search(text) is not None
        self._is_hard_to_read = _HARD_TO_READ.search(text) is not None
        self._is_all = not self._has_own_parameters and [
            each.kind for each in self._placeholders
        ] == ["all"]
        # As many texts as there are different numbers of values; with `-n`, those are two.
        self._text_for = lru_cache(16)(self._make_text)

    def texts(self, row: Row, number: int, slot: int) -> list[str]:
        """Return the words of the shell for one job: the script, ``$0``, and the parameters.

        Raises:
            CommandError: the row has no value for a placeholder.
        """
        text = self._text_for(0 if self._is_all else len(row.values))
        if not self._placeholders:
            return [text]
        words = [text, self._shell]
        for placeholder in self._placeholders:
            words += placeholder.texts(row, number, slot)
        return words

    def line(self, row: Row, number: int, slot: int) -> str | None:
        """Return the script with quoted values in the place of its placeholders, for people.

        None if a placeholder is where a quoted value would not mean the same.

        Raises:
            CommandError: the row has no value for a placeholder.
        """
        if self._is_hard_to_read:
            return None
        words: list[str] = []
        for part in self._parts:
            if isinstance(part, str):
                words.append(part)
            elif not part.is_plain:
                return None
            elif part.is_word:
                texts = part.placeholder.texts(row, number, slot)
                words.append(" ".join(map(shlex.quote, texts)))
            else:
                text = part.placeholder.one_text(row, number, slot)
                words.append(_quoted(text, part.quote))
        return "".join(words)

    def _make_text(self, count: int) -> str:
        """Return the script for rows with `count` values, with references to parameters."""
        references: dict[Placeholder, list[str]] = {}
        total = 0
        for placeholder in self._placeholders:
            size = count if placeholder.kind == "all" else 1
            references[placeholder] = [self._reference(total + 1 + each) for each in range(size)]
            total += size
        text = "".join(
            part if isinstance(part, str) else self._referring(part, references[part.placeholder])
            for part in self._parts
        )
        if self._has_own_parameters:  # The parameters may change; these variables do not.
            kept = " ".join(f"_value{each}=${{{each}}}" for each in range(1, total + 1))
            return f"{kept}; {text}" if kept else text
        return with_exec(text) if self._may_exec else text

    def _reference(self, number: int) -> str:
        return f"${{_value{number}}}" if self._has_own_parameters else f"${{{number}}}"

    def _referring(self, place: Place, references: list[str]) -> str:
        """Return the text that stands for the values of a placeholder."""
        if place.is_word and self._is_all:
            return '"$@"'
        if place.is_word:
            return " ".join(f'"{each}"' for each in references)
        joined = "$*" if self._is_all else " ".join(references)
        match place.quote:
            case '"':
                return joined
            case "'":
                return f"'\"{joined}\"'"
            case "":
                return f'"{joined}"'


def _quoted(text: str, quote: Quote) -> str:
    """Return a text as it has to be written between quotation marks of this kind, or without."""
    match quote:
        case "":
            return shlex.quote(text)
        case "'":
            return text.replace("'", "'\"'\"'")
        case '"':
            return _SPECIAL_IN_QUOTES.sub(r"\\\g<0>", text)
