"""The search for a line: the same lines match as if each were searched alone, in any chunks."""

from __future__ import annotations

import pickle
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from currant import ready
from currant._channel.line_matcher import MAX_UNFINISHED, LineMatcher
from currant._values.line_pattern import LinePattern, Lines

if TYPE_CHECKING:
    from collections.abc import Iterable

PATTERNS = [
    "ab",
    "^b",
    "b$",
    "^$",
    "^ab?$",
    "^a|b$",
    r"a\s*b",
    r"[^b]a",
    r"\bb",
    r"a\B",
    "(?i)AB",
    "(?s)a.b",
    "(?x) a b",
    r"\Ab",
    r"b\Z",
    "a(?!b)",
    "(?<!a)b",
    "[^a]++b",
    "(?-i:^b)",
    "(a)?b(?(1)b|a)",
    "",
]


def search(pattern: str | bytes, data: bytes, *, raw: bool = False) -> bool | None:
    """Search finished or unfinished lines."""
    return LinePattern(re.compile(pattern), raw).found_in(Lines(data, may_go_on=True))


def matched_by(pattern: str | bytes, chunks: Iterable[bytes]) -> list[bool]:
    """Return after which chunks the pattern had been found."""
    matcher = LineMatcher(ready.line(pattern).line_probes)
    found = False
    return [found := matcher.add("stdout", chunk) or found for chunk in chunks]


@given(
    st.sampled_from(PATTERNS), st.lists(st.sampled_from(["", "a", "b", "ab", "ba", "aab ", "é"]))
)
@example("a(?!b)", ["a", "b"])
@example("[^a]++b", ["é", "b"])
@example("^$", ["a"])
def test_whole_lines_match_as_if_each_were_searched_alone(pattern: str, lines: list[str]) -> None:
    """Searching many lines at once finds neither more nor less."""
    data = "".join(f"{line}\n" for line in lines).encode()
    expected = any(re.search(pattern, line) for line in lines)
    assert search(pattern, data) is expected
    assert search(pattern.encode(), data) is any(
        re.search(pattern.encode(), line.encode()) for line in lines
    )
    assert search(pattern, data.replace(b"\n", b"\r\n")) is expected
    assert search(pattern, data.replace(b"\n", b"\r")) is expected


@pytest.mark.parametrize(
    ("pattern", "data", "found"),
    [
        (
            "Local: +http://localhost:5173/",
            b"  \x1b[1mLocal\x1b[22m:   \x1b[36mhttp://localhost:",
            False,
        ),
        (
            "http://localhost:5173/",
            b"\x1b[36mhttp://localhost:\x1b[1m5173\x1b[22m/\x1b[39m\n",
            True,
        ),
        ("^see docs$", b"see \x1b]8;;http://x.y/\x1b\\docs\x1b]8;;\x07\n", True),
        ("^up$", b"\x1b]0;title\x07\x1b(B\x1b[m\x1b7\x1b=up\x1bP1$r0m\x1b\\\x1b[?25h\n", True),
        ("^up", b"\x1b[2K\x1b[1Gup\r\n", True),
        (b"^up$", b"\x1b[32mup\x1b[0m\n", True),
        ("3", b"\x1b[3", False),
        ("h", b"\x1b]8;;h", False),
    ],
)
def test_escape_sequences_are_left_out(pattern: str | bytes, data: bytes, found: bool) -> None:
    """A pattern matches the text that a person reads, also if a sequence has only begun."""
    assert search(pattern, data) is found


def test_raw_pattern_matches_the_bytes_as_they_are() -> None:
    """With ``raw=True`` escape sequences are searched too."""
    data = b"\x1b[32mup\x1b[0m\n"
    assert search(r"\x1b\[32mup", data, raw=True)
    assert search(rb"^\x1b\[32mup", data, raw=True)
    assert search("^up", data, raw=True) is False
    (probe,) = ready.line("^up", raw=True).line_probes
    assert probe.found_in(Lines(data), "stdout") is False
    assert probe.found_in(Lines(b"up\n"), "stdout") is True
    assert pickle.loads(pickle.dumps(ready.line("up", raw=True))) == ready.line("up", raw=True)


@pytest.mark.parametrize(
    ("pattern", "data", "found"),
    [
        ("mysql> ", b"Welcome\nmysql> ", True),
        ("mysql> $", b"mysql> ", None),
        ("port 80$", b"port 80", None),
        (r"port 80\b", b"port 80", None),
        (r"port \d+", b"port 80", True),
        ("80$", b"port 80\n", True),
        ("80$", b"port 8080 \n", False),
        ("^$", b"a\n", False),
        ("^$", b"", False),
        (r"^\S+$", b"up", None),
        (r"^up[^:]*$", b"up", None),
        (r"port 80(?!\d)", b"port 80", None),
        (r"up(?! soon)", b"up", None),
        (rb"up(?! soon)", b"up ", None),
        ("é", "é".encode()[:1], None),
        (r"\W", "é".encode()[:1], None),
        (r"\bup\b", b"up" + "é".encode()[:1], None),
        (r"\bup\b", b"up" + "é".encode()[:1] + b"\n", True),
    ],
)
def test_unfinished_line_matches_unless_more_could_undo_that(
    pattern: str, data: bytes, found: bool | None
) -> None:
    """The end of an unfinished line is not known yet."""
    assert search(pattern, data) is found


@given(st.integers(1, 30))
def test_line_is_found_in_any_chunks(size: int) -> None:
    """The match is found with the chunk that completes it, and no earlier."""
    data = "one\r\n  \x1b[1mLocal\x1b[22m:  é http://[::1]:\x1b[1m80\x1b[0m/\n".encode()
    chunks = [data[start : start + size] for start in range(0, len(data), size)]
    end = data.index(b"80") + 2
    first = -(-end // size) - 1
    expected = [number >= first for number in range(len(chunks))]
    assert matched_by("^  Local: +é http://.*80", chunks) == expected


def test_newline_after_a_carriage_return_is_no_empty_line() -> None:
    r"""A ``\r\n`` in two chunks ends one line."""
    assert matched_by("^$", [b"a\r", b"\n", b"b\r", b"\nc"]) == [False] * 4
    assert matched_by("^$", [b"a\r", b"\n\n"]) == [False, True]


def test_settled_line_matches_as_it_is() -> None:
    """After a silence, a match that needs the end of the line counts."""
    matcher = LineMatcher(ready.line("^> $").line_probes)
    assert not matcher.add("stdout", b"hello\n> ")
    assert matcher.undecided == {"stdout"}
    assert matcher.match_unfinished("stdout")
    assert not matcher.undecided
    assert not matcher.waiting


def test_long_line_in_many_chunks_is_searched_in_bounded_parts() -> None:
    """A match over the edge of two chunks is found; the rest of the line is no beginning."""
    filler = [b"x" * 1000] * (3 * MAX_UNFINISHED // 1000)
    assert matched_by("needle", [*filler, b"nee", b"dle"])[-2:] == [False, True]
    assert matched_by("^x*y", [*filler, b"y"])[-1] is False
    assert matched_by("^xx", [b"y", *filler, b"\nxx"])[-2:] == [False, True]


def test_many_lines_are_not_searched_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Output without a match costs a search for each chunk, not for each line."""

    def fail(self: LinePattern, line: str, start: int, *, is_open: bool) -> bool | None:
        raise AssertionError("a single line was searched")

    monkeypatch.setattr(LinePattern, "_search", fail)
    for pattern in ("never", "^never$", "(never|ever)", r"\d+", ".*ready"):
        assert matched_by(pattern, [b"y\n" * 100_000] * 3) == [False] * 3
