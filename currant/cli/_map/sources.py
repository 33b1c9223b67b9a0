"""The places that rows come from, one by one: the arguments after ``:::``, a file, or stdin."""

from __future__ import annotations

import os
from itertools import chain
from typing import TYPE_CHECKING

from currant._batch.rows import Row
from currant._values.errors import CommandError
from currant.cli._map.chunks import ChunkReader, open_file
from currant.cli._map.lines import LineReader
from currant.cli._map.parsing import Form, parser_for

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import ExitStack

    from currant.cli._map.arguments import Group

__all__ = ["LinkedSources", "Source", "bundles_of", "joined"]

_PART = 1000
"""Arguments that are made to rows at once."""


class _Words:
    """The arguments after ``:::``, read as a `LineReader` is."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = words
        self._next = 0

    async def read(self) -> list[str]:
        begin = self._next
        self._next += _PART
        return list(self._words[begin : self._next])


class Source:
    """The rows of one source.

    Attributes:
        names: the names of the columns; None if there are none, or they have not been read yet.
        size: the number of rows; None if it is not known before they are read.
    """

    def __init__(self, name: str, lines: LineReader | _Words, form: Form, size: int | None) -> None:
        self._lines = lines
        self._parser = parser_for(name, form)
        self._early: list[Row] = []
        self._has_ended = False
        self.size = size

    @property
    def names(self) -> tuple[str, ...] | None:
        # The keys of JSON objects differ; the parser has those of the last row so far.
        return (self._early[0].names or None) if self._early else self._parser.names

    @property
    def is_file(self) -> bool:
        """Whether the rows come from a file, such as a pipe, and may have to be waited for."""
        return isinstance(self._lines, LineReader)

    @property
    def is_empty(self) -> bool:
        """Whether it is known that no row will come."""
        return self._has_ended and not self._early

    async def read_names(self) -> None:
        """Read until the names of the columns, or the first rows, have come.

        Raises:
            CommandError: the source cannot be read, is not in its format, or has no header.
        """
        while self.names is None and not self._early and not self._has_ended:
            self._early = await self._read_more()

    async def read(self) -> list[Row]:
        """Wait for rows, and return those that have come, at least one; none at the end.

        Raises:
            CommandError: the source cannot be read, or is not in its format.
        """
        rows, self._early = self._early, []
        while not rows and not self._has_ended:
            rows = await self._read_more()
        return rows

    async def _read_more(self) -> list[Row]:
        if lines := await self._lines.read():
            return self._parser.feed(lines)
        self._has_ended = True
        return self._parser.end()


class LinkedSources:
    """The rows of sources side by side: the first of each, the second of each, and so on.

    The shortest source determines the number of rows.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources
        self._rows: list[list[Row]] = [[] for _ in sources]
        # Files come last: if the arguments have ended, nobody waits for a pipe.
        self._order = sorted(range(len(sources)), key=lambda index: sources[index].is_file)

    @property
    def size(self) -> int | None:
        """The number of rows; None if it is not known before they are read."""
        sizes = [source.size for source in self._sources]
        return min(size for size in sizes if size is not None) if None not in sizes else None

    async def read(self) -> list[Row]:
        """Wait for rows, and return those that have come, at least one; none at the end.

        Raises:
            CommandError: a source cannot be read, or is not in its format.
        """
        if len(self._sources) == 1:
            return await self._sources[0].read()
        for index in self._order:
            if not self._rows[index]:
                self._rows[index] = await self._sources[index].read()
            if not self._rows[index]:
                return []
        count = min(map(len, self._rows))
        rows = [joined(parts) for parts in zip(*self._rows, strict=False)]
        self._rows = [rest[count:] for rest in self._rows]
        return rows


def joined(rows: Sequence[Row]) -> Row:
    """Return one row with the values of all `rows`."""
    values = tuple(chain.from_iterable([row.values for row in rows]))
    if not any(row.names for row in rows):
        return Row(values)
    # A column without a name beside one with a name has an empty one.
    names = [row.names or ("",) * len(row.values) for row in rows]
    return Row(values, tuple(chain.from_iterable(names)))


def bundles_of(
    groups: Sequence[Group], form: Form, stdin: int, opened: ExitStack
) -> list[list[Source]]:
    """Return the sources of the command line; those in one list are linked.

    Args:
        groups: the groups of arguments and files; none: stdin.
        form: how the values are written.
        stdin: the descriptor of stdin.
        opened: closes the files.

    Raises:
        CommandError: a file cannot be opened, or stdin is read more than once.
    """
    if not groups:
        return [[_file_source("-", form, stdin, opened)]]
    paths = [path for group in groups if group.are_files for path in group.words]
    if paths.count("-") > 1:
        raise CommandError("stdin can be read only once, and the file - is stdin")
    bundles: list[list[Source]] = []
    for group in groups:
        if group.are_files:
            sources = [_file_source(path, form, stdin, opened) for path in group.words]
        else:
            sources = [_argument_source(group.words, form)]
        if group.is_linked and bundles:
            bundles[-1] += sources
        else:
            bundles += [[source] for source in sources]
    return bundles


def _argument_source(words: tuple[str, ...], form: Form) -> Source:
    # In the other formats, a word may be no row, or a part of one.
    size = max(0, len(words) - form.header) if form.format == "lines" else None
    return Source("argument", _Words(words), form, size)


def _file_source(path: str, form: Form, stdin: int, opened: ExitStack) -> Source:
    if path == "-":
        name, fd = "stdin", stdin
    else:
        name, fd = path, open_file(path)
        opened.callback(os.close, fd)
    return Source(name, LineReader(ChunkReader(name, fd), null=form.null), form, None)
