"""Messages as dicts that JSON can hold, in both directions.

`encode` writes the format that `currant.sinks.JSONSink` documents; `decode` reads it.  The format
is public, so each word in it is written out here and does not follow the name of a class.

An error is written as its text.  `decode` knows the texts of currant's errors and builds the same
class with the same fields; an error with any other text becomes a `CurrantError` with that text.
The cause of an error and its notes are not written.
"""

from __future__ import annotations

import base64
import re
from ast import literal_eval
from contextlib import suppress
from itertools import takewhile
from signal import Signals
from typing import TYPE_CHECKING, TypeVar, assert_never, cast

from currant._values.errors import (
    TIME_LIMIT_TEXTS,
    CannotStopError,
    CurrantError,
    DependencyError,
    ExitStatusLostError,
    LaunchError,
    NotPermittedError,
    NotReadyError,
    OutputLimitError,
    SpillError,
    TimeLimitError,
    UnresponsiveError,
)
from currant._values.exit import Exit
from currant._values.lines import Batch, Line
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
    from collections.abc import Iterator, Mapping

    from currant._values.lines import StreamName
    from currant._values.messages import BatchMessage, Message

__all__ = ["decode", "decode_exit", "encode", "encode_each", "encode_exit"]

T = TypeVar("T")

ENDINGS = ("\n", "\r\n", "\r", "")

NOT_READY = " is not ready: "
SKIPPED = " was skipped: "
TAIL_LINE = re.compile(r"    (stdout|stderr): (.*)", re.DOTALL)
"""A line of output in the text of an error, as `with_lines` writes it."""

SECONDS = r"(\d+(?:\.\d+)?(?:e[+-]\d+)?) s"

TIME_LIMITS = {
    kind: re.compile(" " + text.format(limit=SECONDS)) for kind, text in TIME_LIMIT_TEXTS.items()
}

STRING = r"""('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
"""The `repr` of a str."""

SPILL = re.compile(rf" has failed: its output cannot be written to {STRING}: (.*)", re.DOTALL)

OUTPUT_LIMIT = re.compile(r" wrote more than (\d{1,18}) bytes, .*")

CANNOT_STOP = re.compile(
    rf" \(process group (\d{{1,18}})\) still exists {SECONDS} after SIGKILL; .*"
)

NOT_PERMITTED = re.compile(r" \(process group (\d{1,18})\) cannot be stopped: .*")

UNRESPONSIVE = re.compile(r" failed its `alive` probe (\d{1,18}) times in a row: (.*)", re.DOTALL)


def encode(message: Message) -> dict[str, object]:  # noqa: PLR0911 - a row for each message
    """Return `message` as a dict that JSON can hold."""
    match message:
        case Started():
            return _head("started", message) | {"pid": message.pid, "attempt": message.attempt}
        case Line():
            return _head("line", message) | {"stream": message.stream} | _encode_data(message)
        case Exited():
            end = encode_exit(message.exit)
            return _head("exited", message) | {"attempt": message.attempt, "exit": end}
        case Ready():
            return _head("ready", message) | {"after": message.after}
        case Aborted():
            error = str(message.error)
            return _head("aborted", message) | {"attempt": message.attempt, "error": error}
        case Skipped():
            return _head("skipped", message) | {"error": str(message.error)}
        case Restarting():
            fields = {"attempt": message.attempt, "delay": message.delay}
            return _head("restarting", message) | fields
        case Failed():
            error = str(message.error)
            return _head("failed", message) | {"attempt": message.attempt, "error": error}
        case Dropped():
            return _head("dropped", message) | {"lines": message.lines}
        case _:
            assert_never(message)


def encode_each(message: BatchMessage) -> Iterator[dict[str, object]]:
    """Yield the dict of `message`, or a dict for each line of a batch."""
    return map(encode, message.lines()) if isinstance(message, Batch) else iter([encode(message)])


def decode(encoded: Mapping[str, object]) -> Message:
    """Return the message that `encode` wrote; keys that the format does not have are ignored.

    Raises:
        CurrantError: a field is missing or invalid, or the type is unknown.
    """
    try:
        return _decode(encoded)
    except (KeyError, TypeError, ValueError) as error:
        reason = f"missing or unknown {error}" if isinstance(error, KeyError) else str(error)
        raise CurrantError(f"{dict(encoded)!r} is not a message of currant: {reason}") from error


def encode_exit(end: Exit) -> dict[str, object]:
    """Return `end` as a dict that JSON can hold."""
    signal = end.signal.name if isinstance(end.signal, Signals) else end.signal
    flags = {"stopped": end.stopped, "forced": end.forced, "timed_out": end.timed_out}
    return {"code": end.code, "signal": signal, **flags}


def decode_exit(encoded: Mapping[str, object]) -> Exit:
    """Return the exit that `encode_exit` wrote.

    Raises:
        KeyError: a field is missing, or this system does not have the signal.
        TypeError: a field has the wrong type.
    """
    signal = encoded["signal"]
    if isinstance(signal, str):
        signal = Signals[signal]
    return Exit(
        code=None if encoded["code"] is None else _get(encoded, "code", int),
        signal=None if signal is None else _checked("signal", signal, int),
        stopped=_get(encoded, "stopped", bool),
        forced=_get(encoded, "forced", bool),
        timed_out=_get(encoded, "timed_out", bool),
    )


def _head(kind: str, message: Message) -> dict[str, object]:
    return {"type": kind, "command": message.command, "time": message.time}


def _encode_data(line: Line) -> dict[str, object]:
    encoded: dict[str, object] = {"text": line.text, "ending": line.ending.decode()}
    try:
        line.data.decode()
    except UnicodeDecodeError:
        encoded["base64"] = base64.b64encode(line.data).decode()
    return encoded


def _decode(encoded: Mapping[str, object]) -> Message:  # noqa: PLR0911 - a row for each type
    command, time = _get(encoded, "command", str), _seconds(encoded, "time")
    match encoded["type"]:
        case "started":
            return Started(command, _get(encoded, "pid", int), _attempt(encoded), time)
        case "line":
            return _decode_line(encoded, command, time)
        case "exited":
            end = decode_exit(cast("Mapping[str, object]", _get(encoded, "exit", dict)))
            return Exited(command, end, _attempt(encoded), time)
        case "ready":
            return Ready(command, _seconds(encoded, "after"), time)
        case "aborted":
            return Aborted(command, _error(encoded, command, time), _attempt(encoded), time)
        case "skipped":
            error = cast("DependencyError", _error(encoded, command, time))
            return Skipped(command, error, time)
        case "restarting":
            return Restarting(command, _attempt(encoded), _seconds(encoded, "delay"), time)
        case "failed":
            failure = cast("LaunchError", _error(encoded, command, time))
            return Failed(command, failure, _attempt(encoded), time)
        case "dropped":
            return Dropped(command, _get(encoded, "lines", int), time)
        case unknown:
            raise ValueError(f"unknown type {unknown!r}")


def _decode_line(encoded: Mapping[str, object], command: str, time: float) -> Line:
    streams: dict[object, StreamName] = {"stdout": "stdout", "stderr": "stderr"}
    stream, ending = encoded["stream"], encoded["ending"]
    if stream not in streams or ending not in ENDINGS:
        raise ValueError(f"unknown stream or ending: {stream!r}, {ending!r}")
    if "base64" in encoded:
        data = base64.b64decode(_get(encoded, "base64", str), validate=True)
    else:
        data = _get(encoded, "text", str).encode()
    return Line(command, streams[stream], data, ending.encode(), time)


def _error(encoded: Mapping[str, object], command: str, time: float) -> CurrantError:
    """Return the error of `command` that has the text in `encoded`."""
    text = _get(encoded, "error", str)
    error = _error_of(command, text, time)
    # The text says what happened, so an error with a different text would be wrong.
    return error if error is not None and str(error) == text else CurrantError(text)


def _error_of(command: str, text: str, time: float) -> CurrantError | None:
    """Return the error whose text looks like `text`; None if no text of currant does."""
    name = repr(command)
    launch = f"cannot start {name}: "
    if text.startswith(launch):
        return LaunchError(command, text.removeprefix(launch))
    if text == str(lost := ExitStatusLostError(command)):
        return lost
    if not text.startswith(name):
        return None
    rest = text.removeprefix(name)
    error: CurrantError | None = None
    if rest.startswith(SKIPPED):
        error = DependencyError(command, rest.removeprefix(SKIPPED))
    elif rest.startswith(NOT_READY):
        error = NotReadyError(command, *_split_tail(rest.removeprefix(NOT_READY), command, time))
    elif found := UNRESPONSIVE.fullmatch(rest):
        error = UnresponsiveError(command, int(found[1]), found[2])
    elif found := CANNOT_STOP.fullmatch(rest):
        error = CannotStopError(command, int(found[1]), float(found[2]))
    elif found := NOT_PERMITTED.fullmatch(rest):
        error = NotPermittedError(command, int(found[1]))
    else:
        error = _output_error_of(command, rest)
    return error


def _output_error_of(command: str, text: str) -> CurrantError | None:
    """Return the error of a limit or a file whose text, without the name, looks like `text`."""
    if found := SPILL.fullmatch(text):
        with suppress(SyntaxError, ValueError):  # of an escape that no `repr` writes
            return SpillError(command, literal_eval(found[1]), found[2])
    for kind, pattern in TIME_LIMITS.items():
        if found := pattern.fullmatch(text):
            return TimeLimitError(command, float(found[1]), kind)
    if found := OUTPUT_LIMIT.fullmatch(text):
        return OutputLimitError(command, int(found[1]))
    return None


def _split_tail(text: str, command: str, time: float) -> tuple[str, list[Line]]:
    """Split the text of a `NotReadyError` into the reason and the last lines of the output.

    The text has neither the ending nor the time of a line: the ending becomes a newline, and the
    time that of the message.
    """
    rows = text.split("\n")
    matches = takewhile(bool, map(TAIL_LINE.fullmatch, reversed(rows[1:])))
    tail = [
        Line(command, cast("StreamName", match[1]), match[2].encode(errors="replace"), b"\n", time)
        for match in matches
        if match is not None
    ]
    return "\n".join(rows[: len(rows) - len(tail)]), tail[::-1]


def _attempt(encoded: Mapping[str, object]) -> int:
    return _get(encoded, "attempt", int)


def _seconds(encoded: Mapping[str, object], key: str) -> float:
    value = encoded[key]
    return value if isinstance(value, float) else _get(encoded, key, int)


def _get(encoded: Mapping[str, object], key: str, kind: type[T]) -> T:
    return _checked(key, encoded[key], kind)


def _checked(key: str, value: object, kind: type[T]) -> T:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise TypeError(f"{key} must be of type {kind.__name__}, not {value!r}")
    return value
