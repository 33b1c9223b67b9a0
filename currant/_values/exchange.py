"""`Request` and `Answer`: what a probe sends to a server, and what the server sends back."""

from __future__ import annotations

from posixpath import join
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from typing import TypeAlias

__all__ = [
    "ENDS",
    "FILE_STATES",
    "RELATIONS",
    "Answer",
    "FileState",
    "Owner",
    "Relation",
    "Request",
    "Tls",
    "Until",
]


class Tls(NamedTuple):
    """How a connection is encrypted.

    Attributes:
        ca: a file with the certificates to trust, on the host of the process; None: those that the
            host trusts.
        verify: whether the certificate of the server must be valid.
    """

    ca: str | None = None
    verify: bool = True


Until: TypeAlias = Literal["line", "status", "head", "body"]
"""Where the answer of a server ends, if the server does not close the connection before.

``"line"``: after a line; the others are for HTTP, and do not count interim responses: ``"status"``:
after the status line; ``"head"``: after the head; ``"body"``: after the body, if there is one.
"""

ENDS: tuple[Until, ...] = ("line", "status", "head", "body")


class Request(NamedTuple):
    """A request to a server, and how much of the answer to receive.

    Attributes:
        server: the host (a name or an address) and the TCP port; or the path of a Unix socket.
        data: the bytes to send; may be empty.
        most: the most bytes to receive; 0: do not wait for an answer.
        until: where the answer ends.
        tls: how the connection is encrypted; None: not at all.
        own: whether the server must belong to the command.  If it is known to belong to another
            process, nothing is sent.
    """

    server: tuple[str, int] | str
    data: bytes = b""
    most: int = 0
    until: Until = "line"
    tls: Tls | None = None
    own: bool = True

    def seen_from(self, folder: str) -> Request:
        """Return the request with paths that begin at `folder` if they are relative."""
        server, tls = self.server, self.tls
        if isinstance(server, str):
            server = join(folder, server)
        if tls is not None and tls.ca is not None:
            tls = tls._replace(ca=join(folder, tls.ca))
        return self._replace(server=server, tls=tls)


Relation: TypeAlias = Literal["own", "related", "sharing", "foreign"]
"""How the process of a server is related to the command that was asked about.

``"own"``: it belongs to the command; ``"related"``: it descends from the program that started the
command, such as an earlier attempt; ``"sharing"``: another process, beside which the command may
still open a server at the same place; ``"foreign"``: another process, which keeps the port.
"""


RELATIONS: tuple[Relation, ...] = ("own", "related", "sharing", "foreign")
"""All relations, the closest first."""


class Owner(NamedTuple):
    """A process that a server belongs to."""

    relation: Relation
    pid: int
    program: str


class Answer(NamedTuple):
    """The beginning of the answer of a server.

    Attributes:
        data: what the server has sent, up to the end of the answer or to the limit.
        owner: the process of the server; None: unknown.
    """

    data: bytes
    owner: Owner | None


FileState: TypeAlias = Literal["missing", "old", "empty", "new"]
"""Whether a file was made or changed since the start of a process; "empty" is new, but empty."""

FILE_STATES: tuple[FileState, ...] = ("missing", "old", "empty", "new")
