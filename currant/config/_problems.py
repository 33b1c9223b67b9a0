"""The problems with a configuration: each with its place, and all of them in one error."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from currant._values.errors import CurrantError
from currant._values.printable import printable
from currant.config._toml import toml_key

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["ConfigError", "Key", "Place", "Problem", "dotted"]

Key: TypeAlias = "tuple[str | int, ...]"
"""The way to a value: names of tables and keys, and indexes of arrays."""


class Place(NamedTuple):
    """The file and the line of a value.

    Attributes:
        file: the path of the file.
        line: the line, from 1; None: the whole file.
        folder: the folder at which the relative paths of this file begin.
    """

    file: str
    line: int | None = None
    folder: str = ""


class Problem(NamedTuple):
    """One mistake in a configuration.

    Attributes:
        file: the path of the file.
        line: the line, from 1; None: the whole file.
        key: the dotted name of the key, such as ``commands.web.grace``; empty: the whole file.
        text: the value that was found, the values that are expected, and advice.
    """

    file: str
    line: int | None
    key: str
    text: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return printable(
            f"{place}: {self.key}: {self.text}" if self.key else f"{place}: {self.text}"
        )


class ConfigError(CurrantError, ValueError):
    """A configuration is wrong; the message has a line for each problem.

    Attributes:
        problems: all problems, in the order of the files and their lines.
    """

    __module__ = "currant.config"

    _fields = ("problems",)

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        lines = [str(problem) for problem in self.problems]
        super().__init__(
            "\n".join(lines if len(lines) == 1 else [f"{len(lines)} problems", *lines])
        )


def dotted(key: Key) -> str:
    """Return a key as TOML writes it, such as ``commands.web.ready.all[0]``."""
    text = ""
    for part in key:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{toml_key(part)}" if text else toml_key(part)
    return text
