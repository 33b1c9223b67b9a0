"""Messages as JSON: every message comes back from its JSON text as it was."""

from __future__ import annotations

import json
from signal import SIGSEGV, SIGTERM
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from currant import (
    Aborted,
    CurrantError,
    DependencyError,
    Dropped,
    Exit,
    Exited,
    Failed,
    LaunchError,
    Line,
    NotReadyError,
    Ready,
    Restarting,
    Skipped,
    Started,
)
from currant._values.wire import decode, encode

if TYPE_CHECKING:
    from currant import Message

EXITS = [
    Exit(0, None),
    Exit(3, None, stopped=True),
    Exit(None, SIGSEGV),
    Exit(None, SIGTERM, stopped=True, forced=True, timed_out=True),
    Exit(None, 40),  # A real-time signal without a name.
]

MESSAGES = [
    Started("web", 4711, 2, 1.5),
    Ready("web", 0.25, 1.5),
    Restarting("web", 3, 0.1, 1.5),
    Dropped("web", 12, 1.5),
    *(Exited("web", end, 1, 1.5) for end in EXITS),
]


def through_json(message: Message) -> Message:
    """Return what is read back from the JSON text of `message`."""
    return decode(json.loads(json.dumps(encode(message))))


@pytest.mark.parametrize("message", MESSAGES, ids=repr)
def test_message_comes_back_from_its_json(message: Message) -> None:
    """Each message without an error is equal to the message that is read back."""
    assert through_json(message) == message


@given(
    st.text(min_size=1).filter(str.isprintable),
    st.sampled_from(["stdout", "stderr"]),
    st.binary(max_size=30).filter(lambda data: b"\n" not in data and b"\r" not in data),
    st.sampled_from([b"\n", b"\r\n", b"\r", b""]),
)
def test_line_comes_back_with_every_byte(command, stream, data, ending) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Bytes that are not UTF-8 survive, too."""
    line = Line(command, stream, data, ending, 2.0)
    assert through_json(line) == line


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (Failed("web", LaunchError("web", "no such file"), 1, 1.5), LaunchError),
        (Skipped("web", DependencyError("web", "'db' did not start"), 1.5), DependencyError),
        (Aborted("web", NotReadyError("web", "too slow"), 1, 1.5), CurrantError),
    ],
    ids=["failed", "skipped", "aborted"],
)
def test_error_comes_back_with_its_text(
    message: Failed | Skipped | Aborted, kind: type[CurrantError]
) -> None:
    """The class and reason come back where the text tells them, and the text always."""
    back = through_json(message)
    assert isinstance(back, type(message))
    assert type(back.error) is kind
    assert str(back.error) == str(message.error)
    assert getattr(back.error, "reason", None) in (None, getattr(message.error, "reason", None))


@pytest.mark.parametrize("word", ["", "Started", "batch"])
def test_unknown_type_is_refused(word: str) -> None:
    """Only the types that `encode` writes are read."""
    with pytest.raises(ValueError, match="unknown type of message"):
        decode({"type": word, "command": "web", "time": 1.0})
