"""Colours, which need the package rich (the extra ``cli``)."""

from __future__ import annotations

import os
from functools import lru_cache
from importlib import import_module
from itertools import cycle
from typing import IO, TYPE_CHECKING, Literal, TypeAlias, cast, get_args

from currant._values.checks import check_choice
from currant._values.errors import CommandError, MissingExtraError
from currant.sinks._live import is_dumb, is_live

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "COLORS",
    "Color",
    "Palette",
    "check_style",
    "color_system_of",
    "colors_wanted",
    "paint",
]

Color: TypeAlias = Literal["auto", "always", "never"]
"""When to use colours; ``"auto"``: if the file is a terminal."""

COLORS = ("cyan", "yellow", "green", "magenta", "blue", "bright_cyan", "bright_yellow", "red")
"""Colours for the names of commands without a color of their own, in order."""


class Palette:
    """Gives each command a colour that differs from the neighbours' colours."""

    def __init__(self) -> None:
        self._free: Iterator[str] = cycle(COLORS)
        self._last: str | None = None

    def next(self, own: str | None, own_of_next: str | None = None) -> str:
        """Return the next command's own colour, or a colour that differs from its neighbours'."""
        taken = (self._last, own_of_next)
        self._last = own or next(color for color in self._free if color not in taken)
        return self._last


def color_system_of(file: object, color: Color) -> str | None:
    """Return the colours to use for `file`, by rich's name; None: no colours.

    Raises:
        MissingExtraError: `color` is ``"always"``, and rich is not installed.
        ValueError: `color` is not a `Color`.
    """
    check_choice("color", color, get_args(Color))
    wanted = {"always": True, "never": False, "auto": colors_wanted(os.environ)}[color]
    if wanted is False or (wanted is None and not _may_be_terminal(file)):
        return None
    try:
        console_class = import_module("rich.console").Console
    except ModuleNotFoundError:
        if color == "always":
            raise MissingExtraError("colours", "rich", "cli") from None
        return None
    # Rich only checks whether the file is a terminal, so any file will do.
    is_terminal = wanted
    if wanted is None and os.environ.get("FORCE_COLOR") == "":
        is_terminal = True  # rich takes the empty variable for a file that is no terminal.
    console = console_class(file=cast("IO[str]", file), force_terminal=is_terminal)
    if wanted:
        return console.color_system or "standard"
    return console.color_system if console.is_terminal else None


def colors_wanted(environ: Mapping[str, str]) -> bool | None:
    """Return whether the variables of a user turn colours on or off; None: neither.

    ``NO_COLOR`` (https://no-color.org) has the last word, as in Python's own output.  Then come
    ``FORCE_COLOR`` (https://force-color.org; ``0`` and ``false`` turn colours off, as in Node),
    ``CLICOLOR_FORCE`` and ``CLICOLOR`` (http://bixense.com/clicolors).  Then a terminal has none if
    it is dumb, or if no person watches, unless ``TTY_COMPATIBLE``, which rich reads, says that it
    shows them.  An empty variable counts as unset.
    """
    if environ.get("NO_COLOR"):
        return False
    if force := environ.get("FORCE_COLOR"):
        return force.lower() not in ("0", "false")
    if environ.get("CLICOLOR_FORCE", "") not in ("", "0"):
        return True
    if environ.get("CLICOLOR") == "0" or is_dumb(environ):
        return False
    return None if is_live(environ) or "TTY_COMPATIBLE" in environ else False


def _may_be_terminal(file: object) -> bool:
    """Return whether rich has to decide; the import of rich takes 25 ms."""
    isatty = getattr(file, "isatty", None)
    return (isatty is not None and isatty()) or "TTY_COMPATIBLE" in os.environ


def check_style(style: str, name: str) -> None:
    """Raise `CommandError` if the style of the command `name` is not a style of rich."""
    from rich.errors import StyleSyntaxError
    from rich.style import Style

    try:
        Style.parse(style)
    except StyleSyntaxError as error:
        raise CommandError(
            f"command {name!r}: color is not a style of the package rich: {error}"
        ) from error


@lru_cache
def paint(style: str, color_system: str) -> tuple[bytes, bytes]:
    """Return the escape sequences that begin and end `style`."""
    from rich.console import COLOR_SYSTEMS
    from rich.style import Style

    shown = Style.parse(style).render("|", color_system=COLOR_SYSTEMS[color_system])
    before, _, after = shown.encode().partition(b"|")
    # A style that the output of a command left on must not show in the label.
    return before.replace(b"\x1b[", b"\x1b[0;", 1), after
