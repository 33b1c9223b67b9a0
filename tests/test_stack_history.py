"""The history of a stack: the messages that it keeps, and the gaps that a slow reader is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from currant import Batch, Dropped, Exit, Exited, Started
from currant.stack._history import OVERHEAD, History

if TYPE_CHECKING:
    from collections.abc import Iterable

    from currant import BatchMessage
    from currant.stack._history import Cursor

KEPT = 4000


def lines(command: str, *texts: str, time: float = 0.0) -> Batch:
    """Return a batch of lines."""
    return Batch(command, "stdout", "".join(f"{text}\n" for text in texts).encode(), time)


def fed(messages: Iterable[BatchMessage], kept: int = KEPT) -> History:
    """Return a history that has received messages."""
    history = History(kept)
    feed(history, messages)
    return history


def feed(history: History, messages: Iterable[BatchMessage]) -> None:
    """Give a history messages."""
    for message in messages:
        history.add(message, {})


def texts(messages: Iterable[BatchMessage]) -> list[str]:
    """Return the lines of batches, and a text for each gap."""
    found: list[str] = []
    for message in messages:
        if isinstance(message, Batch):
            found += [line.text for line in message.lines()]
        elif isinstance(message, Dropped):
            found.append(f"{message.command} lost {message.lines}")
    return found


def read_all(history: History, cursor: Cursor, names: Iterable[str] = ()) -> list[str]:
    """Read to the end, in small steps."""
    found: list[str] = []
    while messages := history.read(cursor, set(names), max_bytes=1):
        found += texts(messages)
    return found


@pytest.mark.parametrize(
    ("last", "names", "expected"),
    [
        (None, (), ["a1", "a2", "b1", "b2", "a3"]),
        (0, (), []),
        (1, (), ["a3"]),
        (2, (), ["b2", "a3"]),
        (4, (), ["a2", "b1", "b2", "a3"]),
        (99, (), ["a1", "a2", "b1", "b2", "a3"]),
        (2, ("a",), ["a2", "a3"]),
        (1, ("b",), ["b2"]),
        (3, ("c",), []),
    ],
)
def test_last_counts_the_lines_of_the_commands(
    last: int | None, names: tuple[str, ...], expected: list[str]
) -> None:
    """`last` counts lines, not batches, in the order of arrival."""
    history = fed([lines("a", "a1", "a2"), lines("b", "b1", "b2"), lines("a", "a3")])
    assert read_all(history, history.begin(names, last), names) == expected


def test_since_begins_with_the_first_line_of_that_time() -> None:
    """`since` leaves out earlier lines."""
    history = fed([lines("a", "old", time=1.0), lines("a", "new", time=2.0)])
    assert read_all(history, history.begin(since=1.5)) == ["new"]
    assert read_all(history, history.begin(since=9.0)) == []


def test_chatty_command_does_not_push_out_a_quiet_one() -> None:
    """Each command has a ring of its own."""
    history = fed([lines("quiet", "hello"), *(lines("chatty", "x" * 100) for _ in range(100))])
    assert read_all(history, history.begin(["quiet"]), ["quiet"]) == ["hello"]


def test_late_reader_is_told_the_number_of_missed_lines() -> None:
    """A reader that is late gets a `Dropped` for each command, in the place of the lines."""
    history = fed([lines("a", "a0")])
    cursor = history.begin(last=0)
    feed(history, [lines("a", f"a{number}") for number in range(1, 101)])
    found = read_all(history, cursor)
    missed = int(found[0].removeprefix("a lost "))
    assert found[1:] == [f"a{number}" for number in range(missed + 1, 101)]
    assert missed > 50


def test_state_is_folded_from_the_messages() -> None:
    """The states are those of `currant._values.state`."""
    history = fed([Started("a", 7, 1, 5.0), Exited("a", Exit(3, None), 1, 6.0)])
    state = history.states["a"]
    assert (state.phase, state.started_at, str(state.exit)) == ("failed", 5.0, "exit code 3")


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2000))))
def test_memory_is_bounded_for_any_output(sizes: list[tuple[str, int]]) -> None:
    """The cost of a command is at most the limit, or that of one message."""
    history = fed([Batch(name, "stdout", bytes(size), 0.0) for name, size in sizes])
    most = max(KEPT, 2000 + OVERHEAD)
    assert history.cost <= most * len({name for name, _ in sizes})


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 5)), max_size=60), st.integers(0, 60)
)
def test_lines_and_gaps_add_up(sizes: list[tuple[str, int]], seen: int) -> None:
    """The lines that a reader gets, and the lines that it is told to have missed, are all lines."""
    batches = [lines(name, *map(str, range(count))) for name, count in sizes]
    history = fed(batches[:seen], kept=1000)
    cursor = history.begin(last=0)
    feed(history, batches[seen:])
    found = read_all(history, cursor)
    lost = sum(int(text.split()[-1]) for text in found if "lost" in text)
    got = sum("lost" not in text for text in found)
    assert got + lost == sum(count for _, count in sizes[seen:])
