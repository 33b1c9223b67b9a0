"""Where the response of a web server ends, and what its parts are."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import pytest

from currant._values.http_response import (
    MAX_STATUS_LINE,
    body_of,
    final_response,
    status_of,
    waiting_for_end,
)

if TYPE_CHECKING:
    from currant._values.exchange import Until

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: gzip, Chunked\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n"
GOES_ON = b"HTTP/1.1 100 Continue\r\n\r\n"


def is_complete(answer: bytes, until: Until) -> bool:
    """Return whether an answer is complete, wherever the packets are cut."""
    data = bytearray()
    waiting = waiting_for_end(data, until)
    for number in range(len(answer)):
        if next(waiting, "complete") == "complete":
            return False  # too soon
        data += answer[number : number + 1]
    in_pieces = next(waiting, "complete") == "complete"
    at_once = next(waiting_for_end(bytearray(answer), until), "complete") == "complete"
    assert in_pieces is at_once
    return at_once


@pytest.mark.parametrize(
    ("answer", "until"),
    [
        (b"hello\n", "line"),
        (OK, "status"),
        (HINTS + GOES_ON + OK, "status"),
        (b"SSH-2.0-x\r\n", "status"),
        (b"x" * MAX_STATUS_LINE, "status"),
        (b"SSH-2.0-x\r\n", "body"),
        (OK + b"Content-Length: 5\r\n\r\n", "head"),
        (OK + b"Content-Length: 0\r\n\r\n", "body"),
        (OK + b"content-length:5 \r\n\r\ngreen", "body"),
        (OK.replace(b"\r", b"") + b"Content-Length: 5\n\ngreen", "body"),
        (HINTS + OK + b"Content-Length: 5\r\n\r\ngreen", "body"),
        (CHUNKED + b"2;a=b\r\ngr\r\n3\r\neen\r\n0\r\n", "body"),
        (CHUNKED + b"5\r\n0\r\n\r\n\r\n0\r\n", "body"),
        (
            CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Length: 1\r\n\r\n") + b"1\r\na\r\n0\r\n",
            "body",
        ),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", "body"),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "body"),
        (b"HTTP/1.1 101 Switching Protocols\r\n", "status"),
    ],
    ids=count(),
)
def test_answer_is_complete_at_its_end_and_not_before(answer: bytes, until: Until) -> None:
    """The end is where the answer says, and the server may keep the connection."""
    assert is_complete(answer, until)


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"\r\ngreen",
        OK + b"X-Content-Length: 5\r\n\r\ngreen",
        OK + b"\r\nContent-Length: 5\r\n\r\ngreen",
        OK + b"Content-Length: five\r\n\r\ngreen",
        HINTS.replace(b"Link", b"Content-Length: 0\r\nLink") + OK + b"\r\ngreen",
    ],
    ids=count(),
)
def test_answer_without_a_length_goes_on_until_the_server_closes(answer: bytes) -> None:
    """A length counts in the head of the response alone."""
    assert not is_complete(answer, "body")


@pytest.mark.parametrize(
    ("response", "body"),
    [
        (b"HTTP/1.1 200 OK", b""),
        (b"HTTP/1.1 200 OK\n\nx", b"x"),
        (CHUNKED, b""),
        (CHUNKED + b"5\r\ngre", b"gre"),
        (CHUNKED + b"x", b""),
        (OK + b"\r\na\r\nTransfer-Encoding: chunked", b"a\r\nTransfer-Encoding: chunked"),
        (OK + b"Content-Length: 5\r\n\r\ngre", b"gre"),
        (OK + b"Content-Length: 2\r\n\r\ngreen", b"gr"),
        (b"HTTP/1.1 204 No Content\r\n\r\nx", b""),
    ],
    ids=count(),
)
def test_broken_response_has_the_body_that_has_arrived(response: bytes, body: bytes) -> None:
    """A server may end at any time."""
    assert body_of(response) == body


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (OK, 200),
        (HINTS + GOES_ON + OK, 200),
        (HINTS, None),
        (HINTS[:-2], 103),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", 101),
        (b"SSH-2.0-x\r\n", None),
    ],
    ids=count(),
)
def test_status_is_that_of_the_final_response(answer: bytes, status: int | None) -> None:
    """A server may send interim responses first (RFC 9110)."""
    assert status_of(final_response(answer)) == status
