"""The standard files of a command that currant neither writes nor reads: paths and open files.

A file is checked as far as possible when the command is built, in the caller's frame.  That its
descriptor is still open can only be found out at a start.
"""

from __future__ import annotations

from io import IOBase
from os import PathLike
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT
from typing import TYPE_CHECKING, Final, Literal, Protocol, cast, runtime_checkable

from currant._values.checks import checked_path
from currant._values.errors import CommandError

if TYPE_CHECKING:
    from typing import TypeAlias, TypeGuard

__all__ = [
    "File",
    "HasFileno",
    "KeptFile",
    "StderrWord",
    "StdoutWord",
    "checked_file",
    "checked_stderr",
    "checked_stdout",
    "is_open_file",
]


@runtime_checkable
class HasFileno(Protocol):
    """An open file: any object with a descriptor, such as a file or a socket."""

    def fileno(self) -> int:
        """Return the descriptor."""
        ...


File: TypeAlias = "PathLike[str] | int | HasFileno"
"""A file as it is given: a path, a descriptor, or an open file."""

KeptFile: TypeAlias = "Path | int | HasFileno"
"""A file as a command keeps it."""

StdoutWord: TypeAlias = "Literal['inherit'] | None"
"""A place of stdout that is no file of the caller's; None: a pipe to currant."""

StderrWord: TypeAlias = Literal["separate", "stdout", "inherit"]
"""A place of stderr that is no file of the caller's; ``"separate"``: a pipe to currant."""

MAX_DESCRIPTOR: Final = 2**31 - 1

_INSTEAD_OF_CONSTANT = {
    ("stdin", DEVNULL): "; None, the default, is /dev/null",
    ("stdout", DEVNULL): "; use Path(os.devnull)",
    ("stderr", DEVNULL): "; use Path(os.devnull)",
    ("stdout", PIPE): "; a pipe to currant is the default, None",
    ("stderr", PIPE): "; a pipe to currant is the default, 'separate'",
    ("stderr", STDOUT): "; use 'stdout'",
}
"""What to write instead of the constants of `subprocess`."""


def checked_stdout(stdout: object) -> object:
    """Check the `stdout` of a command, and return it as it is kept."""
    if stdout is None or (isinstance(stdout, str) and stdout == "inherit"):
        return stdout
    return checked_file("stdout", stdout, "None, 'inherit', ")


def checked_stderr(stderr: object) -> object:
    """Check the `stderr` of a command, and return it as it is kept."""
    if isinstance(stderr, str) and stderr in ("separate", "stdout", "inherit"):
        return stderr
    return checked_file("stderr", stderr, "'separate', 'stdout', 'inherit', ")


def checked_file(what: str, value: object, others: str) -> KeptFile:
    """Check that `value` is a path, an open file or a descriptor; return a path as a `Path`.

    Args:
        what: the name of the argument.
        value: its value.
        others: the other values that the argument may have, for the message.
    """
    if isinstance(value, PathLike):
        return Path(checked_path(what, cast("object", value)))
    if isinstance(value, HasFileno):
        _check_usable(what, value)
        return value
    if _is_int(value) and 0 <= value <= MAX_DESCRIPTOR:
        return value
    raise CommandError(
        f"{what} must be {others}a path, an open file or a descriptor, not {value!r}"
        + _instead(what, value)
    )


def is_open_file(value: object) -> bool:
    """Return whether `value` is an open file or a descriptor, which belong to this program."""
    # To ask for the protocol takes microseconds.
    return callable(getattr(value, "fileno", None)) or (_is_int(value) and value >= 0)


def _instead(what: str, value: object) -> str:
    """Return what to write instead of a wrong value, as the end of a message."""
    if isinstance(value, str):
        as_input = ", or b'...' for the input itself" if what == "stdin" else ""
        return f"; use Path(...) for a file{as_input}"
    return _INSTEAD_OF_CONSTANT.get((what, value), "") if _is_int(value) else ""


def _is_int(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_usable(what: str, file: HasFileno) -> None:
    try:
        number = file.fileno()
    except Exception as error:  # The method is the caller's.
        raise CommandError(f"{what} cannot be {file!r}, which has no descriptor: {error}") from None
    if not _is_int(number) or number < 0:
        raise CommandError(f"{what} cannot be {file!r}, whose descriptor is {number!r}")
    # Only asked of Python's own files: the methods of some async files must be awaited.
    if isinstance(file, IOBase) and not (file.readable() if what == "stdin" else file.writable()):
        purpose = "reading" if what == "stdin" else "writing"
        raise CommandError(f"{what} cannot be {file!r}, which is not open for {purpose}")
