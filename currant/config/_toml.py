"""The values of TOML: tell tables from arrays, and write a value in one line."""

from __future__ import annotations

import json
import re
from typing import Any, TypeGuard

__all__ = ["is_array", "is_table", "to_toml", "toml_key"]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def is_table(value: object) -> TypeGuard[dict[str, Any]]:
    """Return whether a value is a table."""
    return isinstance(value, dict)


def is_array(value: object) -> TypeGuard[list[Any]]:
    """Return whether a value is an array."""
    return isinstance(value, list)


def to_toml(value: object) -> str:
    """Return a value, as `tomllib` reads it, in one line of TOML."""
    if is_array(value):
        return f"[{', '.join(map(to_toml, value))}]"
    if is_table(value):
        pairs = [f"{toml_key(name)} = {to_toml(each)}" for name, each in value.items()]
        return f"{{ {', '.join(pairs)} }}" if pairs else "{}"
    if isinstance(value, str):
        # The escapes of JSON are those of TOML, which does not allow a raw DEL either.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def toml_key(name: str) -> str:
    """Return a key, in quotes if need be."""
    return name if _BARE_KEY.fullmatch(name) else to_toml(name)
