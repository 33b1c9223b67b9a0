"""Messages as JSON objects, in both directions: the one codec for every format that carries them.

`encode` returns a dict that `json` can write, and `decode` returns the message again.  The words
under ``type`` and the other keys are a public format (see `currant.sinks.JSONSink`), so they are
written out here and do not follow the names of classes.

An error becomes its text.  The errors of `Failed` and `Skipped` are read back with their class and
reason; that of `Aborted` as a plain `CurrantError` with the same text, since the text alone does
not say which fields it was built from.
"""

from __future__ import annotations

import base64
from signal import Signals
from typing import TYPE_CHECKING, Any, assert_never

from currant._values.errors import CurrantError, DependencyError, LaunchError
from currant._values.exit import Exit
from currant._values.lines import Line
from currant._values.messages import (
    Aborted,
    Dropped,
    Exited,
    Failed,
    Ready,
    Restarting,
    Skipped,
    Started,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from currant._values.messages import Message

__all__ = ["decode", "encode"]


def encode(message: Message) -> dict[str, object]:  # noqa: PLR0911 - one case for each message
    """Return `message` as a dict of texts, numbers, booleans and None."""
    match message:
        case Started(pid=pid, attempt=attempt):
            return _head("started", message) | {"pid": pid, "attempt": attempt}
        case Line():
            return _head("line", message) | _encoded_line(message)
        case Exited(exit=end, attempt=attempt):
            return _head("exited", message) | {"attempt": attempt, "exit": _encoded_exit(end)}
        case Ready(after=after):
            return _head("ready", message) | {"after": after}
        case Aborted(error=error, attempt=attempt):
            return _head("aborted", message) | {"attempt": attempt, "error": str(error)}
        case Skipped(error=error):
            return _head("skipped", message) | {"error": str(error)}
        case Restarting(attempt=attempt, delay=delay):
            return _head("restarting", message) | {"attempt": attempt, "delay": delay}
        case Failed(error=error, attempt=attempt):
            return _head("failed", message) | {"attempt": attempt, "error": str(error)}
        case Dropped(lines=lines):
            return _head("dropped", message) | {"lines": lines}
        case _:
            assert_never(message)


def decode(value: Mapping[str, Any]) -> Message:  # noqa: PLR0911 - one case for each message
    """Return the message that `encode` has made `value` of.

    Raises:
        ValueError: the type is not that of a message.
        KeyError: a key is missing.
    """
    command, time = value["command"], value["time"]
    match value["type"]:
        case "started":
            return Started(command, value["pid"], value["attempt"], time)
        case "line":
            return _decoded_line(value)
        case "exited":
            return Exited(command, _decoded_exit(value["exit"]), value["attempt"], time)
        case "ready":
            return Ready(command, value["after"], time)
        case "aborted":
            return Aborted(command, CurrantError(value["error"]), value["attempt"], time)
        case "skipped":
            reason = value["error"].removeprefix(str(DependencyError(command, "")))
            return Skipped(command, DependencyError(command, reason), time)
        case "restarting":
            return Restarting(command, value["attempt"], value["delay"], time)
        case "failed":
            reason = value["error"].removeprefix(str(LaunchError(command, "")))
            return Failed(command, LaunchError(command, reason), value["attempt"], time)
        case "dropped":
            return Dropped(command, value["lines"], time)
        case unknown:
            raise ValueError(f"unknown type of message: {unknown!r}")


def _head(word: str, message: Message) -> dict[str, object]:
    return {"type": word, "command": message.command, "time": message.time}


def _encoded_line(line: Line) -> dict[str, object]:
    fields: dict[str, object] = {
        "stream": line.stream,
        "text": line.text,
        "ending": line.ending.decode(),
    }
    try:
        line.data.decode()
    except UnicodeDecodeError:
        fields["base64"] = base64.b64encode(line.data).decode()
    return fields


def _decoded_line(value: Mapping[str, Any]) -> Line:
    text = value["text"].encode()
    data = base64.b64decode(value["base64"]) if "base64" in value else text
    ending = value["ending"].encode()
    return Line(value["command"], value["stream"], data, ending, value["time"])


def _encoded_exit(end: Exit) -> dict[str, object]:
    return {
        "code": end.code,
        "signal": end.signal.name if isinstance(end.signal, Signals) else end.signal,
        "stopped": end.stopped,
        "forced": end.forced,
        "timed_out": end.timed_out,
    }


def _decoded_exit(value: Mapping[str, Any]) -> Exit:
    signal = value["signal"]
    if isinstance(signal, str):
        signal = Signals[signal]
    return Exit(value["code"], signal, value["stopped"], value["forced"], value["timed_out"])
