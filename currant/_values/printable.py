"""Text that is safe on a terminal."""

from __future__ import annotations

__all__ = ["printable"]


def printable(name: str) -> str:
    """Return a name without newlines and escapes, which a terminal would obey."""
    return name if name.isprintable() else name.encode("unicode_escape").decode()
