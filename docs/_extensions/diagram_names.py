"""The names of the pictures of diagrams, for the site and for the program that draws them."""

from __future__ import annotations

from hashlib import sha256


def picture_name(page: str, block: str) -> str:
    """Return the file name of the picture of a block of Mermaid."""
    return f"{page}-{sha256(block.strip().encode()).hexdigest()[:10]}.svg"
