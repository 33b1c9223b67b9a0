"""`Answer`: what a server has answered to a probe."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Answer"]


class Answer(NamedTuple):
    """The beginning of the answer of a server.

    Attributes:
        data: what the server has sent, up to the end of a line, to the limit or to its end.
        is_its_own: whether the server belongs to the process that was asked about; None: unknown.
    """

    data: bytes
    is_its_own: bool | None
