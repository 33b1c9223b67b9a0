"""`HttpProbe`: the check of `http`, and the reading of responses (RFC 9112)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from currant._values.exchange import Request, Tls
from currant._values.probe import Unmet
from currant.ready._server import ask
from currant.ready._waiting import PolledProbe

if TYPE_CHECKING:
    from collections.abc import Collection

    from currant._values.probe import ProbeTarget

__all__ = ["HttpProbe"]

STATUS_LINE = re.compile(rb"HTTP/\d\.\d (\d{3})[ \r\n]")
MAX_STATUS_LINE = 1024
"""Bytes after which a response without a line ending is not HTTP."""

MAX_RESPONSE = 1024 * 1024
"""The most bytes of a response in which a pattern is searched for."""

END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
CHUNKED = re.compile(rb"^transfer-encoding:[^\n]*\bchunked\b", re.IGNORECASE | re.MULTILINE)
CHUNK_HEAD = re.compile(rb"([0-9a-fA-F]+)[^\n]*\n")


@dataclass(frozen=True, slots=True)
class HttpProbe(PolledProbe):
    """The probe that `http` returns.

    Attributes:
        url: the URL for messages, without user name and password.
        server: the host and the port.
        request: the bytes to send, which may contain secrets.
        method: the method of the request, in capitals.
        status: the expected status codes; None: any.
        pattern: the pattern to find in the body; None: any body.
        tls: how the connection is encrypted; None: not at all.
        own: whether the port must be the command's own.
    """

    url: str
    server: tuple[str, int]
    request: bytes = field(repr=False)
    method: str
    status: Collection[int] | None
    pattern: re.Pattern[str] | re.Pattern[bytes] | None
    tls: Tls | None
    own: bool

    async def check(self, subject: ProbeTarget) -> None:
        """Send the request, and look at the response."""
        request = Request(self.server, self.request, MAX_STATUS_LINE, tls=self.tls, own=self.own)
        if self.pattern is not None:
            request = request._replace(most=MAX_RESPONSE, end=b"")
        response = (await ask(subject, request)).data
        self._check_status(response)
        if self.pattern is not None:
            self._check_body(self.pattern, response)

    def _check_status(self, response: bytes) -> None:
        if b"\n" not in response and len(response) < MAX_STATUS_LINE:
            raise Unmet(f"{self.url} closed the connection without a response")
        status = STATUS_LINE.match(response)
        if status is None:
            raise Unmet(f"{self.url} sent a response that is not HTTP")
        if self.status is not None and int(status[1]) not in self.status:
            raise Unmet(f"{self.url} responded with status {status[1].decode()}")

    def _check_body(self, pattern: re.Pattern[str] | re.Pattern[bytes], response: bytes) -> None:
        body = body_of(response)
        text = body.decode(errors="replace") if isinstance(pattern.pattern, str) else body
        if pattern.search(text) is None:  # type: ignore[arg-type]
            raise Unmet(f"{self.url} responded with a body that {pattern.pattern!r} does not match")


def body_of(response: bytes) -> bytes:
    """Return the body of a response, as far as it was received."""
    end = END_OF_HEAD.search(response)
    if end is None:
        return b""
    body = response[end.end() :]
    return b"".join(_chunks(body)) if CHUNKED.search(response, 0, end.start() + 1) else body


def _chunks(body: bytes) -> list[bytes]:
    chunks: list[bytes] = []
    start = 0
    while (head := CHUNK_HEAD.match(body, start)) is not None and (size := int(head[1], 16)):
        chunks.append(body[head.end() : head.end() + size])
        start = head.end() + size + len(b"\r\n")
    return chunks
