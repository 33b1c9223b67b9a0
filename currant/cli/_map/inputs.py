"""`Inputs`: the rows of all jobs of a command line, one after the other.

Rows are made when they are asked for, so that a product of a million by a million arguments takes
no memory.  Of the sources of a product, only the first one is read bit by bit: the others are kept,
because each of their rows is needed for each row of the first.
"""

from __future__ import annotations

from contextlib import ExitStack, asynccontextmanager
from itertools import islice, product
from math import prod
from typing import TYPE_CHECKING, Final

from currant._values.errors import CommandError
from currant.cli._map.sources import LinkedSources, bundles_of, joined

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence

    from currant._batch.rows import Row
    from currant.cli._map.arguments import Group
    from currant.cli._map.parsing import Form
    from currant.cli._map.sources import Source

__all__ = ["Inputs", "open_inputs"]

_PART = 1000
"""Rows of a product that are made at once."""


class Inputs:
    """The rows of all jobs, in order; an async iterator, for one pass.

    Attributes:
        names: the names of the columns; None if they have none.
        columns: the number of values of each row, but for a shorter last one if several rows make
            the values of a job; None if it is not known.
        total: the number of jobs; None if it is not known before all input has been read.
        is_empty: whether it is certain that there is no row, so that a template with names cannot
            be checked.
    """

    names: Final[tuple[str, ...] | None]
    columns: Final[int | None]
    total: Final[int | None]
    is_empty: Final[bool]

    def __init__(self, bundles: Sequence[Sequence[Source]], form: Form) -> None:
        """Take sources whose names have been read; those in one sequence are linked.

        Raises:
            CommandError: two columns have the same name.
        """
        linked = [LinkedSources(sources) for sources in bundles]
        sources = [source for bundle in bundles for source in bundle]
        self._first, *self._others = linked
        self._pools: list[list[Row]] | None = None
        self._made: Iterator[Row] = iter(())
        self._waiting: list[Row] = []
        self._ungrouped: list[Row] = []
        self._per_job = form.per_job
        sizes = [each.size for each in linked]
        rows = prod(size for size in sizes if size is not None) if None not in sizes else None
        self.total = None if rows is None else -(-rows // form.per_job)
        self.names = _names_of(sources)
        self.is_empty = rows == 0 or any(source.is_empty for source in sources)
        self.columns = _columns_of(self.names, form, len(sources))

    def __aiter__(self) -> Inputs:
        return self

    async def __anext__(self) -> Row:
        while not self._waiting:
            self._waiting = (await self.read())[::-1]
            if not self._waiting:
                raise StopAsyncIteration
        return self._waiting.pop()

    async def read(self) -> list[Row]:
        """Wait for rows, and return those that have come, at least one; none at the end.

        Cancellation: rows may be lost.

        Raises:
            CommandError: a source cannot be read, or is not in its format.
        """
        if self._per_job == 1:
            return await self._read_product()
        while rows := await self._read_product():
            self._ungrouped += rows
            if len(self._ungrouped) >= self._per_job:
                return self._grouped(len(self._ungrouped) // self._per_job)
        return self._grouped(1) if self._ungrouped else []

    def _grouped(self, count: int) -> list[Row]:
        """Return `count` rows, each made of several."""
        size = self._per_job
        groups = [self._ungrouped[at * size : (at + 1) * size] for at in range(count)]
        self._ungrouped = self._ungrouped[count * size :]
        return [joined(group) for group in groups]

    async def _read_product(self) -> list[Row]:
        if not self._others:
            return await self._first.read()
        if self._pools is None:
            self._pools = [await _read_all(source) for source in self._others]
        if not all(self._pools):
            return []
        while True:
            if rows := list(islice(self._made, _PART)):
                return rows
            first = await self._first.read()
            if not first:
                return []
            self._made = map(joined, product(first, *self._pools))


async def _read_all(source: LinkedSources) -> list[Row]:
    every: list[Row] = []
    while rows := await source.read():
        every += rows
    return every


def _names_of(sources: Sequence[Source]) -> tuple[str, ...] | None:
    given = [source.names or () for source in sources]
    names = tuple(name for each in given for name in each)
    for name in names:
        if names.count(name) > 1:
            raise CommandError(f"two columns have the name {name!r}")
    return names or None


def _columns_of(names: Sequence[str] | None, form: Form, sources: int) -> int | None:
    """Return the number of values of each row; None if it is not known."""
    if form.format == "jsonl":
        return None
    if names is not None:
        return len(names) * form.per_job
    is_whole = form.format == "lines" and form.colsep is None
    return sources * form.per_job if is_whole else None


@asynccontextmanager
async def open_inputs(
    groups: Sequence[Group], form: Form, *, stdin: int = 0
) -> AsyncGenerator[Inputs]:
    """Open all inputs of a command line, and read the names of the columns, if there are any.

    Args:
        groups: the groups of arguments and files; none: stdin.
        form: how the values are written.
        stdin: the descriptor of stdin.

    Raises:
        CommandError: a file cannot be opened, the names cannot be read, or two columns have the
            same name.
    """
    with ExitStack() as opened:
        bundles = bundles_of(groups, form, stdin, opened)
        if form.header or form.format == "jsonl":
            for bundle in bundles:
                for source in bundle:
                    await source.read_names()
        yield Inputs(bundles, form)
