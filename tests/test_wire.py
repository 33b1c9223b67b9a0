"""The wire format: every message becomes a dict that JSON can hold, and comes back."""

from __future__ import annotations

import json
import re
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from currant import (
    Aborted,
    Batch,
    CannotStopError,
    CommandError,
    CurrantError,
    DependencyError,
    Dropped,
    Exit,
    Exited,
    ExitStatusLostError,
    Failed,
    HostLost,
    HostLostError,
    HostUnreachableError,
    HostUp,
    LaunchError,
    Line,
    Message,
    NotPermittedError,
    NotReadyError,
    OutputLimitError,
    Ready,
    Restarting,
    Skipped,
    SpillError,
    Started,
    StdinClosedError,
    TimeLimitError,
    UnknownNameError,
    UnresponsiveError,
)
from currant._values.wire import decode, decode_exit, encode, encode_each, encode_exit
from tests.clis import ROOT

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

NAMES = st.text(min_size=1, max_size=5)
TEXTS = st.text(max_size=20)
TIMES = st.floats(min_value=0, max_value=1e11)
NUMBERS = st.integers(1, 2**31)
FLAGS = st.booleans()
STREAMS = st.sampled_from(["stdout", "stderr"])

EXITS = st.one_of(
    st.builds(Exit, st.integers(0, 255), st.none(), FLAGS, FLAGS, FLAGS),
    st.builds(Exit, st.none(), st.sampled_from(signal.Signals), FLAGS, FLAGS, FLAGS),
    st.builds(Exit, st.none(), st.just(signal.SIGRTMIN + 1), FLAGS, FLAGS, FLAGS),
)
LINES = st.builds(
    Line,
    NAMES,
    STREAMS,
    st.one_of(TEXTS.map(lambda text: text.encode()), st.binary(max_size=20)),
    st.sampled_from([b"\n", b"\r\n", b"\r", b""]),
    TIMES,
)


def errors_of(name: str) -> SearchStrategy[CurrantError]:
    """Return a strategy for the errors of the command `name`."""
    named = st.just(name)
    seconds = st.floats(0.001, 1e9)
    return st.one_of(
        st.builds(NotReadyError, named, TEXTS, st.lists(LINES, max_size=3)),
        st.builds(StdinClosedError, named, TEXTS, st.lists(LINES, max_size=3)),
        st.builds(UnknownNameError, named, st.lists(TEXTS), st.none() | TEXTS),
        st.builds(UnresponsiveError, named, NUMBERS, TEXTS),
        st.builds(NotPermittedError, named, NUMBERS),
        st.builds(ExitStatusLostError, named),
        st.builds(TimeLimitError, named, seconds, st.sampled_from(["command", "runner", "idle"])),
        st.builds(OutputLimitError, named, NUMBERS),
        st.builds(SpillError, named, TEXTS, TEXTS),
        st.builds(CannotStopError, named, NUMBERS, seconds),
        st.builds(LaunchError, named, TEXTS),
        st.builds(HostLostError, named, TEXTS),
        st.builds(HostUnreachableError, named, TEXTS),
        st.builds(DependencyError, named, TEXTS),
        st.builds(CommandError, TEXTS),
        st.builds(CurrantError, TEXTS),
    )


@st.composite
def messages_with_errors(draw: st.DrawFn) -> Message:
    """Return a message that has an error of its own command."""
    name = draw(NAMES)
    named, number, time = st.just(name), NUMBERS, st.just(0.0)
    return draw(
        st.one_of(
            st.builds(Aborted, named, errors_of(name), number, time),
            st.builds(Failed, named, st.builds(LaunchError, named, TEXTS), number, time),
            st.builds(Skipped, named, st.builds(DependencyError, named, TEXTS), time),
            st.builds(HostLost, named, st.builds(HostLostError, named, TEXTS), time),
        )
    )


MESSAGES = st.one_of(
    st.builds(Started, NAMES, NUMBERS, NUMBERS, TIMES, st.none() | NAMES),
    st.builds(Ready, NAMES, TIMES, TIMES),
    LINES,
    st.builds(Exited, NAMES, EXITS, NUMBERS, TIMES),
    st.builds(Restarting, NAMES, NUMBERS, TIMES, TIMES, st.none() | NAMES),
    st.builds(Dropped, NAMES, NUMBERS, TIMES),
    st.builds(HostUp, NAMES, TIMES),
)


def sent(message: Message) -> Message:
    """Return `message` after a way through JSON."""
    return decode(json.loads(json.dumps(encode(message))))


@given(MESSAGES)
def test_message_survives_the_round_trip(message: Message) -> None:
    """A decoded message equals the one that was encoded, in every field."""
    again = sent(message)
    assert type(again) is type(message)
    assert again == message


@given(messages_with_errors())
def test_error_survives_the_round_trip(message: Any) -> None:
    """An error has the same class, text and fields; the rest of the message is equal."""
    again: Any = sent(message)
    assert type(again) is type(message)
    assert encode(again) == encode(message)
    assert type(again.error) is type(message.error)
    assert str(again.error) == str(message.error)
    assert vars(again.error) == vars(message.error)


@given(EXITS)
def test_exit_survives_the_round_trip(end: Exit) -> None:
    """A named signal is written by its name, a real-time signal without a name by its number."""
    again = decode_exit(json.loads(json.dumps(encode_exit(end))))
    assert again == end
    assert str(again) == str(end)


@given(st.lists(st.binary(max_size=20), max_size=5).map(b"".join))
def test_batch_is_sent_as_lines(data: bytes) -> None:
    """A batch becomes one dict for each line, and no byte is lost."""
    batch = Batch("a", "stderr", data, 1.5)
    lines = [decode(each) for each in encode_each(batch)]
    assert lines == list(batch.lines())


def _words_of(message: Message) -> list[str]:
    """Return the type of a message, and its keys in the order of the format."""
    encoded = encode(message)
    return [str(encoded.pop("type")), *encoded]


ROW = re.compile(r"^\| `(\w+)` \| [^|]* \| ([^|]*) \|$", re.MULTILINE)
"""A row of the table on the page about output: a type, and its keys."""


def test_each_type_has_its_public_words() -> None:
    """The words of the format are fixed, and on the page: programs that read it depend on them."""
    error = LaunchError("a", "b")
    messages: list[Message] = [
        Started("a", 1, 1, 0.0),
        Ready("a", 0.5, 0.0),
        Line("a", "stdout", b"", b"", 0.0),
        Aborted("a", error, 1, 0.0),
        Exited("a", Exit(0, None), 1, 0.0),
        Restarting("a", 2, 0.5, 0.0),
        Failed("a", error, 1, 0.0),
        Skipped("a", DependencyError("a", "b"), 0.0),
        Dropped("a", 1, 0.0),
        HostUp("a", 0.0),
        HostLost("a", HostLostError("a", "b"), 0.0),
    ]
    assert {type(message) for message in messages} == set(get_args(Message))
    words = "started ready line aborted exited restarting failed skipped dropped host_up host_lost"
    assert [encode(message)["type"] for message in messages] == words.split()
    page = (ROOT / "docs" / "output.md").read_text().partition("\n## JSON\n")[2]
    shown = {kind: re.findall(r"`(\w+)`", keys) for kind, keys in ROW.findall(page)}
    assert shown == {words: keys for words, *keys in map(_words_of, messages)}


def test_host_is_written_only_if_it_is_another_machine() -> None:
    """What older versions have written has no host, and is read as before."""
    here = {"type": "started", "command": "a", "time": 0.0, "pid": 7, "attempt": 1}
    assert encode(Started("a", 7, 1, 0.0)) == here
    assert encode(Started("a", 7, 1, 0.0, "h1")) == {**here, "host": "h1"}
    assert decode(here) == decode(here | {"host": None}) == Started("a", 7, 1, 0.0)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"error_type": "LaunchError"},
        {"error_type": "FutureError", "error_fields": {"name": "a"}},
        {"error_type": "UnreadOutputWarning", "error_fields": {}},
        {"error_type": "Sequence", "error_fields": {}},
        {"error_type": ["LaunchError"], "error_fields": {"name": "a", "reason": "b"}},
        {"error_type": "LaunchError", "error_fields": {"name": "a"}},
        {"error_type": "LaunchError", "error_fields": ["a", "b"]},
        {"error_type": "TimeLimitError", "error_fields": {"name": "a", "seconds": 1, "kind": {}}},
        {
            "error_type": "TimeLimitError",
            "error_fields": {"name": "a", "seconds": 9**999, "kind": "runner"},
        },
        {"error_type": "NotReadyError", "error_fields": {"name": "a", "reason": "b", "tail": "c"}},
        {"error_type": "NotReadyError", "error_fields": {"name": "a", "reason": "b", "tail": [{}]}},
    ],
)
def test_unknown_error_keeps_its_text(more: dict[str, object]) -> None:
    """An error that cannot be built becomes a CurrantError with its text."""
    message = {"type": "aborted", "command": "a", "time": 0.0, "attempt": 1, "error": "so what"}
    again: Any = decode(message | more)
    assert type(again.error) is CurrantError
    assert str(again.error) == "so what"


def test_error_of_another_package_is_written_as_its_base_class() -> None:
    """The launcher of another package may raise a class of its own."""

    class NoHostError(LaunchError):
        """A class that a reader does not have."""

    again: Any = sent(Failed("a", NoHostError("a", "no host"), 1, 0.0))
    assert type(again.error) is LaunchError
    assert again.error.reason == "no host"


def test_unknown_field_is_ignored() -> None:
    """A newer version may add fields."""
    message = Ready("a", 0.5, 0.0)
    assert decode(encode(message) | {"more": 1}) == message


VALUES = st.recursive(
    st.one_of(st.none(), FLAGS, st.integers(), st.floats(), TEXTS),
    lambda values: st.one_of(st.lists(values), st.dictionaries(TEXTS, values)),
    max_leaves=3,
)


@given(MESSAGES.map(encode), st.data())
def test_decode_raises_no_other_error(encoded: dict[str, object], data: st.DataObject) -> None:
    """If any field has any other value, `decode` returns a message or raises CurrantError."""
    key = data.draw(st.sampled_from(sorted(encoded)))
    with suppress(CurrantError):
        decode(encoded | {key: data.draw(VALUES)})


LINE = encode(Line("a", "stdout", b"1", b"\n", 0.0))
EXITED = encode(Exited("a", Exit(0, None), 1, 0.0))
EXIT = encode_exit(Exit(0, None))


@pytest.mark.parametrize(
    "encoded",
    [
        {},
        {"type": "started", "command": "a", "time": 0.0},
        {"type": "unknown", "command": "a", "time": 0.0},
        {"type": "dropped", "command": "a", "time": 0.0, "lines": "3"},
        {"type": "dropped", "command": "a", "time": 0.0, "lines": True},
        {"type": "dropped", "command": "a", "time": None, "lines": 3},
        {"type": "dropped", "command": 3, "time": 0.0, "lines": 3},
        {"type": "started", "command": "a", "time": 0.0, "pid": 7, "attempt": 1, "host": 7},
        {"type": "host_up", "command": "a", "time": 0.0},
        {"type": "host_up", "host": "a"},
        {"type": "host_lost", "host": "a", "time": 0.0},
        LINE | {"stream": "stdin"},
        LINE | {"stream": []},
        LINE | {"ending": "x"},
        LINE | {"base64": "?"},
        EXITED | {"exit": 3},
        EXITED | {"exit": EXIT | {"signal": "SIGNOTHING"}},
        EXITED | {"exit": EXIT | {"code": 0.5}},
        EXITED | {"exit": EXIT | {"stopped": 1}},
    ],
)
def test_invalid_message_is_refused(encoded: dict[str, object]) -> None:
    """A dict that `encode` does not write is an error, which shows the dict."""
    with pytest.raises(CurrantError, match="is not a message of currant"):
        decode(encoded)
