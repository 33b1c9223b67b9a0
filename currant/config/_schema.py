"""The JSON Schema of a configuration, for editors."""

from __future__ import annotations

from pathlib import Path

__all__ = ["FILE", "read_schema"]

FILE = Path(__file__).with_name("schema.json")


def read_schema() -> str:
    """Return the JSON Schema of a configuration, as a text.

    It is for ``currant.toml``, and for the table ``tool.currant`` of a ``pyproject.toml``.
    """
    return FILE.read_text("utf-8")
