"""Frames: what a driver and an agent send each other.

A frame is a kind (a byte), a number and the length of its body (4 bytes each, big-endian), and the
body.  The number is that of a process, which the driver counts, or 0.  The body is JSON, or raw
bytes for input and output.

The other end may be hostile.  `FrameReader` and the functions here raise `FrameError` for anything
that is no frame; then the link ends.
"""

from __future__ import annotations

import json
from enum import IntEnum
from struct import Struct
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MAX_BODY", "MAX_OUTPUT", "FrameError", "FrameReader", "Kind", "get", "header", "parse"]

T = TypeVar("T")

MAX_BODY = 16 * 1024 * 1024
"""The most bytes in a body: more than a command line and an environment can have on Linux."""

MAX_OUTPUT = 256 * 1024
"""The most bytes of output or input in a frame, so that others need not wait long for its end."""

_HEADER = Struct(">BII")


class FrameError(Exception):
    """The other end has sent something that is no frame, or means nothing here."""


class Kind(IntEnum):
    """The kinds of frames.

    From the driver to the agent: HELLO, START a process, CREDIT for output, INPUT, INPUT_END,
    SIGNAL, STOP, WAIT_GROUP, SWEEP, CHECK a command, EXCHANGE with a server and HOLD, for a driver
    that will be silent (each a question, answered by ANSWER), CANCEL a question, LEAVE the rest of
    a group, RESIZE a terminal, CLOSE a process, PING, and BYE.

    From the agent to the driver: WELCOME, STARTED or FAILED, OUT, ERR and EOF, EXIT, ANSWER, TAKEN
    input, UNREAD input that no process will read, CLOSED, PONG, DYING if a signal ends the agent,
    and GONE when no process is left.
    """

    HELLO = 1
    START = 2
    CREDIT = 3
    INPUT = 4
    INPUT_END = 5
    SIGNAL = 6
    STOP = 7
    WAIT_GROUP = 8
    SWEEP = 9
    CANCEL = 10
    LEAVE = 11
    RESIZE = 12
    CLOSE = 13
    PING = 14
    BYE = 15
    CHECK = 16
    EXCHANGE = 17
    HOLD = 18

    WELCOME = 32
    STARTED = 33
    FAILED = 34
    OUT = 35
    ERR = 36
    EOF = 37
    EXIT = 38
    ANSWER = 39
    TAKEN = 40
    UNREAD = 41
    CLOSED = 42
    PONG = 43
    DYING = 44
    GONE = 45


_KINDS = {int(kind): kind for kind in Kind}


def header(kind: Kind, number: int, length: int) -> bytes:
    """Return what comes before the body of a frame."""
    return _HEADER.pack(kind, number, length)


class FrameReader:
    """Cuts a stream of bytes into frames; `feed` takes the bytes as they come."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[Kind, int, bytes]]:
        """Yield the frames that are complete with `data`.

        Raises:
            FrameError: the kind is unknown, or the body too long.
        """
        buffer = self._buffer
        buffer += data
        start = 0
        try:
            while len(buffer) - start >= _HEADER.size:
                code, number, length = _HEADER.unpack_from(buffer, start)
                kind = _KINDS.get(code)
                if kind is None or length > MAX_BODY:
                    raise FrameError(f"no frame has the kind {code} and {length} bytes")
                end = start + _HEADER.size + length
                if len(buffer) < end:
                    return
                with memoryview(buffer) as view:
                    body = bytes(view[start + _HEADER.size : end])
                start = end
                yield kind, number, body
        finally:
            del buffer[:start]


def parse(body: bytes) -> dict[str, Any]:
    """Return the JSON object in a body.

    Raises:
        FrameError: there is none.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise FrameError(f"a body is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise FrameError("a body is no JSON object")
    return cast("dict[str, Any]", value)


def get(body: dict[str, Any], key: str, kind: type[T]) -> T:
    """Return a value of a JSON object, which must have the type `kind`.

    Raises:
        FrameError: it has another type, or is missing.
    """
    value = body.get(key)
    if type(value) is not kind:
        raise FrameError(f"{key!r} in a body is no {kind.__name__}, but {str(value)[:100]!r}")
    return value
