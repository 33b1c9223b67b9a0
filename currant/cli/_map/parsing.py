"""Rows from lines: whole lines, lines with separators, CSV, TSV and JSON.

A parser gets the lines of one source in any number of parts.  It knows the number of each line, for
the messages about mistakes.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

from currant._batch.rows import Row, checked_values
from currant._values.checks import check_encodable
from currant._values.errors import CommandError

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable, Sequence

__all__ = ["Form", "Format", "Parser", "parser_for"]

Format: TypeAlias = Literal["lines", "csv", "tsv", "jsonl"]


@dataclass(frozen=True, slots=True)
class Form:
    """How values are written.

    Attributes:
        format: ``"lines"``: a line is a value.  ``"csv"``: fields with commas, and quotes, in which
            a newline may be.  ``"tsv"``: fields with tabs, without quotes.  ``"jsonl"``: a line is
            an object whose keys are the names of the columns, an array of values, or one value.
        null: whether a NUL byte ends a value instead of a newline; for ``"lines"``.
        header: whether the first line of each source has the names of the columns; not for
            ``"jsonl"``.
        colsep: what separates the values of a line; for ``"lines"``.
        per_job: the number of rows that make the values of one job.
    """

    format: Format = "lines"
    null: bool = False
    header: bool = False
    colsep: re.Pattern[str] | None = None
    per_job: int = 1


class Parser:
    """Makes a row of each line: the line is the one value.

    Attributes:
        source: the name of the file, for messages.
        names: the names of the columns; None if there are none, or they have not come yet.
    """

    def __init__(self, source: str, *, header: bool) -> None:
        """Begin with the first line.

        Args:
            source: the name of the file, for messages.
            header: whether the first row has the names of the columns.
        """
        self.source = source
        self.names: tuple[str, ...] | None = None
        self._expects_names = header
        self._count: int = 0

    def feed(self, lines: Sequence[str]) -> list[Row]:
        """Return the rows of the next lines.

        Raises:
            CommandError: a line is not in the format, or has another number of values than the
                header has names.
        """
        begin = self._count + 1
        self._count += len(lines)
        return self._rows((number, (line,)) for number, line in enumerate(lines, begin))

    def end(self) -> list[Row]:
        """Return what is left when the source has ended.

        Raises:
            CommandError: the last row is unfinished, or there is no header.
        """
        if self._expects_names and self.names is None:
            raise CommandError(f"{self.source} is empty, and its first line must name the columns")
        return []

    def _rows(self, records: Iterable[tuple[int, Sequence[str]]]) -> list[Row]:
        """Return the rows of records, each with the number of its line, but not of the header."""
        rows: list[Row] = []
        for number, record in records:
            values = tuple(record)
            if not self._expects_names:
                rows.append(Row(values))
            elif self.names is None:
                self.names = values
                self._check_names()
            elif len(values) != len(self.names):
                has = f"{len(values)} values" if len(values) > 1 else "1 value"
                raise self._error(number, f"{has}, but there are {len(self.names)} columns")
            else:
                rows.append(Row(values, self.names))
        return rows

    def _check_names(self) -> None:
        names = self.names or ()
        for name in names:
            if names.count(name) > 1:
                raise CommandError(f"{self.source}: two columns have the name {name!r}")

    def _error(self, number: int, reason: str) -> CommandError:
        return CommandError(f"{self.source}, line {number}: {reason}")


class _SeparatedParser(Parser):
    """Splits each line at a separator."""

    def __init__(self, source: str, separator: re.Pattern[str], *, header: bool) -> None:
        super().__init__(source, header=header)
        if separator.groups:
            raise CommandError(
                f"the separator {separator.pattern!r} must not have groups; write (?:...) for (...)"
            )
        self._separator = separator

    def feed(self, lines: Sequence[str]) -> list[Row]:
        begin = self._count + 1
        self._count += len(lines)
        split = self._separator.split
        return self._rows((number, split(line)) for number, line in enumerate(lines, begin))


class _TabParser(Parser):
    """Splits each line at tabs; skips empty lines."""

    def feed(self, lines: Sequence[str]) -> list[Row]:
        begin = self._count + 1
        self._count += len(lines)
        plain = [line.removesuffix("\r") for line in _without_mark(lines, begin)]
        return self._rows(
            (number, line.split("\t")) for number, line in enumerate(plain, begin) if line
        )


class _CsvParser(Parser):
    """Reads CSV, in which a row may have several lines; skips empty lines."""

    def __init__(self, source: str, *, header: bool) -> None:
        super().__init__(source, header=header)
        self._unfinished: list[str] = []

    def feed(self, lines: Sequence[str]) -> list[Row]:
        marked = _without_mark(lines, self._count + len(self._unfinished) + 1)
        return self._read([*self._unfinished, *(f"{line}\n" for line in marked)], is_last=False)

    def end(self) -> list[Row]:
        rows = self._read(self._unfinished, is_last=True)
        return rows + super().end()

    def _read(self, lines: list[str], *, is_last: bool) -> list[Row]:
        """Return the rows of lines, and keep those of a row that is unfinished."""
        reader = csv.reader(lines, strict=True)
        records: list[tuple[int, list[str]]] = []
        read = 0
        try:
            for record in reader:
                if record:
                    records.append((self._count + read + 1, record))
                read = reader.line_num
        except csv.Error as error:
            # The reader cannot go on with a row in the middle, so the row is read anew with the
            # lines that come.  The limit of `csv` for a field bounds that: 128 KiB.
            if is_last or reader.line_num < len(lines):
                raise self._error(self._count + reader.line_num, f"not CSV: {error}") from error
        self._unfinished = lines[read:]
        self._count += read
        return self._rows(records)


class _JsonParser(Parser):
    """Reads JSON, one value in each line; skips empty lines."""

    def __init__(self, source: str) -> None:
        super().__init__(source, header=False)
        # Numbers stay as they are written.
        decoder = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)
        self._decode = decoder.decode

    def feed(self, lines: Sequence[str]) -> list[Row]:
        rows: list[Row] = []
        for line in _without_mark(lines, self._count + 1):
            self._count += 1
            if not line or line.isspace():
                continue
            try:
                rows.append(self._row(line))
            except (ValueError, RecursionError) as error:
                reason = error if isinstance(error, CommandError) else f"not JSON: {error}"
                raise self._error(self._count, str(reason)) from error
        return rows

    def _row(self, line: str) -> Row:
        data: object = self._decode(line)
        if isinstance(data, dict):
            columns = cast("dict[str, object]", data)
            names = tuple(columns)
            if self.names is not None and self.names == names:
                names = self.names  # Rows with the same names share one tuple.
            else:
                for name in names:
                    check_encodable("the name of a column", name)
                self.names = names
            values = [
                value if isinstance(value, str) else _text_of(value, line, name)
                for name, value in columns.items()
            ]
            return Row(checked_values(tuple(values)), names)
        if isinstance(data, list):
            items = cast("list[object]", data)
            values = [_text_of(item, line, place) for place, item in enumerate(items)]
            return Row(checked_values(tuple(values)))
        return Row(checked_values((_text_of(data, line, 0),)))


def _text_of(value: object, line: str, key: str | int) -> str:
    """Return a value of the JSON in `line` as an argument; arrays and objects as compact JSON."""
    match value:
        case str():
            return value
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case _:
            # Parse the line again, so that the numbers inside are numbers and not texts.
            return json.dumps(json.loads(line)[key], ensure_ascii=False, separators=(",", ":"))


def _without_mark(lines: Sequence[str], begin: int) -> Sequence[str]:
    """Return lines without the byte order mark that Windows puts before the first one."""
    return [lines[0].removeprefix("\ufeff"), *lines[1:]] if begin == 1 and lines else lines


def parser_for(source: str, form: Form) -> Parser:
    """Return the parser of a source, which has a name for messages."""
    match form.format:
        case "lines" if form.colsep is not None:
            return _SeparatedParser(source, form.colsep, header=form.header)
        case "lines":
            return Parser(source, header=form.header)
        case "csv":
            return _CsvParser(source, header=form.header)
        case "tsv":
            return _TabParser(source, header=form.header)
        case "jsonl":
            return _JsonParser(source)
