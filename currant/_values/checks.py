"""Checks of what a caller gives, which several values have in common."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import cache
from math import inf, isnan
from os import PathLike
from signal import Signals, valid_signals
from types import MappingProxyType
from typing import TypeAlias, cast

from currant._values.errors import CommandError

__all__ = [
    "StrOrPath",
    "check_color",
    "check_count",
    "check_flag",
    "check_is_text",
    "check_name",
    "check_seconds",
    "check_size",
    "check_text",
    "checked_codes",
    "checked_env",
    "checked_path",
    "checked_signal",
    "is_number",
]

StrOrPath: TypeAlias = "str | PathLike[str]"


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


def check_is_text(text: object) -> None:
    # shlex.split(None) would read the host's stdin.
    if not isinstance(text, str):
        raise CommandError(f"a command line must be a text, not {text!r}")


def check_name(name: object) -> None:
    if not isinstance(name, str) or not name:
        raise CommandError(f"name must be a text that is not empty, not {name!r}")
    check_text("the name", name)


def check_color(color: object) -> None:
    if not (color is None or isinstance(color, str)):
        raise CommandError(f"color must be a text or None, not {color!r}")


def checked_path(what: str, value: object) -> str:
    if not isinstance(value, (str, bytes, PathLike)):
        raise CommandError(f"{what} must be a text or a path, not {value!r}")
    text = os.fsdecode(cast("StrOrPath | bytes", value))
    check_text(what, text)
    return text


def check_text(what: str, text: str) -> None:
    if "\0" in text:
        raise CommandError(f"{what} holds a NUL byte: {text!r}")
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        raise CommandError(f"{what} holds a lone surrogate, which has no bytes: {text!r}") from None


def check_size(what: str, number: object) -> None:
    is_whole = isinstance(number, int) and not isinstance(number, bool)
    if not (is_whole and 1 <= cast("int", number) <= 65535):
        raise CommandError(f"{what} must be a whole number from 1 to 65535, not {number!r}")


def checked_env(env: object) -> Mapping[str, str]:
    if not isinstance(env, Mapping):
        raise CommandError(f"env must be a mapping from name to text, not {env!r}")
    given = cast("Mapping[object, object]", env)
    for key, value in given.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise CommandError(
                f"env must map text to text, not {key!r} to a {type(value).__name__}"
            )
        if not key or "=" in key:
            raise CommandError(f"the name of a variable must not be empty or hold '=': {key!r}")
        check_text("the name of a variable", key)
        check_text(f"the variable {key}", value)
    return MappingProxyType(cast("dict[str, str]", dict(given)))


def checked_codes(codes: object) -> tuple[int, ...]:
    if not isinstance(codes, Iterable):
        raise CommandError(f"success_codes must be a sequence of exit codes, not {codes!r}")
    given = tuple(cast("Iterable[object]", codes))
    checked = tuple(code for code in given if isinstance(code, int) and 0 <= code <= 255)
    if checked != given:
        raise CommandError(f"success_codes: an exit code is from 0 to 255, not {given!r}")
    return checked


def checked_signal(what: str, number: object) -> int:
    """Return `number` as a signal, by its name where it has one.

    Raises:
        CommandError: there is no such signal.
    """
    if not isinstance(number, int) or number not in _valid_signals():
        raise CommandError(f"{what} must be a signal, not {number!r}")
    try:
        return Signals(number)
    except ValueError:  # most real-time signals have none
        return number


@cache
def _valid_signals() -> frozenset[int]:
    # Once: making the set takes 0.3 ms, and it would be made for every command.
    return frozenset(valid_signals())
