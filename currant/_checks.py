"""Checks of what a caller gives, which several values have in common."""

from __future__ import annotations

from math import inf, isnan
from typing import cast

from currant._errors import CommandError

__all__ = ["check_count", "check_flag", "check_seconds", "is_number"]


def is_number(value: object) -> bool:
    """Tell whether `value` is a number that a float can hold, or infinity."""
    try:
        return isinstance(value, (int, float)) and not isnan(value)
    except OverflowError:
        return False


def check_count(what: str, number: object) -> None:
    """Raise `CommandError` for what is no whole number of at least 1."""
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise CommandError(f"{what} must be a whole number, at least 1, not {number!r}")


def check_flag(what: str, value: object) -> None:
    """Raise `CommandError` for what is neither True nor False."""
    if value not in (True, False):
        raise CommandError(f"{what} must be True or False, not {value!r}")


def check_seconds(what: str, value: object, *, optional: bool = True) -> None:
    """Raise `CommandError` for a number of seconds that is not above 0."""
    good = is_number(value) and 0 < cast("float", value) < inf
    if not good and not (optional and value is None):
        raise CommandError(f"{what} must be a number of seconds above 0, not {value!r}")
