"""Checks of the terminal of a command: the options that exclude `pty`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from currant._values.errors import CommandError
from currant._values.launch_spec import Pty
from currant._values.standard_files import is_open_file

if TYPE_CHECKING:
    from currant._values.launch_spec import LaunchSpec, Leftovers

__all__ = ["check_terminal", "check_terminal_is_kept", "checked_pty"]


def checked_pty(pty: object) -> Pty | Literal[False]:
    """Return the `pty` of a command as a `Pty`, or False."""
    if not isinstance(pty, (bool, Pty)):
        raise CommandError(f"pty must be True, False or a Pty, not {pty!r}")
    return Pty() if pty is True else pty


def check_terminal(command: LaunchSpec) -> None:
    """Check that a command with a terminal has a session, and no files in place of the terminal."""
    if not command.pty:
        return
    if not command.new_session:
        raise CommandError("new_session cannot be False if pty is set: a terminal has one session")
    if isinstance(command.stdin, Path) or is_open_file(command.stdin):
        raise CommandError(
            "stdin cannot be a file if pty is set, because the terminal is the input; "
            f"not {command.stdin!r}"
        )
    for what in ("stdout", "stderr"):
        place = getattr(command, what)
        if place not in (None, "separate", "stdout"):
            raise CommandError(
                f"{what} cannot be {place!r} if pty is set, because the terminal is the output"
            )


def check_terminal_is_kept(pty: object, leftovers: Leftovers | None) -> None:
    """Check that no process is left in a terminal, which hangs up when its leader has exited."""
    if pty and leftovers == "leave":
        raise CommandError(
            "leftovers cannot be 'leave' if pty is set, because a process that stays would lose "
            "its terminal"
        )
