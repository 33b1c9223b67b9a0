r"""The grammar of placeholders: the parts of a template that stand for the values of a job.

=============  ===========================================================
``{}``         all values
``{2}``        the second value; ``{-1}``: the last
``{name}``     the value of the column with that name
``{#}``        the number of the job, from 1
``{%}``        the slot of the job, from 1
=============  ===========================================================

A suffix changes a value that is a path: ``{.}`` is the path without its extension, ``{/}`` the last
component, ``{//}`` the directory (``.`` if there is none), and ``{/.}`` the last component without
its extension.  It follows a number or a name: ``{2/.}``, ``{name//}``.

All other text in braces is literal, such as ``{print $1}`` and ``{a,b}``.  Only an unknown name is
an error, because a misspelled column would otherwise be a silent mistake.  A name is an identifier,
or that of a column that exists, such as ``{first name}``.  ``{{name}}`` is the literal text
``{name}``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, TypeAlias

from currant._values.errors import CommandError, suggestion

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from currant._batch.rows import Row

__all__ = ["Placeholder", "Text", "pattern_of", "placeholder_of", "split_text"]

_SUFFIX = r"(?P<suffix> /\. | // | / | \. )?"

_NAME = r"[^\W\d][\w-]*"

_PLACEHOLDER = r"""
      (?<!\{{) \{{\{{ (?P<literal> {name} (?: /\. | // | / | \. )? ) \}}\}} (?!\}})
    | \{{ (?:
          (?P<counter> [#%] )
        | (?: (?P<index> -?[1-9][0-9]* ) | (?P<name> {name} ) )? {suffix}
      ) \}}
"""

_PLAIN = re.compile(_PLACEHOLDER.format(name=_NAME, suffix=_SUFFIX), re.VERBOSE)


@lru_cache(16)
def pattern_of(names: tuple[str, ...]) -> re.Pattern[str]:
    """Return the pattern of a placeholder, or of literal text in two pairs of braces.

    Args:
        names: the names of the columns.  One of them may have any characters, such as spaces; any
            other name is an identifier, so that text in braces stays literal.
    """
    others = [name for name in names if name and not _PLAIN.fullmatch(f"{{{name}}}")]
    if not others:
        return _PLAIN
    longest_first = sorted(others, key=len, reverse=True)
    name = "|".join([*map(re.escape, longest_first), _NAME])
    return re.compile(_PLACEHOLDER.format(name=f"(?: {name} )", suffix=_SUFFIX), re.VERBOSE)


Kind: TypeAlias = Literal["all", "index", "name", "number", "slot"]


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A part of a template that stands for values of a job.

    Attributes:
        text: the placeholder as written, with its braces.
        kind: ``"all"`` values, one by its ``"index"`` or by the ``"name"`` of its column, the
            ``"number"`` of the job, or its ``"slot"``.
        index: the place of the value, from 0, or below 0 from the end; of a name, the place in
            `names`.
        name: the name of the column; empty if there is none.
        names: the columns that the template was made for.
        change: how the suffix changes a value; None if there is no suffix.
    """

    text: str
    kind: Kind
    index: int = 0
    name: str = ""
    names: tuple[str, ...] = ()
    change: Callable[[str], str] | None = None

    def texts(self, row: Row, number: int, slot: int) -> tuple[str, ...]:
        """Return the values for one job: any number for ``{}``, and one for the others.

        Raises:
            CommandError: the row has no such value.
        """
        if self.kind == "all":
            values = row.values
            return values if self.change is None else tuple(map(self.change, values))
        return (self.one_text(row, number, slot),)

    def one_text(self, row: Row, number: int, slot: int) -> str:
        """Return the values for one job as one text, joined by spaces.

        Raises:
            CommandError: the row has no such value.
        """
        match self.kind:
            case "all":
                return " ".join(self.texts(row, number, slot))
            case "number":
                return str(number)
            case "slot":
                return str(slot)
            case "index" | "name":
                value = self._value_of(row, number)
                return value if self.change is None else self.change(value)

    def _value_of(self, row: Row, number: int) -> str:
        index = self.index
        try:
            if self.kind == "name" and row.names != self.names:
                index = row.names.index(self.name)
            return row.values[index]
        except (IndexError, ValueError):
            raise CommandError(
                f"job {number} has no value for {self.text}: {_described(row)}"
            ) from None


def _described(row: Row) -> str:
    """Return the text of a message about the values that a row has."""
    if row.names:
        return "its columns are " + ", ".join(map(repr, row.names))
    if not row.values:
        return "it has none"
    count = f"{len(row.values)} values" if len(row.values) > 1 else "1 value"
    return f"it has {count}, {', '.join(map(repr, row.values))}"


Text: TypeAlias = "tuple[str | Placeholder, ...]"
"""A text of a template: literal parts and placeholders, in order."""


def split_text(text: str, names: Sequence[str] | None, columns: int | None) -> Text:
    """Split a text into its literal parts and its placeholders.

    Args:
        text: the text of a template.
        names: the names of the columns; None if they have none.
        columns: the number of values of each row; None if it is not known.

    Raises:
        CommandError: the text has a placeholder with an unknown name, or for a value beyond
            `columns`.
    """
    parts: list[str | Placeholder] = []
    literal = ""
    end = 0
    for match in pattern_of(tuple(names or ())).finditer(text):
        literal += text[end : match.start()]
        end = match.end()
        if (placeholder := placeholder_of(match, names, columns)) is None:
            literal += f"{{{match['literal']}}}"
            continue
        parts += [literal, placeholder] if literal else [placeholder]
        literal = ""
    literal += text[end:]
    return (*parts, literal) if literal else tuple(parts)


def placeholder_of(
    match: re.Match[str], names: Sequence[str] | None, columns: int | None
) -> Placeholder | None:
    """Return the placeholder that `pattern_of` has found; None if it is literal text.

    Raises:
        CommandError: the placeholder has an unknown name, or is for a value beyond `columns`.
    """
    text = match[0]
    if match["literal"]:
        return None
    if counter := match["counter"]:
        return Placeholder(text, "number" if counter == "#" else "slot")
    change = _CHANGES[match["suffix"] or ""]
    if name := match["name"]:
        if names is not None and text[1:-1] in names:
            name, change = text[1:-1], None
        if names is None or name not in names:
            raise CommandError(_unknown(match, names))
        return Placeholder(text, "name", list(names).index(name), name, tuple(names), change)
    if index := match["index"]:
        place = int(index)
        if columns is not None and abs(place) > columns:
            has = f"{columns} values" if columns > 1 else f"{columns or 'no'} value"
            raise CommandError(f"there is no value for {text}: each job has {has}")
        return Placeholder(text, "index", place - 1 if place > 0 else place, change=change)
    return Placeholder(text, "all", change=change)


def _unknown(match: re.Match[str], names: Sequence[str] | None) -> str:
    known = (
        suggestion(match["name"], names)
        if names
        else "; the columns have no names, so there are {}, {1}, {#}, {%}, and for a part of a "
        "path {.}, {/}, {//}, {/.}, {1.}"
    )
    return f"unknown placeholder {match[0]}{known}; for the literal text, write {{{match[0]}}}"


def _without_extension(path: str) -> str:
    stem, dot, extension = path.rpartition(".")
    return stem if dot and "/" not in extension else path


def _last_component(path: str) -> str:
    return path[path.rfind("/") + 1 :]


def _directory(path: str) -> str:
    trimmed = path.rstrip("/")
    directory, slash, _ = trimmed.rpartition("/")
    return directory.rstrip("/") or ("/" if slash or path[:1] == "/" else ".")


def _stem(path: str) -> str:
    return _without_extension(_last_component(path))


_CHANGES: dict[str, Callable[[str], str] | None] = {
    "": None,
    ".": _without_extension,
    "/": _last_component,
    "//": _directory,
    "/.": _stem,
}
"""How each suffix changes a value; as in GNU parallel, also for names that begin with a dot."""
