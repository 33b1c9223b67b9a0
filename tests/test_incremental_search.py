"""The search in bytes that arrive in parts: what it finds, and what it costs."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from currant._values import incremental_search
from currant._values.incremental_search import CONTEXT, MAX_REACH, IncrementalSearch

PATTERNS = [
    rb"ab",
    rb"a.b",
    rb"^b",
    rb"(?m)^b",
    rb"(?m)a$",
    rb"b$",
    rb"b\Z",
    rb"\Aab",
    rb"a\b",
    rb"a\B.",
    rb"a(?=bc)",
    rb"a(?!b)",
    rb"(?<=ab)c",
    rb"(?<!a)b",
    rb"(a|bc)\1",
    rb"a{2,3}b",
    rb"(?i)AB",
    rb"a[^b]*?c",
    rb"(?s)b.*c",
    rb"\s",
    rb"",
]


def find(search: IncrementalSearch, chunks: list[bytes]) -> re.Match[bytes] | None:
    """Feed all chunks, and settle at the end; return the first match."""
    for chunk in chunks:
        if (match := search.feed(chunk)) is not None:
            return match
    return search.settle()


@given(
    st.sampled_from(PATTERNS),
    st.lists(st.text("abc \n", min_size=1, max_size=4), max_size=12),
)
def test_match_begins_where_a_search_in_all_bytes_finds_it(
    source: bytes, chunks: list[str]
) -> None:
    """However the bytes are cut, the first match begins at the same place, or there is none."""
    pattern, parts = re.compile(source), [chunk.encode() for chunk in chunks]
    whole = pattern.search(b"".join(parts))
    found = find(IncrementalSearch(pattern), [b"", *parts])
    assert (found is None) == (whole is None)
    if found is not None and whole is not None:
        assert found.start() == whole.start()
        assert b"".join(parts).startswith(found.string)


@given(st.lists(st.text("ab $>", min_size=1, max_size=3), min_size=1, max_size=20), st.data())
def test_matches_in_a_row_are_those_of_finditer(chunks: list[str], data: st.DataObject) -> None:
    """Searches that each begin behind the last match find what ``finditer`` finds."""
    text = "".join(chunks).encode()
    source = data.draw(st.sampled_from([rb"[$>] ", rb"a+?b", rb"ab| >"]))
    found, rest = [], text
    while (match := find(IncrementalSearch(re.compile(source)), _pairs(rest))) is not None:
        found.append(match[0])
        rest = rest[match.end() :]
    assert found == [match[0] for match in re.finditer(source, text)]


def _pairs(text: bytes) -> list[bytes]:
    return [text[start : start + 2] for start in range(0, len(text), 2)]


@pytest.mark.parametrize(
    ("source", "again"),
    [(rb">>> ", 6), (rb"\$ $", 4), (rb"x(?<=abx)(?=yz)", 9), (rb"z.*z", MAX_REACH)],
)
def test_cost_is_linear(source: bytes, again: int) -> None:
    """In 4 MB without a match, each chunk of 100 bytes searches its bytes and a few before them."""
    search, chunk = IncrementalSearch(re.compile(source)), b"a" * 99 + b"\n"
    for _ in range(40_000):
        assert search.feed(chunk) is None
    assert search.searched <= 40_000 * (len(chunk) + again)
    assert len(search._window) <= 2 * CONTEXT + MAX_REACH + len(chunk)


def test_match_has_what_came_before_it() -> None:
    """The `string` of a match has the last 64 KiB before it, or all if that is less."""
    search = IncrementalSearch(re.compile(rb"end"))
    for number in range(100_000):
        assert search.feed(b"%d\n" % number) is None
    match = search.feed(b"endless")
    assert match is not None
    before = match.string[: match.start()]
    assert b"".join(b"%d\n" % number for number in range(100_000)).endswith(before)
    assert len(before) >= CONTEXT
    assert match.string[match.end() :] == b"less"


@pytest.mark.parametrize("source", [rb"80$", rb"80\b", rb"80(?!0)", rb"80\Z", rb"\d+\b"])
def test_match_that_more_bytes_may_undo_is_undecided(source: bytes) -> None:
    """Port 80 is not port 8080: the match counts if no more bytes come, or others do."""
    search = IncrementalSearch(re.compile(source))
    assert search.feed(b"port 80") is None
    assert search.is_undecided
    settled = search.settle()
    assert settled is not None
    assert settled[0] == b"80"
    if source != rb"\d+\b":
        assert search.feed(b"0 ") is None
        assert not search.is_undecided


def test_word_at_the_end_is_decided() -> None:
    r"""A ``\b`` before a word depends on nothing that comes later."""
    assert IncrementalSearch(re.compile(rb"\bready")).feed(b"now ready") is not None


def test_greedy_match_that_goes_on_for_ever_costs_linear_time() -> None:
    """An undecided match that grows with each chunk is not searched from its beginning."""
    search = IncrementalSearch(re.compile(rb"(?s)x.*y$"))
    for _ in range(5_000):
        assert search.feed(b"x" * 99 + b"y") is None
    assert search.searched <= 5_000 * (100 + MAX_REACH)


def test_long_match_that_arrives_in_parts_is_found_up_to_the_reach() -> None:
    """A match of an unbounded pattern may be as long as the reach."""
    search = IncrementalSearch(re.compile(rb"<[^<>]*>"))
    assert search.feed(b"-" * CONTEXT + b"<") is None
    for _ in range(MAX_REACH // 10 - 1):
        assert search.feed(b"0123456789") is None
    assert search.feed(b">") is not None


def test_unknown_parser_falls_back_to_the_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the standard library's parser has changed, every pattern is treated as unbounded."""
    pattern = re.compile(rb"fallback")
    monkeypatch.delattr("re._parser.parse")
    incremental_search._shape_of.cache_clear()
    search = IncrementalSearch(pattern)
    monkeypatch.undo()
    incremental_search._shape_of.cache_clear()
    assert search._shape == (MAX_REACH, MAX_REACH, True)
