r"""Search bytes for a regular expression while they arrive, in linear time and bounded memory.

Only the end of the earlier bytes is searched again with the next: as much as a match can be long,
lookarounds included.  If a match can be of any length (``.*``), `MAX_REACH` is the limit.

A match is taken as soon as there is one, without the bytes that may follow.  But a match may depend
on them: ``\$ $`` and ``port 80\b`` match at the end of what has come, and perhaps not with the next
byte.  Such a match is *undecided*: it counts if it still is one with the next bytes, or if the
caller says that there are none for now (`settle`).
"""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable, Iterator
    from types import ModuleType

__all__ = ["CONTEXT", "MAX_REACH", "IncrementalSearch"]

MAX_REACH = 8 * 1024
"""The most bytes that are searched again, so also the longest match of an unbounded pattern that is
certainly found if it arrives in parts."""

BESIDE_ANCHOR = 2
r"""Bytes after a match that decide whether ``$`` or ``\b`` matches: ``$`` matches before a newline,
unless another byte follows."""

Parsed: TypeAlias = Any
"""A part of a parsed expression, for which the standard library has no public type."""

CONTEXT = 64 * 1024
"""The bytes before a match that the match has in its `string`, if so many have come."""


class IncrementalSearch:
    """The search for one match, from the first byte that is fed.

    Args:
        pattern: the expression.

    Attributes:
        searched: how many bytes were searched, each as often as it was.
    """

    def __init__(self, pattern: re.Pattern[bytes]) -> None:
        self.searched: int = 0
        self._pattern = pattern
        self._shape = _shape_of(pattern.pattern, pattern.flags)
        self._window = bytearray()
        self._begin = 0  # where a match may begin
        self._undecided: int | None = None  # where the undecided match begins

    @property
    def is_undecided(self) -> bool:
        """Whether there is a match, unless more bytes come."""
        return self._undecided is not None

    def feed(self, data: bytes) -> re.Match[bytes] | None:
        """Add `data`, and return the first match; None if there is none yet, or none for certain.

        The `string` of the match has the bytes before it, as far as they are kept, and all bytes
        that have come after it.
        """
        window = self._window
        window += data
        self.searched += len(window) - self._begin
        self._undecided = None
        found = self._pattern.search(window, self._begin)
        span = None if found is None else found.span()
        del found  # It holds the window, which can then not be changed.
        if span is not None and self._is_certain(*span):
            return self._match_from(span[0])
        self._begin = max(self._begin, len(window) - self._shape.reach)
        if span is not None:
            self._undecided = span[0]
        self._forget()
        return None

    def settle(self) -> re.Match[bytes] | None:
        """Return the undecided match, if there is one: no more bytes come, or not for now."""
        return None if self._undecided is None else self._match_from(self._undecided)

    def _match_from(self, start: int) -> re.Match[bytes] | None:
        begin = max(0, start - CONTEXT)
        return self._pattern.search(bytes(memoryview(self._window)[begin:]), start - begin)

    def _is_certain(self, start: int, end: int) -> bool:
        """Return whether the match stays the same, whatever comes next."""
        if end + self._shape.ahead <= len(self._window):
            return True
        if self._shape.has_lookahead:
            return False
        begin = max(0, start - MAX_REACH)
        nearby = bytes(self._window[begin:])
        matches = (self._pattern.match(nearby + more, start - begin) for more in (b"a", b"\0"))
        return all(match is not None and match.end() == end - begin for match in matches)

    def _forget(self) -> None:
        """Keep the context, once there is twice as much; so each byte is moved once on average."""
        surplus = len(self._window) - CONTEXT - MAX_REACH
        if surplus > CONTEXT:
            del self._window[:surplus]
            self._begin -= surplus
            if self._undecided is not None:
                self._undecided -= surplus
                if self._undecided < 0:  # The next bytes will show another match, or none.
                    self._undecided = None


class _Shape(NamedTuple):
    """What the search has to know about an expression.

    Attributes:
        reach: the most bytes, at the end of those that were searched, in which a match may begin.
        ahead: how many bytes after a match decide whether it is one.
        has_lookahead: whether these may be any bytes, and not just the end of a line or a word.
    """

    reach: int
    ahead: int
    has_lookahead: bool


@lru_cache
def _shape_of(source: bytes, flags: int) -> _Shape:
    try:
        # Not public, but the only source of the width of an expression.
        parser, constants = import_module("re._parser"), import_module("re._constants")
        return _shape_of_parsed(parser.parse(source, flags), constants)
    except (ImportError, AttributeError, TypeError, ValueError):  # another Python
        return _Shape(MAX_REACH, MAX_REACH, has_lookahead=True)


def _shape_of_parsed(tree: Parsed, constants: ModuleType) -> _Shape:
    steps = list(_steps(tree))
    around = [args for op, args in steps if op in (constants.ASSERT, constants.ASSERT_NOT)]
    anchors = {args for op, args in steps if op is constants.AT}
    at_ends = anchors - {constants.AT_BEGINNING, constants.AT_BEGINNING_STRING}
    lookahead = sum(_width(part) for way, part in around if way > 0)
    lookbehind = sum(_width(part) for way, part in around if way < 0)
    ahead = lookahead + (BESIDE_ANCHOR if at_ends else 0)
    reach = min(_width(tree) + ahead + lookbehind, MAX_REACH)
    return _Shape(reach, min(ahead, MAX_REACH), has_lookahead=lookahead > 0)


def _width(tree: Parsed) -> int:
    """Return the most bytes that match."""
    return int(tree.getwidth()[1])


def _steps(tree: Parsed) -> Iterator[tuple[Any, Any]]:
    """Yield the operations of a parsed expression, those of its parts included."""
    for op, args in tree:
        yield op, args
        for part in _parts(args):
            yield from _steps(part)


def _parts(args: Parsed) -> Iterator[Parsed]:
    if hasattr(args, "getwidth"):
        yield args
    elif isinstance(args, (tuple, list)):
        for each in cast("Iterable[Parsed]", args):
            yield from _parts(each)
