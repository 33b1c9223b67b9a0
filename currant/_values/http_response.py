"""Responses of web servers (RFC 9112): where one ends, and its parts.

An agent receives responses on its host, so this module runs there, too.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

    from currant._values.exchange import Until

__all__ = ["MAX_STATUS_LINE", "body_of", "final_response", "status_of", "waiting_for_end"]

MAX_STATUS_LINE = 1024
"""Bytes after which a response without a line ending is not HTTP."""

SWITCHING_PROTOCOLS = 101
"""The only status below 200 of a response that is not followed by another one."""

WITHOUT_BODY = (204, 304)

_STATUS_LINE = re.compile(rb"HTTP/\d\.\d (\d{3})[ \r\n]")
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_CHUNKED = re.compile(rb"^transfer-encoding:[^\n]*\bchunked\b", re.IGNORECASE | re.MULTILINE)
_LENGTH = re.compile(rb"^content-length:[ \t]*(\d{1,18})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_CHUNK_HEAD = re.compile(rb"([0-9a-fA-F]{1,16})[^\n]*\n")


def waiting_for_end(data: bytearray, until: Until) -> Generator[None]:
    """Yield as long as an answer is not complete.

    Args:
        data: what has arrived, to which the caller adds more at each `yield`.
        until: where the answer ends; see `Request`.
    """
    while until == "line" and b"\n" not in data:
        yield
    if until == "line":
        return
    start = 0
    while True:
        while data.find(b"\n", start) < 0 and len(data) - start < MAX_STATUS_LINE:
            yield
        status = _status_at(data, start)
        if status is None or (until == "status" and not _is_interim(status)):
            return
        while (head := _END_OF_HEAD.search(data, start)) is None:
            yield
        if not _is_interim(status):
            break
        start = head.end()
    if until == "body" and status not in WITHOUT_BODY:
        yield from _waiting_for_body(data, start, head.start() + 1, head.end())


def _waiting_for_body(data: bytearray, start: int, end: int, body: int) -> Generator[None]:
    """Yield as long as the body is not complete; the head is from `start` to `end`."""
    if _CHUNKED.search(data, start, end) is not None:
        place = body
        while True:
            while data.find(b"\n", place) < 0:
                yield
            chunk = _CHUNK_HEAD.match(data, place)
            if chunk is None or (size := int(chunk[1], 16)) == 0:
                return
            place = chunk.end() + size + len(b"\r\n")
    length = _LENGTH.search(data, start, end)
    while length is None or len(data) < body + int(length[1]):
        yield  # Without a length, the response ends if the server closes the connection.


def final_response(answer: bytes) -> bytes:
    """Return the answer without the interim responses at its beginning."""
    start = 0
    while (status := _status_at(answer, start)) is not None and _is_interim(status):
        head = _END_OF_HEAD.search(answer, start)
        if head is None:
            break
        start = head.end()
    return answer[start:]


def status_of(response: bytes) -> int | None:
    """Return the status of a response; None: it is not HTTP."""
    return _status_at(response, 0)


def body_of(response: bytes) -> bytes:
    """Return the body of a response, as far as it was received."""
    head = _END_OF_HEAD.search(response)
    if head is None or status_of(response) in WITHOUT_BODY:
        return b""
    body, end = response[head.end() :], head.start() + 1
    if _CHUNKED.search(response, 0, end) is not None:
        return b"".join(_chunks(body))
    length = _LENGTH.search(response, 0, end)
    return body if length is None else body[: int(length[1])]


def _chunks(body: bytes) -> list[bytes]:
    chunks: list[bytes] = []
    start = 0
    while (head := _CHUNK_HEAD.match(body, start)) is not None and (size := int(head[1], 16)):
        chunks.append(body[head.end() : head.end() + size])
        start = head.end() + size + len(b"\r\n")
    return chunks


def _status_at(answer: bytes | bytearray, start: int) -> int | None:
    line = _STATUS_LINE.match(answer, start)
    return None if line is None else int(line[1])


def _is_interim(status: int) -> bool:
    return status < 200 and status != SWITCHING_PROTOCOLS
