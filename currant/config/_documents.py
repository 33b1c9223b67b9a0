"""Read the files of a configuration, and merge them.  The meaning of a key does not matter here."""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from currant.config._lines import lines_of
from currant.config._problems import ConfigError, Key, Place, Problem, dotted
from currant.config._procfile import read_procfile
from currant.config._toml import is_table
from currant.config._variables import escape

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PYPROJECT", "Document", "is_toml", "merged", "read_document", "read_toml"]

PYPROJECT = "pyproject.toml"

MAX_SIZE = 1 << 20
"""The most bytes of a file.  A larger file is a mistake, and takes `tomllib` many seconds."""

_POSITION = re.compile(r" \(at (?:line (?P<line>\d+), column \d+|end of document)\)$")


@dataclass(frozen=True, slots=True)
class Document:
    """The values in a file, or in several files that were merged, and their places.

    Attributes:
        data: the values, as `tomllib` reads them; each command is a table.
        places: the place of each key; ``()`` is the file itself.
    """

    data: Mapping[str, Any]
    places: Mapping[Key, Place] = field(default_factory=dict[Key, Place])

    def place_of(self, key: Key) -> Place:
        """Return the place of a key; if no file has the key, the place of the table around it."""
        while key not in self.places:
            key = key[:-1]
        return self.places[key]

    def problem(self, key: Key, text: str) -> Problem:
        """Return a problem at the place of a key."""
        place = self.place_of(key)
        return Problem(place.file, place.line, dotted(key), text)


def is_toml(path: str) -> bool:
    """Return whether the name of a file is that of a file in TOML; all others are Procfiles."""
    return path.endswith(".toml")


def read_document(path: str) -> Document:
    """Read a file in TOML, or a Procfile.

    Raises:
        ConfigError: the file cannot be read, is not valid TOML, or is a ``pyproject.toml`` without
            a table ``tool.currant``.
        CommandError: a Procfile cannot be read.
    """
    folder = os.path.dirname(path)
    if not is_toml(path):
        lines = read_procfile(path)
        commands = {name: {"command": escape(line)} for name, line in lines.items()}
        return Document({"commands": commands}, {(): Place(path, None, folder)})
    data, text = read_toml(path)
    lines_by_key = lines_of(text)
    if os.path.basename(path) == PYPROJECT:
        table = own_table(data)
        if table is None:
            raise ConfigError([Problem(path, None, "", "has no table [tool.currant]")])
        data = table
        lines_by_key = {
            key[2:]: line for key, line in lines_by_key.items() if key[:2] == ("tool", "currant")
        }
    places = {key: Place(path, line, folder) for key, line in lines_by_key.items()}
    return _with_tables(Document(data, {(): Place(path, None, folder), **places}))


def read_toml(path: str) -> tuple[dict[str, Any], str]:
    """Read a file in TOML, and return the values and the text.

    Raises:
        ConfigError: the file cannot be read, or is not valid TOML.
    """
    text = _read_text(path)
    try:
        return tomllib.loads(text), text
    except RecursionError:
        raise ConfigError([Problem(path, None, "", "its values are nested too deeply")]) from None
    except ValueError as error:  # also for a number with thousands of digits
        position = _POSITION.search(str(error))
        line = text.count("\n") + 1 if position else None
        if position and position["line"]:
            line = int(position["line"])
        reason = _POSITION.sub("", str(error))
        raise ConfigError([Problem(path, line, "", f"is not valid TOML: {reason}")]) from error


def own_table(data: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the table ``tool.currant`` of a ``pyproject.toml``; None if there is none."""
    tool = data.get("tool")
    table = tool.get("currant") if is_table(tool) else None
    return table if is_table(table) else None


def _read_text(path: str) -> str:
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_SIZE + 1)
    except OSError as error:
        text = f"cannot be read: {error.strerror}"
        raise ConfigError([Problem(path, None, "", text)]) from error
    if len(data) > MAX_SIZE:
        text = f"is larger than {MAX_SIZE >> 20} MiB, so it is no configuration"
        raise ConfigError([Problem(path, None, "", text)])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        text = f"is not valid UTF-8: byte 0x{data[error.start]:02x}"
        raise ConfigError([Problem(path, line, "", text)]) from error


def _with_tables(document: Document) -> Document:
    """Return a document in which each command that is a shell line is a table."""
    commands = document.data.get("commands")
    if not is_table(commands):
        return document
    lines = {name: value for name, value in commands.items() if isinstance(value, str)}
    tables = {name: {"command": line} for name, line in lines.items()}
    places: dict[Key, Place] = {
        ("commands", name, "command"): document.place_of(("commands", name)) for name in lines
    }
    return Document(
        {**document.data, "commands": {**commands, **tables}}, {**document.places, **places}
    )


def merged(below: Document, above: Document) -> Document:
    """Merge two documents; a value of `above` replaces the value of `below`.

    The commands are merged key by key, and so are the settings of a command, and tables ``env``.
    """
    data = _merge((), below.data, above.data)
    return Document(data, {**below.places, **above.places, (): below.places[()]})


def _merge(key: Key, below: Any, above: Any) -> Any:  # noqa: ANN401 - what a file has
    if not (_is_merged(key) and is_table(below) and is_table(above)):
        return above
    both = {name: _merge((*key, name), below[name], above[name]) for name in above if name in below}
    return {**below, **above, **both}


def _is_merged(key: Key) -> bool:
    match key:
        case () | ("env",) | ("commands",) | ("commands", _) | ("commands", _, "env"):
            return True
        case _:
            return False
