"""Messages as dicts that JSON can hold, in both directions.

`encode` writes the format that `currant.sinks.JSONSink` documents; `decode` reads it.  The format
is public, so each word in it is written out here and does not follow the name of a class.

An error is written as its text, the name of its class and the fields of the class, from which
`decode` builds the same error.  If it cannot, because another version of currant has written the
error for example, the error becomes a `CurrantError` with the text.  A class outside currant is
written as its nearest base class here.  The cause of an error and its notes are not written.
"""

from __future__ import annotations

import base64
from signal import Signals
from typing import TYPE_CHECKING, TypeVar, assert_never, cast

from currant._values import errors
from currant._values.errors import CurrantError
from currant._values.exit import Exit
from currant._values.lines import Batch, Line
from currant._values.messages import (
    Aborted,
    Dropped,
    Exited,
    Failed,
    HostLost,
    HostUp,
    Ready,
    Restarting,
    Skipped,
    Started,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from currant._values.errors import DependencyError, HostLostError, LaunchError
    from currant._values.lines import StreamName
    from currant._values.messages import BatchMessage, Message

__all__ = ["decode", "decode_exit", "encode", "encode_each", "encode_error", "encode_exit"]

T = TypeVar("T")

ENDINGS = ("\n", "\r\n", "\r", "")


def encode(  # noqa: C901, PLR0911 - a row for each message
    message: Message,
) -> dict[str, object]:
    """Return `message` as a dict that JSON can hold."""
    match message:
        case Started():
            process = {"pid": message.pid, "attempt": message.attempt}
            host = {} if message.host is None else {"host": message.host}
            return _head("started", message) | process | host
        case Line():
            return _head("line", message) | {"stream": message.stream} | _encode_data(message)
        case Exited():
            end = encode_exit(message.exit)
            return _head("exited", message) | {"attempt": message.attempt, "exit": end}
        case Ready():
            return _head("ready", message) | {"after": message.after}
        case Aborted():
            attempt = {"attempt": message.attempt}
            return _head("aborted", message) | attempt | encode_error(message.error)
        case Skipped():
            return _head("skipped", message) | encode_error(message.error)
        case Restarting():
            fields = {"attempt": message.attempt, "delay": message.delay}
            reason = {} if message.reason is None else {"reason": message.reason}
            return _head("restarting", message) | fields | reason
        case Failed():
            attempt = {"attempt": message.attempt}
            return _head("failed", message) | attempt | encode_error(message.error)
        case Dropped():
            return _head("dropped", message) | {"lines": message.lines}
        case HostUp():
            return _head("host_up", message)
        case HostLost():
            return _head("host_lost", message) | encode_error(message.error)
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


def encode_error(error: CurrantError) -> dict[str, object]:
    """Return the keys ``error``, ``error_type`` and ``error_fields`` of `error`."""
    kind = next(each for each in type(error).__mro__ if _class_named(each.__name__) is each)
    fields = {name: _encode_field(getattr(error, name)) for name in _fields_of(kind)}
    return {"error": str(error), "error_type": kind.__name__, "error_fields": fields}


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
    subject = "host" if isinstance(message, HostUp | HostLost) else "command"
    return {"type": kind, subject: getattr(message, subject), "time": message.time}


def _encode_data(line: Line) -> dict[str, object]:
    encoded: dict[str, object] = {"text": line.text, "ending": line.ending.decode()}
    try:
        line.data.decode()
    except UnicodeDecodeError:
        encoded["base64"] = base64.b64encode(line.data).decode()
    return encoded


def _decode(encoded: Mapping[str, object]) -> Message:
    kind, time = encoded["type"], _seconds(encoded, "time")
    match kind:
        case "host_up":
            return HostUp(_get(encoded, "host", str), time)
        case "host_lost":
            lost = cast("HostLostError", _decode_error(encoded))
            return HostLost(_get(encoded, "host", str), lost, time)
        case _:
            return _decode_about_command(encoded, kind, _get(encoded, "command", str), time)


def _decode_about_command(  # noqa: PLR0911 - a row for each type
    encoded: Mapping[str, object], kind: object, command: str, time: float
) -> Message:
    match kind:
        case "started":
            host = None if encoded.get("host") is None else _get(encoded, "host", str)
            return Started(command, _get(encoded, "pid", int), _attempt(encoded), time, host)
        case "line":
            return _decode_line(encoded, command, time)
        case "exited":
            end = decode_exit(cast("Mapping[str, object]", _get(encoded, "exit", dict)))
            return Exited(command, end, _attempt(encoded), time)
        case "ready":
            return Ready(command, _seconds(encoded, "after"), time)
        case "aborted":
            return Aborted(command, _decode_error(encoded), _attempt(encoded), time)
        case "skipped":
            error = cast("DependencyError", _decode_error(encoded))
            return Skipped(command, error, time)
        case "restarting":
            reason = None if encoded.get("reason") is None else _get(encoded, "reason", str)
            delay = _seconds(encoded, "delay")
            return Restarting(command, _attempt(encoded), delay, time, reason)
        case "failed":
            failure = cast("LaunchError", _decode_error(encoded))
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


def _decode_error(encoded: Mapping[str, object]) -> CurrantError:
    text = _get(encoded, "error", str)
    kind = _class_named(encoded.get("error_type"))
    if kind is None:
        return CurrantError(text)
    try:
        given = cast("Mapping[str, object]", _get(encoded, "error_fields", dict))
        fields = [_decode_field(given[name]) for name in _fields_of(kind)]
        return cast("Callable[..., CurrantError]", kind)(*(fields or [text]))
    except (ArithmeticError, AttributeError, CurrantError, KeyError, TypeError, ValueError):
        return CurrantError(text)


def _fields_of(kind: type) -> tuple[str, ...]:
    """Return the names of the constructor's arguments, which an error keeps."""
    return cast("tuple[str, ...]", getattr(kind, "_fields", ()))


def _class_named(name: object) -> type[CurrantError] | None:
    kind = vars(errors).get(name) if isinstance(name, str) else None
    return kind if isinstance(kind, type) and issubclass(kind, CurrantError) else None


def _encode_field(value: object) -> object:
    match value:
        case Line():
            return encode(value)
        case Exit():
            return encode_exit(value)
        case bytes():
            return {"base64": base64.b64encode(value).decode()}
        case tuple():
            return [_encode_field(each) for each in cast("tuple[object, ...]", value)]
        case _:
            return value


def _decode_field(value: object) -> object:
    match value:
        case {"type": "line"}:
            return _decode(cast("Mapping[str, object]", value))
        case {"base64": str(data)}:
            return base64.b64decode(data)
        case dict():
            return decode_exit(cast("Mapping[str, object]", value))
        case list():
            return tuple(_decode_field(each) for each in cast("list[object]", value))
        case _:
            return value


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
