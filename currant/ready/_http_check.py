"""`HttpProbe`: the check of `http`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from currant._values.exchange import Request, Tls
from currant._values.http_response import MAX_STATUS_LINE, body_of, final_response, status_of
from currant._values.probe import Unmet
from currant.ready._server import ask
from currant.ready._waiting import PolledProbe

if TYPE_CHECKING:
    import re
    from collections.abc import Collection

    from currant._values.exchange import Until
    from currant._values.probe import ProbeTarget

__all__ = ["HttpProbe"]

MAX_HEAD = 64 * 1024
"""The most bytes of a response before its status, which interim responses may precede."""

MAX_RESPONSE = 1024 * 1024
"""The most bytes of a response in which a pattern is searched for."""


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
        request = Request(self.server, self.request, MAX_HEAD, "status", self.tls, self.own)
        if self.pattern is not None:
            until: Until = "head" if self.method == "HEAD" else "body"
            request = request._replace(most=MAX_RESPONSE, until=until)
        response = final_response((await ask(subject, request)).data)
        self._check_status(response)
        if self.pattern is not None:
            self._check_body(self.pattern, response)

    def _check_status(self, response: bytes) -> None:
        if b"\n" not in response and len(response) < MAX_STATUS_LINE:
            raise Unmet(f"{self.url} closed the connection without a response")
        status = status_of(response)
        if status is None:
            raise Unmet(f"{self.url} sent a response that is not HTTP")
        if self.status is not None and status not in self.status:
            raise Unmet(f"{self.url} responded with status {status}")

    def _check_body(self, pattern: re.Pattern[str] | re.Pattern[bytes], response: bytes) -> None:
        body = body_of(response)
        text = body.decode(errors="replace") if isinstance(pattern.pattern, str) else body
        if pattern.search(text) is None:  # type: ignore[arg-type]
            raise Unmet(f"{self.url} responded with a body that {pattern.pattern!r} does not match")
