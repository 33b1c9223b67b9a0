"""Encode launch specs, exits and errors as JSON, and decode them, for the link to an agent.

`currant._values.wire` does the same for messages, which agents do not use.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from signal import Signals
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from currant._agent.frames import FrameError, get
from currant._values.errors import CannotStopError, NotPermittedError
from currant._values.exchange import ENDS, FILE_STATES, RELATIONS, Answer, Owner, Request, Tls
from currant._values.exit import Exit
from currant._values.launch_spec import SILENT, LaunchSpec, Pty
from currant._values.usage import Usage

if TYPE_CHECKING:
    from currant._values.exchange import FileState, Until
    from currant._values.limits import Limits

__all__ = [
    "Refusal",
    "decode_answer",
    "decode_error",
    "decode_exit",
    "decode_file_state",
    "decode_finding",
    "decode_request",
    "decode_spec",
    "decode_usage",
    "encode_answer",
    "encode_error",
    "encode_exit",
    "encode_finding",
    "encode_request",
    "encode_spec",
    "encode_usage",
]


_LIMITS = ("memory", "cpu_time", "file_size", "open_files", "processes", "core")


_DEFAULTS = {each.name: getattr(LaunchSpec(()), each.name) for each in fields(LaunchSpec)}


def encode_spec(spec: LaunchSpec) -> dict[str, Any]:
    """Return a spec without open files as a dict that JSON can hold; it lacks the defaults."""
    return {
        name: _encode(value)
        for name, default in _DEFAULTS.items()
        if (value := getattr(spec, name)) != default
    }


def decode_spec(body: dict[str, Any]) -> LaunchSpec:
    """Return the spec that `encode_spec` wrote."""
    values: dict[str, Any] = {name: _decode(value) for name, value in body.items()}
    return LaunchSpec(**values)


def _encode(value: object) -> object:
    if value is SILENT:
        return {"silent": True}
    if isinstance(value, bytes):  # A stdin, which is sent later, as input.
        return {"input": True}
    if isinstance(value, Path):
        return {"path": str(value)}
    if isinstance(value, Pty):
        return {"pty": [value.rows, value.columns]}
    if hasattr(value, "cpu_time"):
        limits = cast("Limits", value)
        return {"limits": {name: getattr(limits, name) for name in _LIMITS}}
    return {"env": dict(cast("dict[str, str]", value))} if hasattr(value, "keys") else value


def _decode(value: Any) -> object:  # noqa: ANN401, PLR0911 - whatever JSON holds
    if isinstance(value, list):
        return tuple(cast("list[object]", value))
    if not isinstance(value, dict):
        return value
    ((kind, content),) = cast("dict[str, Any]", value).items()
    if kind == "silent":
        return SILENT
    if kind == "input":
        return b""
    if kind == "path":
        return Path(content)
    if kind == "pty":
        return Pty(*content)
    # `Limits` itself needs Python 3.10.
    return SimpleNamespace(**content) if kind == "limits" else content


def encode_exit(end: Exit) -> dict[str, Any]:
    """Return an exit as a dict that JSON can hold; a signal is a number of the host."""
    signal = None if end.signal is None else int(end.signal)
    return {"code": end.code, "signal": signal, "stopped": end.stopped, "forced": end.forced}


def decode_exit(body: dict[str, Any]) -> Exit:
    """Return the exit that `encode_exit` wrote.

    Raises:
        FrameError: the body is not an exit.
    """
    stopped, forced = get(body, "stopped", bool), get(body, "forced", bool)
    code = None if body.get("code") is None else get(body, "code", int)
    if body.get("signal") is None:
        return Exit(code, None, stopped, forced)
    number = get(body, "signal", int)
    try:
        return Exit(code, Signals(number), stopped, forced)
    except ValueError:  # Most real-time signals have no name.
        return Exit(code, number, stopped, forced)


def encode_usage(usage: Usage | None) -> list[float] | None:
    """Return a usage as a list that JSON can hold."""
    return None if usage is None else [usage.user, usage.system, usage.peak_memory]


def decode_usage(body: dict[str, Any]) -> Usage | None:
    """Return the usage in a body; None if there is none.

    Raises:
        FrameError: the usage is invalid.
    """
    value = body.get("usage")
    if value is None:
        return None
    try:
        user, system, memory = value
        return Usage(float(user), float(system), int(memory))
    except (TypeError, ValueError, OverflowError):
        raise FrameError(f"a usage is {value!r}") from None


def encode_finding(kind: Literal["", "wrong", "missing"], problem: str = "") -> dict[str, Any]:
    """Return the finding of a look-up as a dict that JSON can hold.

    Args:
        kind: ``""``: no problem; ``"wrong"``: an option that the host cannot fulfil; ``"missing"``:
            a file that is missing or cannot be used.
        problem: the problem, for an error message.
    """
    return {"kind": kind, "problem": problem}


def decode_finding(body: dict[str, Any]) -> tuple[str, str]:
    """Return the kind and the problem that `encode_finding` wrote.

    Raises:
        FrameError: the body is not a finding.
    """
    return get(body, "kind", str), get(body, "problem", str)


class Refusal(NamedTuple):
    """Why the host could not do what a probe asked for."""

    reason: str


def encode_request(request: Request) -> dict[str, Any]:
    """Return a request to a server as a dict that JSON can hold."""
    return request._asdict() | {"data": request.data.decode("latin-1")}


def decode_request(body: dict[str, Any]) -> Request:
    """Return the request that `encode_request` wrote.

    Raises:
        FrameError: the body is not a request.
    """
    try:
        server, tls = body["server"], body["tls"]
        wanted = get(body, "until", str)
        until: Until = next(each for each in ENDS if each == wanted)
        return Request(
            server if isinstance(server, str) else (str(server[0]), int(server[1])),
            get(body, "data", str).encode("latin-1"),
            get(body, "most", int),
            until,
            None if tls is None else Tls(*tls),
            get(body, "own", bool),
        )
    except (LookupError, StopIteration, TypeError, ValueError):
        raise FrameError("a request to a server is none") from None


def encode_answer(answer: Answer) -> dict[str, Any]:
    """Return the answer of a server as a dict that JSON can hold."""
    return {"data": answer.data.decode("latin-1"), "owner": answer.owner}


def decode_answer(body: dict[str, Any]) -> Answer | Refusal:
    """Return the answer that `encode_answer` wrote, or why there is none.

    Raises:
        FrameError: the body is neither.
    """
    if "refused" in body:
        return Refusal(get(body, "refused", str))
    owner: Any = body.get("owner")
    try:
        data = get(body, "data", str).encode("latin-1")
        return Answer(data, None if owner is None else _owner(*owner))
    except (TypeError, ValueError):
        raise FrameError("the answer of a server is none") from None


def _owner(relation: Any, pid: Any, program: Any) -> Owner:  # noqa: ANN401 - whatever JSON holds
    if relation not in RELATIONS:
        raise ValueError
    return Owner(relation, int(pid), str(program)[:100])


def decode_file_state(body: dict[str, Any]) -> FileState | Refusal:
    """Return the state of a file, or why it is unknown.

    Raises:
        FrameError: the body is neither.
    """
    if "refused" in body:
        return Refusal(get(body, "refused", str))
    state: FileState | None = body.get("state")
    if state is None or state not in FILE_STATES:
        raise FrameError(f"the state of a file is {str(state)[:100]!r}")
    return state


def encode_error(error: CannotStopError) -> dict[str, Any]:
    """Return an error as a dict that JSON can hold."""
    is_forbidden = isinstance(error, NotPermittedError)
    return {"survivor": [error.name, error.pid, error.waited], "forbidden": is_forbidden}


def decode_error(body: dict[str, Any]) -> CannotStopError:
    """Return the error that `encode_error` wrote.

    Raises:
        FrameError: the body is not an error.
    """
    try:
        name, pid, waited = body["survivor"]
        name, pid, waited = str(name)[:1000], abs(int(pid)), float(waited)
    except (TypeError, ValueError, OverflowError):
        raise FrameError("a survivor is none") from None
    if body.get("forbidden"):
        return NotPermittedError(name, pid)
    return CannotStopError(name, pid, waited)
