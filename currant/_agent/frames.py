"""Frames: the format in which a driver and an agent talk to each other.

A frame is a kind (a byte), a number and the length of the body (4 bytes each, big-endian), and the
body.  The number stands for a process; the driver counts processes from 1.  Other frames have the
number 0.  The body is a JSON object, or raw bytes for input and output.

The other end may be hostile.  `FrameReader` and the functions here raise `FrameError` for bytes
that are not a valid frame; then the link ends.
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
"""The most bytes of output or input in a frame, so that other frames do not wait long."""

_HEADER = Struct(">BII")


class FrameError(Exception):
    """The other end has sent an invalid frame, or one that breaks the protocol."""


class Kind(IntEnum):
    """The kinds of frames.

    From the driver to the agent:

    - HELLO, PING and BYE.
    - START a process, give CREDIT for its output (0 closes the stream), INPUT and INPUT_END, RESIZE
      its terminal, LEAVE the rest of its group, and CLOSE the process.
    - Questions, each answered by ANSWER: SIGNAL, STOP, WAIT_GROUP, SWEEP, CHECK a command, EXCHANGE
      with a server, EXAMINE a file, and HOLD before the driver is suspended; and CANCEL a question.

    From the agent to the driver:

    - WELCOME, PONG, DYING if a signal ends the agent, and GONE when no process is left.
    - STARTED or FAILED, the output OUT and ERR with EOF at its end, the EXIT of a process, and
      CLOSED.
    - Input that was written (TAKEN), and input that no process will read (UNREAD).
    - ANSWER to a question.
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
    EXAMINE = 19

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
    """Return the bytes of a frame before its body."""
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
        FrameError: the body has none.
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
        FrameError: the value has another type, or is missing.
    """
    value = body.get(key)
    if type(value) is not kind:
        raise FrameError(f"{key!r} in a body is no {kind.__name__}, but {str(value)[:100]!r}")
    return value
