"""The protocol between a stack and its clients: JSON objects, one on each line, in ASCII.

Sans I/O: lines to requests, and values to lines.  ``docs/stack.md`` documents the format.

A client connects, writes one request, and reads until an object of the type ``answer`` or
``error``.  Before that, the stack may send messages in the format of `currant.sinks.JSONSink`, and
the further types ``output`` and ``difference``.  While a client is attached, it may write further
lines: typed bytes, and the size of its terminal.

Every request has the version of the protocol.  An unknown key is an error, so an older stack does
not ignore an option of a newer client.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Literal, NoReturn, TypeAlias, TypeGuard, TypeVar, cast

from currant.stack._errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from currant.stack._errors import ErrorKind

__all__ = [
    "MAX_REQUEST",
    "REQUESTS",
    "VERSION",
    "Attach",
    "Down",
    "Input",
    "LineBuffer",
    "List",
    "Logs",
    "Reload",
    "Request",
    "Resize",
    "Restart",
    "Send",
    "Signal",
    "Start",
    "Stop",
    "Wait",
    "encode",
    "error_of",
    "parse_attached",
    "parse_object",
    "parse_request",
]

T = TypeVar("T")

VERSION = 1

MAX_REQUEST = 256 * 1024
"""Bytes of a line that a client may send.  Longer input has to be sent in parts."""

MAX_NAMES = 10_000
MAX_SIZE = 0xFFFF
"""The most rows or columns of a terminal."""


@dataclass(frozen=True, slots=True)
class List:
    """List all commands."""


@dataclass(frozen=True, slots=True)
class Logs:
    """Send the output that is kept, and with `follow` later output, too.

    Attributes:
        names: the commands; empty: all.
        last: the number of last lines to begin with; None: all that are kept.
        since: the time to begin with, in seconds since the epoch; None: any.
        follow: whether to go on until the stack ends.
        events: whether to send the other messages, too.
    """

    names: tuple[str, ...] = ()
    last: int | None = None
    since: float | None = None
    follow: bool = False
    events: bool = False


@dataclass(frozen=True, slots=True)
class Start:
    """Start commands that have ended, and wait until they are ready."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop commands, dependents first, and wait until they have ended.

    Attributes:
        names: the commands; empty: all.
        now: whether to skip the rest of the grace of commands that are being stopped.
    """

    names: tuple[str, ...] = ()
    now: bool = False


@dataclass(frozen=True, slots=True)
class Restart:
    """Restart commands, and wait until they are ready; without names all that have not ended."""

    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Signal:
    """Send a signal to the process group of a command, or to its leader alone."""

    name: str
    signal: str | int
    to: Literal["group", "leader"] = "group"


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait until commands are ready, or have ended.

    Attributes:
        names: the commands; empty: all.
        until: the state to wait for.
        timeout: seconds; None: no limit.
    """

    names: tuple[str, ...] = ()
    until: Literal["ready", "ended"] = "ended"
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class Send:
    """Write bytes to the stdin of a command."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Attach:
    """Connect the client to a command: send the output, and pass on the keys that are typed.

    Attributes:
        name: the command.
        rows: the rows of the client's terminal; None: the client has no terminal.
        columns: the columns of that terminal.
    """

    name: str
    rows: int | None = None
    columns: int | None = None


@dataclass(frozen=True, slots=True)
class Reload:
    """Read the configuration again, send the difference, and with `apply` apply the difference."""

    apply: bool = True


@dataclass(frozen=True, slots=True)
class Down:
    """Stop all commands and end the stack.

    Attributes:
        now: whether to skip the rest of the grace, if the stack is stopping already.
    """

    now: bool = False


Request: TypeAlias = (
    List | Logs | Start | Stop | Restart | Signal | Wait | Send | Attach | Reload | Down
)


@dataclass(frozen=True, slots=True)
class Input:
    """Bytes that were typed at an attached terminal."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Resize:
    """The new size of an attached terminal."""

    rows: int
    columns: int


class LineBuffer:
    """Cuts received bytes into lines of a bounded length.

    Args:
        limit: the most bytes of a line without its ending.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._data = bytearray()
        self._searched = 0

    @property
    def size(self) -> int:
        """The bytes that have not been taken yet."""
        return len(self._data)

    def feed(self, data: bytes) -> None:
        """Add received bytes."""
        self._data += data

    def take(self) -> bytes | None:
        """Return the next line without its ending; None if no line is complete.

        Raises:
            RequestError: the line is too long.
        """
        end = self._data.find(b"\n", self._searched)
        size = len(self._data) if end < 0 else end
        if size > self._limit:
            raise RequestError("request", f"a line has more than {self._limit} bytes")
        if end < 0:
            self._searched = size
            return None
        line = bytes(self._data[:end])
        del self._data[: end + 1]
        self._searched = 0
        return line


def encode(given: Mapping[str, object]) -> bytes:
    """Return an object as a line."""
    return json.dumps(given).encode() + b"\n"


def error_of(kind: ErrorKind, text: str) -> dict[str, object]:
    """Return the object that ends a request that was refused."""
    return {"type": "error", "kind": kind, "error": text, "version": VERSION}


def parse_object(line: bytes) -> dict[str, object]:
    """Return the JSON object of a line.

    Raises:
        RequestError: the line is not a JSON object.
    """
    try:
        value = json.loads(line.decode())
    except (ValueError, RecursionError) as error:
        raise RequestError("request", f"a line is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise RequestError("request", "a line must be a JSON object")
    return cast("dict[str, object]", value)


def parse_request(line: bytes) -> Request:
    """Return the request of a line.

    Raises:
        RequestError: the line is no request, or is of another version of the protocol.
    """
    fields = _Fields(parse_object(line))
    version = fields.take("version", None)
    if version != VERSION or isinstance(version, bool):
        raise RequestError(
            "version", f"this stack speaks version {VERSION} of the protocol, not {_shown(version)}"
        )
    call = fields.take("request", None)
    build = REQUESTS.get(call) if isinstance(call, str) else None
    if build is None:
        raise RequestError(
            "request", f"there is no request {_shown(call)}; there are: {', '.join(REQUESTS)}"
        )
    request = build(fields)
    fields.check_no_more()
    return request


def parse_attached(line: bytes) -> Input | Resize:
    """Return the line of an attached client as a value.

    Raises:
        RequestError: the line is neither input nor a size.
    """
    fields = _Fields(parse_object(line))
    sent = (
        Input(fields.data())
        if "data" in fields
        else Resize(fields.size("rows"), fields.size("columns"))
    )
    fields.check_no_more()
    return sent


class _Fields:
    """The keys of a request that have not been taken yet."""

    def __init__(self, given: dict[str, object]) -> None:
        self._given = given

    def __contains__(self, key: str) -> bool:
        return key in self._given

    def take(self, key: str, default: object) -> object:
        return self._given.pop(key, default)

    def name(self) -> str:
        return self._checked("name", str, None)

    def names(self) -> tuple[str, ...]:
        given = self._checked("names", list, [])
        if len(given) > MAX_NAMES or not all(isinstance(each, str) for each in given):
            _refuse("names", f"a list of at most {MAX_NAMES} texts", given)
        return tuple(cast("list[str]", given))

    def flag(self, key: str, *, default: bool = False) -> bool:
        return self._checked(key, bool, default)

    def count(self, key: str) -> int | None:
        given = self.take(key, None)
        if given is None or (_is_int(given) and given >= 0):
            return given
        return _refuse(key, "an integer >= 0, or null", given)

    def seconds(self, key: str) -> float | None:
        given = self.take(key, None)
        if given is None:
            return None
        if isinstance(given, int | float) and not isinstance(given, bool):
            try:
                if isfinite(given) and given >= 0:
                    return float(given)
            except OverflowError:
                pass
        return _refuse(key, "a number >= 0, or null", given)

    def choice(self, key: str, choices: tuple[T, ...]) -> T:
        given = self.take(key, choices[0])
        for each in choices:
            if given == each:
                return each
        return _refuse(key, " or ".join(map(repr, choices)), given)

    def signal(self) -> str | int:
        given = self.take("signal", None)
        if isinstance(given, str) or _is_int(given):
            return given
        return _refuse("signal", "a name or a number", given)

    def size(self, key: str) -> int:
        given = self.take(key, None)
        if _is_int(given) and 1 <= given <= MAX_SIZE:
            return given
        return _refuse(key, f"an integer from 1 to {MAX_SIZE}", given)

    def optional_size(self, key: str) -> int | None:
        if self._given.get(key) is None:
            self._given.pop(key, None)
            return None
        return self.size(key)

    def data(self) -> bytes:
        given = self._checked("data", str, None)
        try:
            return base64.b64decode(given, validate=True)
        except (binascii.Error, ValueError):
            return _refuse("data", "bytes in base64", given)

    def check_no_more(self) -> None:
        if self._given:
            raise RequestError("request", f"a request has no key {_shown(next(iter(self._given)))}")

    def _checked(self, key: str, kind: type[T], default: T | None) -> T:
        given = self.take(key, default)
        if not isinstance(given, kind):
            _refuse(key, f"of type {kind.__name__}", given)
        return given


def _is_int(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _refuse(key: str, expected: str, given: object) -> NoReturn:
    raise RequestError("request", f"{key} must be {expected}, not {_shown(given)}")


def _shown(value: object) -> str:
    """Return a value for an error text, which must not be as long as the request."""
    text = json.dumps(value)
    return text if len(text) <= 100 else f"{text[:100]}…"


REQUESTS: Mapping[str, Callable[[_Fields], Request]] = {
    "list": lambda _: List(),
    "logs": lambda fields: Logs(
        fields.names(),
        fields.count("last"),
        fields.seconds("since"),
        fields.flag("follow"),
        fields.flag("events"),
    ),
    "start": lambda fields: Start(fields.names()),
    "stop": lambda fields: Stop(fields.names(), fields.flag("now")),
    "restart": lambda fields: Restart(fields.names()),
    "signal": lambda fields: Signal(
        fields.name(), fields.signal(), fields.choice("to", ("group", "leader"))
    ),
    "wait": lambda fields: Wait(
        fields.names(), fields.choice("until", ("ended", "ready")), fields.seconds("timeout")
    ),
    "send": lambda fields: Send(fields.name(), fields.data()),
    "attach": lambda fields: Attach(
        fields.name(), fields.optional_size("rows"), fields.optional_size("columns")
    ),
    "reload": lambda fields: Reload(fields.flag("apply", default=True)),
    "down": lambda fields: Down(fields.flag("now")),
}
"""The function that reads the keys of each request, by the name of the request."""
