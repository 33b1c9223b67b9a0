"""Colours, by way of rich, which comes with the extra ``cli``; without it there are none."""

from __future__ import annotations

import os
from functools import lru_cache
from importlib import import_module
from itertools import cycle
from typing import IO, TYPE_CHECKING, Literal, TypeAlias, cast, get_args

from currant._values.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["COLORS", "Color", "Palette", "check_style", "color_system_of", "paint"]

Color: TypeAlias = Literal["auto", "always", "never"]

COLORS = ("cyan", "yellow", "green", "magenta", "blue", "bright_cyan", "bright_yellow", "red")
"""Colours for the names of those commands that were given none, in order."""


class Palette:
    """Gives each in a row of commands a colour that its neighbours do not have."""

    def __init__(self) -> None:
        self._free: Iterator[str] = cycle(COLORS)
        self._last: str | None = None

    def next(self, own: str | None, own_of_next: str | None = None) -> str:
        """Return the next command's colour: its own, or one that differs from those beside it."""
        taken = (self._last, own_of_next)
        self._last = own or next(color for color in self._free if color not in taken)
        return self._last


def color_system_of(file: object, color: Color) -> str | None:
    """Return which colours `file` is given, by rich's name for the system; None for none at all.

    Raises:
        ModuleNotFoundError: colours are asked for, and rich is not there.
        ValueError: `color` is none of the three.
    """
    if color not in get_args(Color):
        raise ValueError(f"color must be 'auto', 'always' or 'never', not {color!r}")
    if color == "never" or (color == "auto" and not _may_be_terminal(file)):
        return None
    try:
        console_class = import_module("rich.console").Console
    except ImportError:
        if color == "always":
            raise
        return None
    # Rich only asks it whether it is a terminal, and for that any file will do.
    console = console_class(
        file=cast("IO[str]", file), force_terminal=True if color == "always" else None
    )
    if color == "always":
        return console.color_system or "standard"
    return console.color_system if console.is_terminal and not console.no_color else None


def _may_be_terminal(file: object) -> bool:
    """Tell whether rich has to be asked; to import it takes 25 ms."""
    isatty = getattr(file, "isatty", None)
    is_terminal = isatty is not None and isatty()
    return is_terminal or "FORCE_COLOR" in os.environ or "TTY_COMPATIBLE" in os.environ


def check_style(style: str, name: str) -> None:
    """Raise `CommandError` where `style`, which the command `name` was given, is none of rich's."""
    from rich.errors import StyleSyntaxError
    from rich.style import Style

    try:
        Style.parse(style)
    except StyleSyntaxError as error:
        raise CommandError(
            f"the color of {name!r} is none that the package rich knows: {error}"
        ) from error


@lru_cache
def paint(style: str, color_system: str) -> tuple[bytes, bytes]:
    """Return what to write before and after a text, so that it is shown in `style`."""
    from rich.console import COLOR_SYSTEMS
    from rich.style import Style

    shown = Style.parse(style).render("|", color_system=COLOR_SYSTEMS[color_system])
    before, _, after = shown.encode().partition(b"|")
    # What a command's own text has turned on, and left so, must not show in its name.
    return before.replace(b"\x1b[", b"\x1b[0;", 1), after
