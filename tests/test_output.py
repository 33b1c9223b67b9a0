"""The last lines of an attempt, bounded."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from currant import Batch
from currant._channel.tail import TAIL_BYTES, TAIL_LINES, Tail

if TYPE_CHECKING:
    from currant._values.lines import StreamName


def tail_of(*batches: bytes, stream: StreamName = "stdout") -> list[bytes]:
    """Return the last lines, endings included, after `batches`."""
    tail = Tail()
    for data in batches:
        tail.add(Batch("web", stream, data, 0.0))
    return [line.data + line.ending for line in tail.lines()]


# ---- tail ----


def test_tail_of_no_output_is_empty() -> None:
    """Without lines there are no last lines."""
    assert tail_of() == []


def test_tail_holds_the_last_lines_of_both_streams_in_order() -> None:
    """The tail holds twenty lines, whichever stream they came on."""
    tail = Tail()
    streams: list[StreamName] = ["stdout", "stderr"]
    for number in range(50):
        tail.add(Batch("web", streams[number % 2], b"%d\n" % number, float(number)))
    lines = tail.lines()
    assert [line.text for line in lines] == [str(number) for number in range(30, 50)]
    assert [line.stream for line in lines] == ["stdout", "stderr"] * 10
    assert [line.time for line in lines] == [float(number) for number in range(30, 50)]


@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=30), max_size=30))
def test_tail_does_not_depend_on_the_batches(batches: list[list[int]]) -> None:
    """Short lines are kept one by one, however many came in a batch."""
    written = [[b"%d\n" % number for number in batch] for batch in batches]
    lines = [line for batch in written for line in batch]
    assert tail_of(*map(b"".join, written)) == lines[-TAIL_LINES:]


def test_large_batch_is_cut_at_the_start_of_a_line() -> None:
    """The tail of a large batch consists of whole lines, its last ones."""
    line = b"x" * 299 + b"\n"
    assert tail_of(line * 1000) == [line] * (TAIL_BYTES // 300)


@pytest.mark.parametrize("ending", [b"\r", b"\r\n"], ids=repr)
def test_large_batch_is_cut_at_the_start_of_a_line_with_any_ending(ending: bytes) -> None:
    r"""Lines that end with a CR, as progress bars write them, are whole lines too."""
    line = b"x" * 299 + ending
    assert set(tail_of(line * 1000)) == {line}


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r", b""], ids=repr)
def test_tail_keeps_the_end_of_a_long_line(ending: bytes) -> None:
    """A last line that does not fit is cut rather than lost."""
    (line,) = tail_of(b"first\n" + b"x" * 10_000 + ending)
    assert line == (b"x" * TAIL_BYTES + ending)[-TAIL_BYTES:]


def test_tail_uses_bounded_memory() -> None:
    """The tail holds a few kilobytes for each line (as the pickle shows)."""
    tail = Tail()
    for _ in range(100):
        tail.add(Batch("web", "stdout", b"x" * 100_000 + b"\n", 0.0))
    assert len(pickle.dumps(tail)) < TAIL_LINES * (TAIL_BYTES + 500)


def test_reading_the_tail_does_not_consume_it() -> None:
    """The tail keeps its lines and accepts more after it was read."""
    tail = Tail()
    tail.add(Batch("web", "stdout", b"a\n", 0.0))
    assert [line.text for line in tail.lines()] == ["a"]
    tail.add(Batch("web", "stdout", b"b\n", 0.0))
    assert [line.text for line in tail.lines()] == ["a", "b"]


def test_tail_joins_the_pieces_of_a_line() -> None:
    """A line that came in many pieces, as dots do, is one line of the tail."""
    assert tail_of(b"one\n", *[b"."] * 50, b" done\n", b"two") == [
        b"one\n",
        b"." * 50 + b" done\n",
        b"two",
    ]
    assert tail_of(b"one\r", b"two") == [b"one\r", b"two"]
    (line,) = tail_of(*[b"x" * 4000] * 3)
    assert len(line) == TAIL_BYTES


def test_tail_shows_what_has_come_of_a_line() -> None:
    """An unfinished line is shown after the others, and not kept."""
    tail = Tail()
    tail.add(Batch("web", "stdout", b"a\nb", 0.0))
    held = [Batch("web", "stdout", b"c", 0.0), Batch("web", "stderr", b"d", 0.0)]
    assert [line.data for line in tail.lines(held)] == [b"a", b"bc", b"d"]
    assert [line.data for line in tail.lines()] == [b"a", b"b"]
