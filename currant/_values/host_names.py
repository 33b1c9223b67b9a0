"""Names of hosts with numbers, unfolded and folded: ``gpu[1-2,04-06]`` stands for five names.

A bracket holds numbers and ranges, with commas between them.  Each number of a range has at least
as many digits as the first.  Several brackets stand for all combinations.  A bracket with a colon
is a literal IPv6 address, and stays.

`fold` is the way back: it finds brackets for names, so that a message can name a thousand hosts.
"""

from __future__ import annotations

import re
from itertools import product
from math import prod
from typing import TYPE_CHECKING, TypeAlias

from currant._values.errors import HostListError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["expand", "fold", "natural_key", "split_items", "without_host"]


MAX_NAMES = 100_000
"""The most names that one text may stand for."""

_PIECE = re.compile(r"\[([^][]*)\]|([^][]+)|([][])")
"""A bracket, a text without one, or a bracket that has no other end."""

_ITEM = re.compile(r"(?:[^][,]|\[[^][]*\]?|\])+")
"""A text without commas but for those in brackets."""

_RANGE = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,18}))?")

_NUMBER = re.compile(r"([0-9]+)")

_REPLICA = re.compile(r"(?:\.[0-9]+)?")

Parts: TypeAlias = "tuple[tuple[str, ...], ...]"
"""Texts and numbers in turn, each as the alternatives that there are; a text has one."""


def split_items(text: str) -> list[str]:
    """Split a text at its commas, but not at those in brackets, and leave out what is empty."""
    return [item for item in map(str.strip, _ITEM.findall(text)) if item]


def expand(text: str) -> list[str]:
    """Return the names that `text` stands for, in its order.

    Raises:
        HostListError: a bracket is not closed, or holds something else, or there are too many.
    """
    pieces: list[list[str]] = []
    for match in _PIECE.finditer(text):
        bracket, plain, single = match.groups()
        if single:
            missing = "opened" if single == "]" else "closed"
            raise HostListError(text, f"a bracket is not {missing}")
        is_address = plain is None and ":" in bracket
        pieces.append([match[0]] if plain or is_address else _numbers(text, bracket))
        if prod(map(len, pieces)) > MAX_NAMES:
            raise HostListError(text, f"these are more than {MAX_NAMES} names")
    return ["".join(name) for name in product(*pieces)]


def _numbers(text: str, bracket: str) -> list[str]:
    """Return the numbers that are in a bracket."""
    numbers: list[str] = []
    for each in bracket.split(","):
        if (match := _RANGE.fullmatch(each.strip())) is None:
            raise HostListError(
                text, f"{each!r} in the bracket is neither a number nor a range such as 1-4"
            )
        first, last = match[1], match[2] or match[1]
        digits, count = len(first), int(last) - int(first) + 1
        if last not in (str(int(last)), str(int(last)).zfill(digits)):
            raise HostListError(text, f"the ends of the range {each!r} have different zeros")
        if count < 1:
            raise HostListError(text, f"the range {each!r} goes down")
        if count + len(numbers) > MAX_NAMES:
            raise HostListError(text, f"these are more than {MAX_NAMES} names")
        numbers += [str(int(first) + i).zfill(digits) for i in range(count)]
    return numbers


def natural_key(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts ``n2`` before ``n10``."""
    return [_part_key(part) for part in _NUMBER.split(name)]


def _part_key(part: str) -> tuple[int, str]:
    # A text and a number never meet: they are at even and at odd places.
    return (int(part) if part.isdecimal() and part.isascii() else 0, part)


def fold(names: Iterable[str]) -> str:
    """Return a short text that stands for `names`, such as ``a,b,n[1-2]``.

    Each name is once in it, whatever their order.
    """
    ordered = sorted({*names}, key=natural_key)
    by_shape: dict[int, list[Parts]] = {}
    for name in ordered:
        parts = tuple((part,) for part in _NUMBER.split(name))
        by_shape.setdefault(len(parts), []).append(parts)
    folded = [parts for group in by_shape.values() for parts in _folded(group)]
    first = {parts: [_part_key(part[0]) for part in parts] for parts in folded}
    return ",".join(
        "".join(map(_text_of, parts)) for parts in sorted(folded, key=first.__getitem__)
    )


def _folded(group: Sequence[Parts]) -> Sequence[Parts]:
    """Merge names that differ in one number alone; the last number first."""
    for place in range(len(group[0]) - 2, 0, -2):
        merged: dict[tuple[Parts, Parts], list[str]] = {}
        for parts in group:
            merged.setdefault((parts[:place], parts[place + 1 :]), []).extend(parts[place])
        group = [(*before, tuple(each), *after) for (before, after), each in merged.items()]
    return group


def _text_of(part: tuple[str, ...]) -> str:
    """Return a text, a number, or numbers as a bracket with ranges."""
    if len(part) == 1:
        return part[0]
    runs: list[list[str]] = []
    for number in sorted(part, key=_part_key):
        if runs and number == str(int(runs[-1][-1]) + 1).zfill(len(runs[-1][0])):
            runs[-1].append(number)
        else:
            runs.append([number])
    return f"[{','.join(run[0] if len(run) == 1 else f'{run[0]}-{run[-1]}' for run in runs)}]"


def without_host(command: str, host: str) -> str:
    """Return a name without the host: ``web`` of ``web@a``, ``web.1`` of ``web@a.1``.

    Args:
        command: the name; one that `on_each` has not made stays.
        host: the name of the host.
    """
    name, _, replica = command.rpartition(f"@{host}")
    return name + replica if name and _REPLICA.fullmatch(replica) else command
