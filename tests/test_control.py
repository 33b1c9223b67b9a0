"""Test which control sequences of a command reach a terminal, and which reach a log."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from currant.sinks._control import MAX_HELD, ControlFilter, SequenceFilter

COLOR_OR_LINK = re.compile(rb"\x1b\[[0-9;:]*m|\x1b\]8;[^\x07\x1b\r\n]*(?:\x07|\x1b\\)")

PARTS = st.sampled_from(
    [
        *(bytes([byte]) for byte in range(32)),
        *(b"\x1b[", b"\x1b]", b"\x1bP", b"\x1b_", b"\x1b\\", b"\x1b(", b"]8;", b";", b"0", b"31"),
        *(b"m", b"J", b"?", b"[", b"\\", b"text", "é".encode(), "→".encode(), "🍇".encode()),
        *(b"\x85", b"\x9b", b"\xc2", b"\xe2", b"\x1b[31m", b"\x1b[0m", b"\x1b]8;;http://a\x1b\\"),
    ]
)
OUTPUT = st.lists(PARTS, max_size=30).map(b"".join)


def filtered(*pieces: bytes, styles: bool = True) -> bytes:
    """Return the pieces of a stream as a terminal gets them."""
    control = ControlFilter(styles=styles)
    return b"".join(map(control.feed, pieces)) + control.finish()


@pytest.mark.parametrize(
    "harmless",
    [
        b"plain\ttext\a\n",
        b"\x1b[31mred\x1b[0m \x1b[1;38;5;4mblue\x1b[m \x1b[38:2::1:2:3mrgb\x1b[0m\n",
        b"\x1b]8;id=1;https://a.example/\x1b\\link\x1b]8;;\x1b\\ \x1b]8;;u\x07l\x1b]8;;\x07\n",
        "é → 🍇 \u2500\n".encode(),
        b"Latin-1: caf\xe9\n",
        b"\0\x7f\xff\n",
    ],
)
def test_text_colours_and_links_pass(harmless: bytes) -> None:
    """Text, tabs, bells, colours and hyperlinks reach the terminal unchanged."""
    assert filtered(harmless) == harmless


@pytest.mark.parametrize(
    "sequence",
    [
        *(b"\x1b[2J", b"\x1b[H", b"\x1b[1A", b"\x1b[K", b"\x1b[?1049h", b"\x1b[?25l", b"\x1b[6n"),
        *(b"\x1b[>4;1m", b"\x1b[?1m", b"\x1b[0 q", b"\x1b[!p", b"\x1b[1;5r", b"\x1b[3;4;5t"),
        *(b"\x1b]0;title\x07", b"\x1b]2;title\x1b\\", b"\x1b]52;c;aGk=\x07", b"\x1b]10;?\x1b\\"),
        *(b"\x1b]88;x\x07", b"\x1bPq#0;2\x1b\\", b"\x1b_Gf=100;AA\x1b\\", b"\x1b^pm\x1b\\"),
        *(b"\x1bXsos\x1b\\", b"\x1bc", b"\x1b7", b"\x1b8", b"\x1bM", b"\x1bD", b"\x1bE", b"\x1b="),
        *(b"\x1b(0", b"\x1b)B", b"\x1b%G", b"\x1b#8", b"\x1bN", b"\x1b", b"\x1b[", b"\x1b[31"),
        *(
            b"\x05",
            b"\b",
            b"\v",
            b"\f",
            b"\x0e",
            b"\x0f",
            b"\x9b",
            b"\x85",
            b"\xc2\x9b",
            b"\xc2\x85",
        ),
    ],
)
def test_other_sequences_are_removed(sequence: bytes) -> None:
    """Each other sequence is removed, also at the end of a line, and the text around it stays."""
    assert filtered(b"a" + sequence + b"\n-b\n") == b"a\n-b\n"
    if sequence not in (b"\x1b", b"\x1b[", b"\x1b[31"):
        assert filtered(b"a" + sequence + b"-b\n") == b"a-b\n"


@pytest.mark.parametrize("sequence", [b"\x1b[G", b"\x1b[0G", b"\x1b[1G", b"\x1b[1000D"])
def test_move_to_the_first_column_becomes_a_carriage_return(sequence: bytes) -> None:
    """Programs rewind a progress bar in either way, and either way ends the styles of the line."""
    assert filtered(b"1%" + sequence + b"2%") == b"1%\r2%"
    assert filtered(b"\x1b[31m1%" + sequence + b"2%") == b"\x1b[31m1%\x1b[0m\r2%"
    assert filtered(b"1%\x1b[2G2%\x1b[10D3%") == b"1%2%3%"


def test_string_without_an_end_hides_the_rest_of_its_line_only() -> None:
    """An OSC or DCS string that never ends does not swallow the following lines."""
    assert filtered(b"a\x1b]0;title\nb\x1bPdata\nc\n") == b"a\nb\nc\n"


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (b"\x1b[31mred\nplain\n", b"\x1b[31mred\x1b[0m\nplain\n"),
        (b"\x1b[1;31mred\rx\n", b"\x1b[1;31mred\x1b[0m\rx\n"),
        (b"\x1b[31mred\x1b[0m\n", b"\x1b[31mred\x1b[0m\n"),
        (b"\x1b[31mred\x1b[m, \x1b[1mbold\n", b"\x1b[31mred\x1b[m, \x1b[1mbold\x1b[0m\n"),
        (b"\x1b]8;;u\x07link\nx\n", b"\x1b]8;;u\x07link\x1b]8;;\x1b\\\nx\n"),
        (
            b"\x1b]8;;u\x07\x1b[4mlink\nx\n",
            b"\x1b]8;;u\x07\x1b[4mlink\x1b[0m\x1b]8;;\x1b\\\nx\n",
        ),
    ],
)
def test_styles_end_with_their_line(written: bytes, shown: bytes) -> None:
    """A colour or link that a line leaves open ends before the end of the line, in any pieces."""
    assert filtered(written) == shown
    assert filtered(*(bytes([byte]) for byte in written)) == shown


def test_interrupted_line_ends_its_styles() -> None:
    """If other output interrupts an unfinished line, its styles end, and do not begin again."""
    control = ControlFilter(styles=True)
    assert control.feed(b"\x1b[31mre") == b"\x1b[31mre"
    assert control.end_styles() == b"\x1b[0m"
    assert control.end_styles() == b""
    assert control.feed(b"d\n") == b"d\n"


def test_terminal_without_styles_gets_text_alone() -> None:
    """Without styles, colours and links are removed too."""
    assert filtered(b"\x1b[31mred\x1b]8;;u\x07 link\n", styles=False) == b"red link\n"


def test_long_sequence_is_removed_with_bounded_memory() -> None:
    """A sequence of any length is removed, and only its beginning is held back."""
    control = ControlFilter(styles=True)
    pieces = [
        b"a\x1b]8;;",
        *[b"x" * 999] * 100,
        b"\x1b",
        b"\\b",
        b"\x1b[",
        *[b"1;" * 999] * 9,
        b"mc",
    ]
    assert b"".join(map(control.feed, pieces)) == b"abc"
    control.feed(b"\x1bP" + b"x" * 100_000)
    assert len(control._held) <= MAX_HELD


@given(OUTPUT, st.lists(st.integers(0, 60)), st.booleans())
@example(b"\x1b\x9b[2J", [2], True)
@example(b"\x1b]8;;u\x1b\\t\n", [6, 7], True)
def test_cuts_do_not_change_the_result(output: bytes, cuts: list[int], styles: bool) -> None:
    """The terminal gets the same bytes in whatever pieces the output is read."""
    ends = sorted({0, len(output), *(min(cut, len(output)) for cut in cuts)})
    pieces = [output[begin:end] for begin, end in pairwise(ends)]
    assert filtered(*pieces, styles=styles) == filtered(output, styles=styles)
    log, whole = SequenceFilter(), SequenceFilter()
    assert b"".join(map(log.feed, pieces)) == whole.feed(output)


@given(OUTPUT)
def test_no_other_sequence_passes(output: bytes) -> None:
    """No escape sequence but colours and links passes, and no character of C1."""
    shown = filtered(output + b"\n")
    assert b"\x1b" not in COLOR_OR_LINK.sub(b"", shown)
    assert not re.search("[\x80-\x9f\x05\x08\x0b\x0c\x0e\x0f]", shown.decode(errors="replace"))
    assert shown.count(b"\n") == output.count(b"\n") + 1


@given(st.lists(PARTS.filter(lambda part: b"\x1b" not in part)).map(b"".join))
def test_log_loses_nothing_but_sequences(output: bytes) -> None:
    """Bytes that are not in an escape sequence go to a log unchanged, whatever they are."""
    assert SequenceFilter().feed(output) == output
