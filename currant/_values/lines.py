r"""Bytes in, whole lines out: where a stream is cut into batches and lines.

A line ends with ``\n``, ``\r\n`` or a lone ``\r`` (progress bars).  A line that is longer than a
limit comes in pieces, so memory stays bounded.  A piece is not cut inside a character of UTF-8,
unless the limit is smaller than the character.  Two invariants hold: all bytes that go in come out,
in order; and unless `LineSplitter.flush` is called, the cuts depend on the bytes alone, never on
the chunks in which they arrive.

`LineSplitter` cuts chunks into batches of whole lines, in the task that reads the pipe.
`split_lines` cuts a batch into lines, in the task that reads the messages.  Both make the same
cuts.  Rejected: cutting each chunk into lines right away, because sending single lines costs ten
times as much as sending batches.
"""

from __future__ import annotations

from codecs import utf_8_decode
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from itertools import chain, repeat
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = [
    "MAX_LINE",
    "SHORT_LINE",
    "STREAMS",
    "Batch",
    "Line",
    "LineSplitter",
    "StreamName",
    "batches_with_limit",
    "count_lines",
    "end_of_lines",
    "line_length",
    "parts_of",
    "split_lines",
]


MAX_LINE = 64 * 1024
"""The default limit: the most bytes of a line, without the ending, that stay together."""

SAMPLE = 1024
"""The number of bytes at the start of a batch that are searched to estimate the line length."""

PART_LINES = 1000
"""About how many lines of a batch are split at once: 131,072 empty lines would take 10 ms."""

SHORT_LINE = 150
"""Bytes of a line up to which `bytes.split` is faster than to search each newline.

`bytes.split` compares each byte (Python 3.11): a line of 1,000 bytes takes 500 ns, not 260 ns.
"""


class LineSplitter:
    r"""Turn chunks into batches of whole lines, and hold back an unfinished line.

    Holds at most `limit` bytes and a ``\r`` that may become a ``\r\n``.

    Args:
        limit: the most bytes of a line, without the ending, that stay together.
    """

    __slots__ = ("_limit", "_tail")

    def __init__(self, limit: int = MAX_LINE) -> None:
        self._limit = limit
        self._tail = bytearray()

    def feed(self, chunk: bytes) -> bytes:
        """Add a `chunk` of at least one byte and return the whole lines so far, or ``b""``.

        The returned bytes end with the ending of a line or with a full piece of a long line.
        """
        # Only the new chunk is searched, so a long line in many small chunks costs linear time.
        end = end_of_lines(chunk)
        if not self._tail and end == len(chunk):
            return chunk  # the common case, without a copy: the chunk consists of whole lines
        if end:
            whole = b"".join((self._tail, memoryview(chunk)[:end]))
            self._tail = bytearray(memoryview(chunk)[end:])
        else:
            # The byte after a \r that was held back is not a \n, so the \r was a whole ending.
            whole = self._take(len(self._tail)) if self._tail.endswith(b"\r") else b""
            self._tail += chunk
        unfinished = len(self._tail) - self._tail.endswith(b"\r")
        if unfinished > self._limit:
            whole += self._take(_end_of_pieces(self._tail, unfinished, self._limit))
        return whole

    @property
    def can_flush(self) -> bool:
        """Whether `flush` would return anything."""
        return self._flushable > 0

    def flush(self) -> bytes:
        r"""Return the unfinished line so far; the rest of the line comes later.

        A ``\r`` at the end is still held back, because it may become a ``\r\n``.  So is the
        beginning of a character of UTF-8, unless there is nothing else.
        """
        return self.flush_characters() or self._take(self._flushable)

    def flush_characters(self) -> bytes:
        """Return the whole characters of the unfinished line so far, or ``b""``; see `flush`."""
        return self._take(_between_characters(self._tail, 0, self._flushable))

    @property
    def _flushable(self) -> int:
        return len(self._tail) - self._tail.endswith(b"\r")

    def finish(self) -> bytes:
        """Return the bytes that were held back, if any; for the end of the stream."""
        return self._take(len(self._tail))

    def last_held(self, size: int) -> bytes:
        """Return the last `size` of the bytes that are held back, which stay here."""
        return bytes(self._tail[-size:])

    def _take(self, size: int) -> bytes:
        data = bytes(self._tail[:size])
        del self._tail[:size]
        return data


def end_of_lines(chunk: bytes) -> int:
    """Return the end of the last line that is certainly complete, or 0 if there is none."""
    newline = chunk.rfind(b"\n")
    # A \r as the last byte may be the first half of a \r\n.
    return max(newline, chunk.rfind(b"\r", newline + 1, len(chunk) - 1)) + 1


def _end_of_pieces(line: bytes | bytearray, size: int, limit: int) -> int:
    """Return the end of the last full piece in the first `size` bytes of an unfinished line."""
    start = 0
    while size - start > limit:
        start = _end_of_piece(line, start, limit)
    return start


def _end_of_piece(line: bytes | bytearray, start: int, limit: int) -> int:
    """Return the end of the piece from `start` on, in a line that is longer than the piece."""
    end = _between_characters(line, start, start + limit)
    return end if end > start else start + limit


def _between_characters(data: bytes | bytearray, start: int, end: int) -> int:
    """Return `end`, or if that is inside a character of UTF-8, where the character begins.

    Bytes that are no UTF-8 may be cut anywhere.  The bytes up to `end` and the next decide.
    """
    if end < len(data) and not _continues_character(data[end]):
        return end
    for begin in range(end - 1, max(start - 1, end - 4), -1):
        if not _continues_character(data[begin]):
            break
    else:
        return end
    try:
        _, used = utf_8_decode(data[begin : end + 1], "strict", False)  # noqa: FBT003 - by position only
    except UnicodeDecodeError:
        return end
    return end if begin + used == end else begin


def _continues_character(byte: int) -> bool:
    return byte & 0b1100_0000 == 0b1000_0000


def split_lines(data: bytes, limit: int = MAX_LINE) -> tuple[Iterable[bytes], Iterable[bytes]]:
    """Split `data` into the bytes of each line and, separately, the ending of each line.

    There may be more endings than lines.
    """
    if b"\r" in data or _has_long_line(data, limit):
        return _split_any(data, limit)
    whole = repeat(b"\n")
    endings = whole if data.endswith(b"\n") else chain(repeat(b"\n", data.count(b"\n")), (b"",))
    if line_length(data) >= SHORT_LINE:
        # `BytesIO` shares `data` without a copy, and finds newlines as `bytes.find` does.
        return map(bytes.rstrip, BytesIO(data), repeat(b"\n")), endings
    pieces = data.split(b"\n")
    if not pieces[-1]:
        pieces.pop()
    return pieces, endings


def line_length(data: bytes, start: int = 0) -> int:
    """Estimate the length of the lines of `data` from the first lines after `start`."""
    sample = data[start : start + SAMPLE]
    return len(sample) // max(1, sample.count(b"\n") or sample.count(b"\r"))


def _has_long_line(data: bytes, limit: int) -> bool:
    """Return whether a line that ends with a newline is longer than `limit`.

    The search looks back from each next `limit` bytes, so most lines are skipped.
    """
    start = 0
    while len(data) - start > limit:
        start = data.rfind(b"\n", start, start + limit + 1) + 1
        if not start:
            return True
    return False


def _split_any(data: bytes, limit: int) -> tuple[list[bytes], Iterable[bytes]]:
    pieces: list[bytes] = []
    endings: list[bytes] = []
    for line in data.splitlines(keepends=True):
        content = line.rstrip(b"\r\n")
        start = 0
        while len(content) - start > limit:
            end = _end_of_piece(content, start, limit)
            pieces.append(content[start:end])
            endings.append(b"")
            start = end
        pieces.append(content[start:])
        endings.append(line[len(content) :])
    return pieces, endings


def count_lines(data: bytes, limit: int = MAX_LINE) -> int:
    """Return the number of lines into which `split_lines` splits `data`."""
    if _has_long_line(data, limit):
        return len(_split_any(data, limit)[0])
    if b"\r" in data:
        return len(data.splitlines())  # less than half of the time of counting \r and \r\n
    return _count_newlines(data) + (data[-1:] not in (b"\n", b""))


def _count_newlines(data: bytes) -> int:
    # `bytes.count` compares each byte (Python 3.11 to 3.13), so `bytes.replace` is faster unless
    # lines are shorter than about 20 bytes: 17 µs instead of 53 µs for 64 KiB in lines of 79 bytes.
    if line_length(data) < 20:
        return data.count(b"\n")
    return len(data) - len(data.replace(b"\n", b""))


StreamName: TypeAlias = Literal["stdout", "stderr"]

STREAMS: tuple[StreamName, ...] = ("stdout", "stderr")


class Line(NamedTuple):
    r"""One line of output.

    Attributes:
        command: the command's name.
        stream: ``"stdout"`` or ``"stderr"``.
        data: the bytes of the line without the ending.
        ending: ``b"\n"``, ``b"\r\n"``, ``b"\r"``, or ``b""`` if there is none: at the end of a
            stream, and after a piece of a line that goes on (see `line_limit` and `flush_after` of
            `Command`).
        time: when the line was read, in seconds since the epoch.
    """

    command: str
    stream: StreamName
    data: bytes
    ending: bytes
    time: float

    @property
    def text(self) -> str:
        """The line decoded as UTF-8; U+FFFD replaces invalid bytes."""
        return self.data.decode(errors="replace")


_new_line = cast(
    "Callable[[type[Line], tuple[object, ...]], Line]",
    tuple.__new__,  # pyright: ignore[reportUnknownMemberType]
)


@dataclass(frozen=True, slots=True)
class Batch:
    """Lines of one stream that were read together.

    Attributes:
        command: the command's name.
        stream: ``"stdout"`` or ``"stderr"``.
        data: the bytes of the lines as written, endings included; only the last line may be
            unfinished, or a piece of a long line.
        time: when the lines were read, in seconds since the epoch.
    """

    command: str
    stream: StreamName
    data: bytes
    time: float

    def lines(self) -> Iterator[Line]:
        """Split into `Line`s, in order; their data and endings, joined, equal `data`."""
        return _lines_of(self, MAX_LINE)

    def count(self) -> int:
        """Return the number of lines."""
        return count_lines(self.data)


@dataclass(frozen=True, slots=True)
class LimitedBatch(Batch):
    """A batch of a command whose `line_limit` is not the default.

    A class of its own, because `Batch` is a public value with four fields.

    Attributes:
        line_limit: the most bytes of a line, without the ending, that stay together.
    """

    line_limit: int

    def lines(self) -> Iterator[Line]:
        return _lines_of(self, self.line_limit)

    def count(self) -> int:
        return count_lines(self.data, self.line_limit)


def batches_with_limit(limit: int) -> Callable[[str, StreamName, bytes, float], Batch]:
    """Return the class of batches whose lines are cut at `limit` bytes."""
    return Batch if limit == MAX_LINE else partial(LimitedBatch, line_limit=limit)


def _lines_of(batch: Batch, limit: int) -> Iterator[Line]:
    return chain.from_iterable(_lines_of_part(batch, part, limit) for part in _parts(batch.data))


def _lines_of_part(batch: Batch, data: bytes, limit: int) -> Iterator[Line]:
    pieces, endings = split_lines(data, limit)
    values = zip(repeat(batch.command), repeat(batch.stream), pieces, endings, repeat(batch.time))
    # Unlike Line._make, this needs no Python frame for each line: 180 ns instead of 280 ns.
    return map(_new_line, repeat(Line), values)


def parts_of(batch: Batch) -> Iterator[Batch]:
    """Cut a batch between lines into batches of about `PART_LINES` lines, one when asked for it."""
    return (replace(batch, data=part) for part in _parts(batch.data))


def _parts(data: bytes) -> Iterator[bytes]:
    """Cut `data` between lines into parts, so that a reader has the first lines at once.

    A part has about `PART_LINES`, an estimate from its first lines.
    """
    start = 0
    while start < len(data):
        size = PART_LINES * line_length(data, start)
        end = 0 if len(data) - start <= size else end_of_lines(data[start : start + size])
        yield data[start : start + end] if end else data[start:]
        start = start + end if end else len(data)
