"""The line splitter: all bytes come out, and the cuts depend on the bytes alone.

The cuts are compared with the matches of a regular expression that defines a line.  Long lines are
tested with a limit of a few bytes, and once with the default.
"""

from __future__ import annotations

import dataclasses
import pickle
import re
import tracemalloc
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from currant import Batch
from currant._values import lines as lines_module
from currant._values.lines import (
    MAX_LINE,
    SHORT_LINE,
    LineSplitter,
    batches_with_limit,
    count_lines,
    split_lines,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hypothesis.strategies import DrawFn

SHORT = 8
"""The limit of a line in most tests."""

# One letter of each kind, with runs that end just before, at and after multiples of SHORT.
RUNS = [b"x" * length for length in (7, 8, 9, 15, 16, 17, 40)]
PARTS = st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"\0", b"\xff", *RUNS])
# Without the bytes that continue a character of UTF-8: here every long line is cut at the limit.
LETTERS = st.sampled_from([*range(0x80), *range(0xC0, 0x100)])
STREAMS = st.lists(PARTS | st.lists(LETTERS, max_size=3).map(bytes), max_size=20).map(b"".join)


@st.composite
def chunked(draw: DrawFn) -> list[bytes]:
    """Draw a stream, cut into chunks of at least one byte anywhere."""
    data = draw(STREAMS)
    cuts = draw(st.sets(st.integers(1, max(1, len(data) - 1)), max_size=len(data)))
    return [data[a:b] for a, b in pairwise([0, *sorted(cuts), len(data)]) if a < b]


def expected_lines(data: bytes, limit: int = SHORT) -> list[tuple[bytes, bytes]]:
    """Return the (data, ending) of each line and piece of `data`."""
    line = rb"([^\r\n]{0,%d})(\r\n|\r|\n)|([^\r\n]{1,%d})" % (limit, limit)
    return [(found[1] or found[3] or b"", found[2] or b"") for found in re.finditer(line, data)]


def cut(data: bytes, limit: int = SHORT) -> list[tuple[bytes, bytes]]:
    """Return the (data, ending) of each line and piece that `split_lines` returns."""
    pieces, endings = split_lines(data, limit)
    return list(zip(pieces, endings, strict=False))


def fed(chunks: Iterable[bytes], limit: int = SHORT) -> list[bytes]:
    """Return the batches that a splitter returns for `chunks` and for the end of the stream."""
    splitter = LineSplitter(limit)
    return [*map(splitter.feed, chunks), splitter.finish()]


def of_size(size: int, data: bytes) -> list[bytes]:
    """Cut `data` into chunks of `size` bytes."""
    return [data[start : start + size] for start in range(0, len(data), size)]


# ---- every chunking ----


@given(chunked())
def test_all_bytes_come_out_in_order(chunks: list[bytes]) -> None:
    """The batches, joined, equal the stream."""
    assert b"".join(fed(chunks)) == b"".join(chunks)


@given(chunked())
@example([b"x" * 8 + b"\r", b"\n"])
@example([b"x" * 8, b"\r", b"\r", b"\n"])
@example([b"x", b"x" * 40 + b"\r\n" + b"x" * 9 + b"\r", b"x"])
def test_cuts_do_not_depend_on_the_chunks(chunks: list[bytes]) -> None:
    """The lines of all batches are the lines of the whole stream."""
    lines = [line for batch in fed(chunks) for line in cut(batch)]
    assert lines == expected_lines(b"".join(chunks))


@given(STREAMS)
def test_split_lines_follows_the_rule(data: bytes) -> None:
    r"""A line ends with ``\n``, ``\r\n`` or ``\r``; a longer line comes in full pieces."""
    assert cut(data) == expected_lines(data)


@given(lengths=st.lists(st.integers(0, 3 * SHORT_LINE), max_size=40), is_whole=st.booleans())
@example(lengths=[SHORT_LINE - 1] * 5, is_whole=True)
@example(lengths=[SHORT_LINE - 1] * 5, is_whole=False)
@example(lengths=[0] * 5, is_whole=True)
def test_lines_of_any_length_are_cut_alike(*, lengths: list[int], is_whole: bool) -> None:
    """How newlines are searched depends on the length of the lines; the lines do not."""
    data = b"\n".join(b"x" * length for length in lengths) + b"\n" * is_whole
    assert cut(data, MAX_LINE) == expected_lines(data, MAX_LINE)
    assert count_lines(data) == len(expected_lines(data, MAX_LINE))


@given(chunked())
def test_held_back_bytes_are_bounded(chunks: list[bytes]) -> None:
    r"""A splitter holds back at most a full piece and a ``\r`` that may become a ``\r\n``."""
    splitter = LineSplitter(SHORT)
    held = 0
    for chunk in chunks:
        held += len(chunk) - len(splitter.feed(chunk))
        assert held <= SHORT + 1


@given(chunked())
def test_no_complete_line_is_held_back(chunks: list[bytes]) -> None:
    r"""A line is returned with the chunk that ends it, unless the last byte is a ``\r``."""
    splitter = LineSplitter(SHORT)
    data = passed_on = b""
    for chunk in chunks:
        data += chunk
        passed_on += splitter.feed(chunk)
        held = data.removeprefix(passed_on)
        assert b"\n" not in held
        assert b"\r" not in held[:-1]


@given(chunked())
def test_batch_ends_with_a_line_or_a_full_piece(chunks: list[bytes]) -> None:
    """Only the end of the stream may leave a line unfinished."""
    for batch in fed(chunks)[:-1]:
        if batch:
            data, ending = cut(batch)[-1]
            assert ending or len(data) == SHORT


@given(STREAMS.filter(bool))
@example(b"\n" * 5)
@example((b"x" * 79 + b"\n") * 20)
@example((b"x" * 79 + b"\n") * 20 + b"x")
def test_count_lines_agrees_with_split_lines(data: bytes) -> None:
    """`count_lines` returns the number of lines of the stream."""
    assert count_lines(data, SHORT) == len(expected_lines(data))


STREAM = b"a\n\nbc\r\nd\r\re\n\r" + b"x" * 20 + b"\r\n" + b"y" * 8 + b"\r\n" + b"z" * 16 + b"\rend"


@pytest.mark.parametrize("size", range(1, len(STREAM) + 1))
def test_every_chunk_size_gives_the_same_lines(size: int) -> None:
    """From one byte at a time to the whole stream at once, the lines are the same."""
    lines = [line for batch in fed(of_size(size, STREAM)) for line in cut(batch)]
    assert lines == [
        (b"a", b"\n"),
        (b"", b"\n"),
        (b"bc", b"\r\n"),
        (b"d", b"\r"),
        (b"", b"\r"),
        (b"e", b"\n"),
        (b"", b"\r"),
        (b"x" * 8, b""),
        (b"x" * 8, b""),
        (b"x" * 4, b"\r\n"),
        (b"y" * 8, b"\r\n"),
        (b"z" * 8, b""),
        (b"z" * 8, b"\r"),
        (b"end", b""),
    ]


# ---- single cases ----


@pytest.mark.parametrize(
    ("chunks", "batches"),
    [
        ([], [b""]),
        ([b"a\n"], [b"a\n", b""]),
        ([b"a\nb"], [b"a\n", b"b"]),
        ([b"a", b"b\n"], [b"", b"ab\n", b""]),
        ([b"a\r", b"\nb"], [b"", b"a\r\n", b"b"]),
        ([b"a\r", b"b"], [b"", b"a\r", b"b"]),
        ([b"a\r", b"\r", b"\n"], [b"", b"a\r", b"\r\n", b""]),
        ([b"a\n\r"], [b"a\n", b"\r"]),
        ([b"10%\r20%\r"], [b"10%\r", b"20%\r"]),
        ([b"x" * 8], [b"", b"x" * 8]),
        ([b"x" * 9], [b"x" * 8, b"x"]),
        ([b"x" * 16], [b"x" * 8, b"x" * 8]),
        ([b"x" * 8, b"\n"], [b"", b"x" * 8 + b"\n", b""]),
        ([b"x" * 8 + b"\r", b"\n"], [b"", b"x" * 8 + b"\r\n", b""]),
        ([b"x" * 9 + b"\n"], [b"x" * 9 + b"\n", b""]),
    ],
    ids=repr,
)
def test_each_chunk_returns_the_lines_that_it_completes(
    chunks: list[bytes], batches: list[bytes]
) -> None:
    """A line is returned as soon as its end is certain, and not earlier."""
    assert fed(chunks) == batches


def test_chunk_of_whole_lines_is_not_copied() -> None:
    """The common case, whole lines and nothing held back, costs no copy."""
    chunk = b"a\nb\n"
    assert LineSplitter().feed(chunk) is chunk


def test_finish_returns_the_rest_once() -> None:
    """After `finish`, nothing is held back."""
    splitter = LineSplitter()
    splitter.feed(b"abc")
    assert splitter.finish() == b"abc"
    assert splitter.finish() == b""


def test_line_separators_of_str_do_not_end_a_line() -> None:
    """Form feeds, vertical tabs and Unicode line separators stay inside a line."""
    data = "a\x0bb\x0c\x1c\x85\u2028".encode()[:SHORT]
    assert cut(data + b"\r") == [(data, b"\r")]


def test_line_longer_than_64_kib_comes_in_pieces() -> None:
    """A line of 64 KiB stays whole, and each further byte starts a new piece."""
    assert MAX_LINE == 64 * 1024
    full = b"x" * MAX_LINE
    stream = full + b"\n" + full + b"x\r\n" + 3 * full + b"x"
    for size in (1000, MAX_LINE - 1, MAX_LINE, MAX_LINE + 1, len(stream)):
        lines = [
            line for batch in fed(of_size(size, stream), MAX_LINE) for line in cut(batch, MAX_LINE)
        ]
        assert [(len(data), ending) for data, ending in lines] == [
            (MAX_LINE, b"\n"),
            (MAX_LINE, b""),
            (1, b"\r\n"),
            (MAX_LINE, b""),
            (MAX_LINE, b""),
            (MAX_LINE, b""),
            (1, b""),
        ]


# ---- characters of UTF-8 ----

TEXTS = st.text(st.sampled_from("aé€😀\r\n"), max_size=60)


@given(TEXTS, st.integers(4, 9), st.data())
def test_text_is_cut_between_characters(text: str, limit: int, data: st.DataObject) -> None:
    """Every piece of UTF-8 is UTF-8, as long as possible, and the chunks make no difference."""
    stream = text.encode()
    chunks = of_size(data.draw(st.integers(1, 20)), stream)
    lines = [line for batch in fed(chunks, limit) for line in cut(batch, limit)]
    assert lines == cut(stream, limit)
    assert b"".join(content + ending for content, ending in lines) == stream
    for (content, ending), (following, _) in pairwise([*lines, (b"", b"\n")]):
        assert len(content) <= limit
        content.decode()
        if not ending and following:
            assert len(content) + len(following.decode()[0].encode()) > limit


@given(
    st.lists(
        st.sampled_from([b"a", b"\xe9", b"\xff", "é".encode(), "😀".encode(), b"\x80", b"\r"])
    ),
    st.integers(1, 9),
    st.integers(1, 20),
)
def test_any_bytes_are_cut_alike_whatever_the_chunks(
    parts: list[bytes], limit: int, size: int
) -> None:
    """No bytes and no limit make the splitter and `split_lines` differ, or lose a byte."""
    stream = b"".join(parts)
    batches = fed(of_size(size, stream), limit)
    lines = [line for batch in batches for line in cut(batch, limit)]
    assert lines == cut(stream, limit)
    assert b"".join(content + ending for content, ending in lines) == stream
    assert all(len(content) <= limit for content, _ in lines)
    assert sum(count_lines(batch, limit) for batch in batches) == len(lines)


@pytest.mark.parametrize(
    ("line", "limit", "pieces"),
    [
        ("aé€".encode(), 2, [b"a", "é".encode(), b"\xe2\x82", b"\xac"]),
        ("ab€".encode(), 4, [b"ab", "€".encode()]),
        (b"caf\xe9caf\xe9", 4, [b"caf\xe9", b"caf\xe9"]),
        (b"\x80" * 5, 2, [b"\x80\x80", b"\x80\x80", b"\x80"]),
        (b"ab\xe0\x80\x80c", 3, [b"ab\xe0", b"\x80\x80c"]),
        ("😀".encode() * 2, 1, [bytes([byte]) for byte in "😀".encode() * 2]),
    ],
    ids=repr,
)
def test_bytes_that_are_not_utf8_are_cut_at_the_limit(
    line: bytes, limit: int, pieces: list[bytes]
) -> None:
    """A character that does not fit, an overlong form and stray bytes do not move the cut."""
    assert [content for content, _ in cut(line, limit)] == pieces


@pytest.mark.parametrize("limit", [5, 10**6])
def test_batch_of_another_limit_splits_itself(limit: int) -> None:
    """A batch knows the limit of its command; copies and pickles keep it."""
    batch = batches_with_limit(limit)("web", "stdout", "é".encode() * 70_000, 0.0)
    assert isinstance(batch, Batch)
    for copied in (batch, pickle.loads(pickle.dumps(batch)), dataclasses.replace(batch)):
        lines = list(copied.lines())
        assert copied == batch
        assert max(len(line.data) for line in lines) == min(limit // 2 * 2, 140_000)
        assert len(lines) == copied.count()


@given(
    st.text("ab\r\n", max_size=60).map(str.encode),
    st.sampled_from([5, MAX_LINE]),
    st.integers(1, 5),
)
def test_lines_do_not_depend_on_the_parts(data: bytes, limit: int, part_lines: int) -> None:
    """A batch is split part by part, and its lines are those of the whole."""
    batch = batches_with_limit(limit)("web", "stdout", data, 0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines_module, "PART_LINES", part_lines)
        lines = [(line.data, line.ending) for line in batch.lines()]
    assert lines == cut(data, limit)


@pytest.mark.parametrize("ending", [b"\n", b"\r"])
def test_first_line_of_a_large_batch_comes_before_the_others_are_split(ending: bytes) -> None:
    """A reader may stop after any line, and has not waited for all of them."""
    batch = Batch("web", "stdout", (b"50 %" + ending) * 50_000, 0.0)
    tracemalloc.start()
    try:
        first = next(batch.lines())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (first.data, first.ending) == (b"50 %", ending)
    assert peak < 500_000


# ---- flushes ----


@given(chunked(), st.sets(st.integers(0, 40)))
@example([b"a\r", b"\n"], {0})
@example([b"a\r", b"b"], {0})
@example([b"\r", b"\n"], {0})
@example(["é".encode()[:1], "é".encode()[1:]], {0})
def test_flushes_lose_no_byte_and_make_no_line(chunks: list[bytes], flushes: set[int]) -> None:
    r"""Pieces joined up to the next ending are the lines of the stream; no ``\r\n`` is torn."""
    splitter = LineSplitter(SHORT)
    batches = []
    for number, chunk in enumerate(chunks):
        batches.append(splitter.feed(chunk))
        if number in flushes:
            assert splitter.can_flush == (splitter.last_held(99) not in (b"", b"\r"))
            batches.append(splitter.flush())
            assert splitter.last_held(9) in (b"", b"\r") or len(splitter.last_held(9)) < 4
    batches.append(splitter.finish())
    lines = [line for batch in batches for line in cut(batch)]
    whole = cut(b"".join(chunks), 10**6)
    assert joined(lines) == joined(whole)
    assert all(len(content) <= SHORT for content, _ in lines)


def joined(lines: list[tuple[bytes, bytes]]) -> list[bytes]:
    """Join each piece without an ending with the piece that follows."""
    result = [b""]
    for content, ending in lines:
        result[-1] += content + ending
        if ending:
            result.append(b"")
    return result


def test_flush_holds_half_a_character_back_once() -> None:
    """The beginning of a character waits for the rest, but not for ever."""
    splitter = LineSplitter()
    splitter.feed(b"caf" + "é".encode()[:1])
    assert splitter.flush() == b"caf"
    assert splitter.can_flush
    assert splitter.flush() == "é".encode()[:1]
    assert not splitter.can_flush
