"""Write values as TOML does, each in one line."""

from __future__ import annotations

import json
import re

__all__ = ["to_toml", "toml_key"]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def to_toml(value: object) -> str:
    """Return a value that `tomllib` can have read, in one line."""
    match value:
        case str():
            # The escapes of JSON are those of TOML, which does not allow a raw DEL either.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case bool():
            return str(value).lower()
        case list() | tuple():
            return f"[{', '.join(map(to_toml, value))}]"
        case dict():
            pairs = (f"{toml_key(name)} = {to_toml(each)}" for name, each in value.items())
            return f"{{ {', '.join(pairs)} }}" if value else "{}"
        case float() if value.is_integer():
            return str(int(value))
        case _:
            return str(value)


def toml_key(name: str) -> str:
    """Return a key, in quotes if need be."""
    return name if _BARE_KEY.fullmatch(name) else to_toml(name)
