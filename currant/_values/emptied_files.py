"""The files that each start of a command empties: a stdout or stderr by path, and a spill.

Two of them that are the same file would overwrite each other, and a stdin would be lost.  Paths are
compared as text, so a link to a file counts as another file.
"""

from __future__ import annotations

import os
from pathlib import Path
from posixpath import join, normpath
from typing import TYPE_CHECKING

from currant._values.capture import Capture
from currant._values.checks import naming
from currant._values.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from currant._values.capture import CaptureLike
    from currant._values.launch_spec import LaunchSpec

__all__ = ["check_emptied_files", "check_own_files", "empties_files", "is_emptied"]

SPILL = "the spill of its capture"


def is_emptied(file: object) -> bool:
    """Return whether `file` is a path of which each start empties the file."""
    return isinstance(file, Path) and file != Path(os.devnull)


def empties_files(command: LaunchSpec, capture: CaptureLike) -> bool:
    """Return whether a start of the command empties a file."""
    return any(_emptied_by(command, capture))


def check_own_files(command: LaunchSpec, capture: CaptureLike | None) -> None:
    """Check that the files of one command go together.

    Raises:
        CommandError: two of them are the same file; the text does not name the command.
    """
    emptied: dict[str, str] = {}
    for field, path in _emptied_by(command, capture):
        other = emptied.setdefault(path, field)
        if other != field:
            remedy = "" if field == SPILL else "; use stderr='stdout'"
            raise CommandError(
                f"{other} and {field} cannot both be {path!r}, because each would overwrite the "
                f"other{remedy}"
            )
    if isinstance(command.stdin, Path) and _place_of(command, command.stdin) in emptied:
        raise CommandError(
            f"stdin cannot be {command.stdin!r}, because each start empties that file for output"
        )


def check_emptied_files(commands: Iterable[tuple[LaunchSpec, CaptureLike]]) -> None:
    """Check that the files of commands that may run at the same time go together.

    Raises:
        CommandError: two files are the same, of one command or of two.
    """
    writers: dict[str, str] = {}
    for command, capture in commands:
        with naming(command.name):
            check_own_files(command, capture)
        for _, path in _emptied_by(command, capture):
            writer = writers.setdefault(path, command.name)
            if writer != command.name:
                raise CommandError(
                    f"commands {writer!r} and {command.name!r} would write into the same file "
                    f"{path!r}, which each start empties; write {{name}} into the path of a spill, "
                    "or pass a file that is open for appending"
                )


def _emptied_by(command: LaunchSpec, capture: CaptureLike | None) -> Iterable[tuple[str, str]]:
    """Yield each file that a start empties: the name of the field, and the path."""
    for field in ("stdout", "stderr"):
        file = getattr(command, field)
        if is_emptied(file):
            yield field, _place_of(command, file)
    spill = capture.spill_of(command.name) if isinstance(capture, Capture) else None
    if spill is not None:
        yield SPILL, normpath(spill)


def _place_of(command: LaunchSpec, file: Path) -> str:
    return normpath(join(command.cwd or "", file))
