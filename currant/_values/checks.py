"""Checks of arguments, shared by several modules.

``check_x(what, value)`` raises `CommandError` if `value` is invalid.  ``checked_x(what, value)``
also returns the value in the form in which it is kept.  `what` names the argument in the message.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import contextmanager
from functools import cache
from math import inf, isnan
from os import PathLike
from signal import Signals, valid_signals
from typing import TYPE_CHECKING, cast

from currant._values.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from typing import TypeAlias

__all__ = [
    "PATTERN_ERRORS",
    "StrOrPath",
    "check_account",
    "check_choice",
    "check_count",
    "check_delay",
    "check_encodable",
    "check_flag",
    "check_seconds",
    "check_str",
    "checked_path",
    "checked_signal",
    "checked_words",
    "is_number",
    "naming",
]

StrOrPath: TypeAlias = "str | PathLike[str]"

PATTERN_ERRORS = (re.error, OverflowError, RecursionError)
"""What `re.compile` raises for a text that is no regular expression, or one without measure."""

MAX_ACCOUNT = 2**32 - 2
"""The highest number of a user or group; the next one means "unchanged" to the system."""


@contextmanager
def naming(name: str, kind: str = "command") -> Generator[None]:
    """Put the name of the command, or of another thing, before the text of a `CommandError`."""
    try:
        yield
    except CommandError as error:
        raise CommandError(f"{kind} {name!r}: {error}") from error.__cause__


def is_number(value: object) -> bool:
    """Return whether `value` is infinity or a number that fits into a float; a bool is not."""
    try:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return is_number and not isnan(cast("float", value))
    except OverflowError:
        return False


def check_account(what: str, value: object) -> None:
    """Check that `value` is the name or the number of a user or group."""
    is_int = isinstance(value, int) and not isinstance(value, bool)
    if isinstance(value, str) and value:
        check_encodable(what, value)
    elif not (is_int and 0 <= cast("int", value) <= MAX_ACCOUNT):
        bounds = f"from 0 to {MAX_ACCOUNT}"
        raise CommandError(f"{what} must be a name or a number {bounds}, not {value!r}")


def check_choice(what: str, value: object, choices: Sequence[str]) -> None:
    """Check that `value` is one of two or more `choices`."""
    if value not in choices:
        *others, last = map(repr, choices)
        raise CommandError(f"{what} must be {', '.join(others)} or {last}, not {value!r}")


def check_count(what: str, value: object, maximum: int | None = None, *, minimum: int = 1) -> None:
    """Check that `value` is an integer from `minimum` to `maximum`; None: without a maximum."""
    is_int = isinstance(value, int) and not isinstance(value, bool)
    if not is_int or not minimum <= cast("int", value) <= (inf if maximum is None else maximum):
        bounds = f">= {minimum}" if maximum is None else f"from {minimum} to {maximum}"
        raise CommandError(f"{what} must be an integer {bounds}, not {value!r}")


def check_delay(what: str, value: object, *, finite: bool = False) -> None:
    """Check that `value` is a number of seconds >= 0 and, if `finite`, not infinity."""
    is_delay = is_number(value) and cast("float", value) >= 0
    if not is_delay or (finite and value == inf):
        kind = "finite number" if finite else "number"
        raise CommandError(f"{what} must be a {kind} of seconds >= 0, not {value!r}")


def check_flag(what: str, value: object) -> None:
    """Check that `value` is True or False."""
    if value not in (True, False):
        raise CommandError(f"{what} must be True or False, not {value!r}")


def check_seconds(what: str, value: object, *, optional: bool = True) -> None:
    """Check that `value` is a positive, finite number of seconds, or None if `optional`."""
    if optional and value is None:
        return
    if not is_number(value) or not 0 < cast("float", value) < inf:
        raise CommandError(f"{what} must be a positive number of seconds, not {value!r}")


def check_str(what: str, value: object) -> None:
    """Check that `value` is a str."""
    if not isinstance(value, str):
        raise CommandError(f"{what} must be a str, not {value!r}")


def check_encodable(what: str, text: str) -> None:
    """Check that the system can be given `text`: as bytes that do not contain a NUL."""
    if "\0" in text:
        raise CommandError(f"{what} contains a NUL byte: {text!r}")
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        raise CommandError(
            f"{what} contains a lone surrogate, which cannot be encoded: {text!r}"
        ) from None


def checked_path(what: str, value: object) -> str:
    """Check that `value` is a str, bytes or a path, and return the path as a str."""
    if not isinstance(value, (str, bytes, PathLike)):
        raise CommandError(f"{what} must be a str or a path, not {value!r}")
    text = os.fsdecode(cast("StrOrPath | bytes", value))
    check_encodable(what, text)
    return text


def checked_words(what: str, value: object) -> tuple[str, ...]:
    """Check that `value` is a sequence of str or paths, and return them as a tuple of str."""
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise CommandError(f"{what} must be a sequence of words, such as ('nice',), not {value!r}")
    given = cast("Iterable[object]", value)
    words = tuple(checked_path(f"each word of {what}", word) for word in given)
    if words and not words[0]:
        raise CommandError(f"{what} must begin with a program, not with an empty word")
    return words


def checked_signal(what: str, value: object) -> int:
    """Check that `value` is a signal, and return a `Signals` if the signal has a name.

    Args:
        what: the name of the argument.
        value: the number of a signal, or the name, with or without ``SIG``, in any case.
    """
    number = value
    if isinstance(value, str):
        name = value.upper()
        number = Signals.__members__.get(name, Signals.__members__.get(f"SIG{name}"))
    if isinstance(number, bool) or not isinstance(number, int) or number not in _valid_signals():
        raise CommandError(
            f"{what} must be a signal, such as signal.SIGTERM or 'TERM', not {value!r}"
        )
    try:
        return Signals(number)
    except ValueError:  # most real-time signals have no name
        return number


@cache
def _valid_signals() -> frozenset[int]:
    # Cached, because building the set takes 0.3 ms, and each command would do so.
    return frozenset(valid_signals())
