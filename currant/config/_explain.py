"""Turn the errors of pydantic into problems in plain words."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from currant.config._model import COMMAND_TABLE, TOP_TABLE
from currant.config._tables import TABLES
from currant.config._toml import is_array, is_table, to_toml
from currant.config._types import SIZE_PATTERN, VARIABLE_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pydantic_core import ErrorDetails, ValidationError

    from currant.config._documents import Document
    from currant.config._problems import Key, Problem
    from currant.config._table import Table

__all__ = ["problems_in", "shown"]

MAX_SHOWN = 60
"""Characters of a value that a message shows."""

KINDS = {
    "<flag>": "true or false",
    "<number>": "a number",
    "<text>": "a text in quotes",
    "<list>": "an array",
    "<table>": "a table",
}
"""The tags of the unions, in words."""

EXPECTED = {
    "string_type": "a text in quotes",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "list_type": "an array",
    "dict_type": "a table",
    "string_unicode": "a text that is valid UTF-8",
    "string_too_short": "a text that is not empty",
    "too_short": "an array that is not empty",
}
"""The values that are expected, by the type of pydantic's error."""

PATTERNS = {
    SIZE_PATTERN: 'a number of bytes, such as 500, "10k", "10M" or "1G"',
    VARIABLE_NAME: "the name of a variable, without =",
}
"""The texts that are expected, by the pattern that the text does not match."""

BOUNDS = {
    "greater_than_equal": ("ge", ">="),
    "greater_than": ("gt", ">"),
    "less_than_equal": ("le", "<="),
}


def problems_in(error: ValidationError, document: Document) -> Iterator[tuple[Key, Problem]]:
    """Yield the key and the problem of each mistake."""
    for found in error.errors(include_url=False):
        key = _key_of(found["loc"])
        if found["type"] == "extra_forbidden":
            names = list(_table_around(key).keys)
            yield key, document.problem(key, f"unknown key{_nearest(str(key[-1]), names)}")
        elif found["type"] == "missing":
            yield key[:-1], document.problem(key[:-1], f"the key {key[-1]!r} is missing")
        else:
            yield key, document.problem(key, _text_of(found))


def _key_of(loc: Sequence[int | str]) -> Key:
    """Return the key of an error, without the tags of unions."""
    in_commands = loc[:1] == ("commands",)
    return tuple(
        part
        for index, part in enumerate(loc)
        if part not in KINDS or (in_commands and index == 1)  # a command may have any name
        if part != "[key]"
    )


def _table_around(key: Key) -> Table:
    """Return the table that a key is in."""
    if key[0] != "commands" or len(key) < 3:
        table = TOP_TABLE
        inner = key[:-1]
    else:
        table = COMMAND_TABLE
        inner = key[2:-1]
    for part in inner:
        table = TABLES.get(str(part), table)
    return table


def _text_of(found: ErrorDetails) -> str:
    kind, value = found["type"], found["input"]
    context: Mapping[str, Any] = found.get("ctx", {})
    if kind in ("one_of", "option"):
        return found["msg"]
    if kind in BOUNDS:
        name, sign = BOUNDS[kind]
        expected = f"a number {sign} {context[name]:g}"
    elif kind == "literal_error":
        expected = context["expected"]
        words = [word.strip("'") for word in expected.replace(" or ", ", ").split(", ")]
        return f"got {shown(value)}, expected {expected}{_nearest(value, words)}"
    elif kind == "union_tag_invalid":
        tags = context["expected_tags"].replace("'", "").split(", ")
        expected = " or ".join(KINDS[tag] for tag in tags)
    elif kind == "dict_type" and found["loc"][:1] == ("commands",) and len(found["loc"]) == 2:
        expected = "a line for the shell, or a table"
    elif kind == "string_pattern_mismatch":
        expected = PATTERNS[context["pattern"]]
    else:
        expected = EXPECTED.get(kind, found["msg"])
    return f"got {shown(value)}, expected {expected}"


def _nearest(name: object, names: Sequence[str]) -> str:
    """Return the end of a message that names the nearest right name, if one is near."""
    if not isinstance(name, str):
        return ""
    close = get_close_matches(name.replace("-", "_"), names, 1)
    return f"; did you mean {close[0]!r}?" if close else ""


def shown(value: object) -> str:
    """Return a value as TOML writes it, shortened to `MAX_SHOWN`; a table or an array in words."""
    if is_table(value):
        return "a table"
    if is_array(value):
        return "an array"
    text = to_toml(value)
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."
