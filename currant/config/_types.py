"""The types of the values in a configuration, as schemas of pydantic's core.

The module `pydantic_core` checks the values.  The classes of pydantic itself, which would make the
same schemas, take several times as long to import and to build.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from pydantic_core.core_schema import (
    bool_schema,
    dict_schema,
    float_schema,
    int_schema,
    list_schema,
    literal_schema,
    no_info_before_validator_function,
    str_schema,
    tagged_union_schema,
    union_schema,
)

from currant.config._variables import Expanded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic_core import CoreSchema

__all__ = [
    "ACCOUNT",
    "ANY_TEXT",
    "COUNT",
    "FLAG",
    "POSITIVE_SECONDS",
    "PTY_SIDE",
    "SECONDS",
    "SIGNAL",
    "SIZE",
    "SIZE_PATTERN",
    "TEXT",
    "TEXTS",
    "VARIABLES",
    "VARIABLE_NAME",
    "WHOLE",
    "WORDS",
    "WRAP",
    "by_kind",
    "or_variable",
    "words_of",
]

KINDS: Sequence[tuple[type | tuple[type, ...], str]] = (
    (bool, "<flag>"),  # before the numbers, of which a bool is one
    ((int, float), "<number>"),
    (str, "<text>"),
    (list, "<list>"),
    (dict, "<table>"),
)
"""The tag of each kind of value; the tag chooses the member of a union."""


def _tag_of(value: object) -> str:
    """Return the tag for a value."""
    return next((tag for kinds, tag in KINDS if isinstance(value, kinds)), "<other>")


def by_kind(**types: CoreSchema) -> CoreSchema:
    """Return the type of a value that may be of several kinds.

    Args:
        types: the type of each kind: `flag`, `number`, `text`, `list` or `table`.
    """
    return tagged_union_schema({f"<{kind}>": each for kind, each in types.items()}, _tag_of)


def or_variable(type_: CoreSchema) -> CoreSchema:
    """Return the type of a number or a flag that a variable may set.

    In the file, the value is then a text such as ``"${WORKERS:-2}"``.
    """
    either = union_schema([type_, str_schema(pattern=r"\$\{")])
    return no_info_before_validator_function(_as_number, type_, json_schema_input_schema=either)


def _as_number(value: object) -> object:
    """Return a text that variables have set as the number or the flag that it stands for.

    Any other value is returned as it is.
    """
    if not isinstance(value, Expanded):
        return value
    words = {"true": True, "false": False}
    if value in words:
        return words[value]
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value


def words_of(literal: object) -> CoreSchema:
    """Return the type of a text that must be one of the words of a `Literal`."""
    return literal_schema(list(get_args(literal)))


SIZE_PATTERN = "^[1-9][0-9]*[kKmMgG]?$"
VARIABLE_NAME = "^[^=]+$"

FLAG = or_variable(bool_schema())
COUNT = or_variable(int_schema(ge=1))
WHOLE = or_variable(int_schema(ge=0))
PTY_SIDE = or_variable(int_schema(ge=1, le=65535))
SECONDS = or_variable(float_schema(ge=0, allow_inf_nan=False))
POSITIVE_SECONDS = or_variable(float_schema(gt=0, allow_inf_nan=False))

ANY_TEXT = str_schema()
TEXT = str_schema(min_length=1)
TEXTS = by_kind(text=TEXT, list=list_schema(TEXT))
WORDS = by_kind(text=TEXT, list=list_schema(ANY_TEXT, min_length=1))
WRAP = by_kind(text=ANY_TEXT, list=list_schema(ANY_TEXT))

SIZE = by_kind(number=int_schema(ge=1), text=str_schema(pattern=SIZE_PATTERN))
ACCOUNT = by_kind(number=int_schema(ge=0), text=TEXT)
SIGNAL = by_kind(number=int_schema(ge=1), text=TEXT)
VARIABLES = dict_schema(
    str_schema(pattern=VARIABLE_NAME), by_kind(text=ANY_TEXT, number=int_schema())
)
