"""The values of one job, from any item of the library or the command line.

Values are checked here, once, so that a template can fill a command with them without another
check: each value is text that the system takes as an argument.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from os import PathLike
from typing import NamedTuple, cast

from currant._values.checks import check_encodable
from currant._values.errors import CommandError

__all__ = ["Row", "checked_values", "row_of"]


class Row(NamedTuple):
    """The values of one job.

    Attributes:
        values: the values, as arguments of a program.
        names: the names of the columns, one for each value; empty if the columns have no names.
    """

    values: tuple[str, ...]
    names: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The values, joined by spaces."""
        return " ".join(self.values)


def row_of(item: object) -> Row:
    """Return the values of an item.

    Args:
        item: a str, bytes, a path or a number is one value.  A tuple or list of these is several
            values.  A mapping from names to these is several values with names, in the order of the
            mapping.  A `Row` is returned as it is.

    Raises:
        CommandError: the item or one of its values has another type, or cannot be an argument.
    """
    if isinstance(item, Row):
        return item
    if isinstance(item, str):
        values: tuple[str, ...] = (item,)
        names: tuple[str, ...] = ()
    elif isinstance(item, (tuple, list)):
        values = tuple([_text_of(value) for value in cast("tuple[object, ...]", item)])
        names = ()
    elif isinstance(item, Mapping):
        columns = cast("Mapping[object, object]", item)
        names = tuple([_name_of(name) for name in columns])
        values = tuple([_text_of(value) for value in columns.values()])
    else:
        values = (_text_of(item, "a tuple, a list, a mapping or "),)
        names = ()
    return Row(checked_values(values), names)


def checked_values(values: tuple[str, ...]) -> tuple[str, ...]:
    """Return `values` if each of them can be an argument of a program.

    Raises:
        CommandError: a value has a NUL character, or cannot be encoded.
    """
    for value in values:
        if "\0" in value or not value.isascii():
            check_encodable("a value", value)
    return values


def _text_of(value: object, others: str = "") -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, (bytes, PathLike)):
        return os.fsdecode(cast("bytes | PathLike[str]", value))
    kind = "an item" if others else "a value of an item"
    raise CommandError(
        f"{kind} must be {others}a str, bytes, a path or a number, not {value!r}, which is of the "
        f"type {type(value).__name__}"
    )


def _name_of(name: object) -> str:
    if isinstance(name, str):
        return name
    raise CommandError(
        f"the names of an item must be str, not {name!r}, which is of the type "
        f"{type(name).__name__}"
    )
