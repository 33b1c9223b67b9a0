"""Texts from a host, made safe to show: the host may be hostile, and a terminal obeys its bytes."""

from __future__ import annotations

from currant._values.errors import CONTROLS
from currant._values.escape_sequences import ESCAPE_SEQUENCE

__all__ = ["plain"]


MAX_CHARACTERS = 4000
"""How many characters of a text are kept: the last ones, because the reason comes last."""


def plain(text: str) -> str:
    """Return a text without escape sequences and control characters, and not too long."""
    data = text[-MAX_CHARACTERS:].encode(errors="replace")
    lines = ESCAPE_SEQUENCE.sub(b"", data).decode(errors="replace").splitlines()
    return "\n".join(line.translate(CONTROLS) for line in lines)
