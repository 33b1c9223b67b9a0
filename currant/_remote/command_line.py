"""The command line that runs a Python on a host, whatever Pythons and whatever shell the host has.

A host without a named Python is searched by a shell script of one line.  ssh knows no words: it
hands one line to the login shell, which may be a POSIX shell, csh or fish.  In all of them, single
quotes hold everything but a single quote, an exclamation mark (csh), a backslash (fish) and a line
ending (csh).  So no word may have these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from currant._values.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["OLDEST", "python_argv", "shell_line"]


OLDEST = (3, 9)
"""The oldest Python that runs the agent."""

OPTIONS = "-ISc"
"""Isolated from variables, the user's packages and the working directory, and without `site`."""

_PROBE = f"import sys; sys.exit(sys.version_info < {OLDEST})"

_TRY = f'"$p" {OPTIONS} "{_PROBE}" </dev/null >/dev/null 2>&1 && exec "$p" {OPTIONS} "$@"; done; '

_SEARCH = (
    # The usual name comes first: behind the others may be shims of pyenv, which take long to say
    # that there is no such version.
    "for p in python3 python3.14 python3.13 python3.12 python3.11 python3.10 python3.9; "
    f"do command -v $p >/dev/null && {_TRY}"
    # uv finds its own Pythons, and is seldom in the PATH of a command of ssh.  It must get none.
    'for u in uv "$HOME/.local/bin/uv"; do '
    'p=$("$u" python find --no-project --no-python-downloads ">=3.9" </dev/null 2>/dev/null) && '
    f"{_TRY}"
    # A Python that is too old says so itself.
    f'command -v python3 >/dev/null && exec python3 {OPTIONS} "$@"; '
    'echo "there is no python3, no python3.9 to python3.14, and no uv that has one" >&2; exit 127'
)

_NOT_QUOTED = "'!\\\n\r\0"


def python_argv(python: str | None, *arguments: str) -> tuple[str, ...]:
    """Return the words that run a Python with arguments.

    Args:
        python: the program, or its path, which alone is used; None: the first Python on the host
            that is new enough; if all are too old, one of these.
        arguments: for ``python -c``: the program, and its arguments.
    """
    if python is not None:
        return (python, OPTIONS, *arguments)
    return ("sh", "-c", _SEARCH, "sh", *arguments)


def shell_line(argv: Sequence[str]) -> str:
    """Return a line that runs a program in the place of the shell, for every shell the same.

    Raises:
        CommandError: a word cannot be quoted for all shells.
    """
    for word in argv:
        if not set(word).isdisjoint(_NOT_QUOTED):
            raise CommandError(
                f"a word for the shell of a host must not contain a single quote, '!', a backslash "
                f"or a line ending, which not all shells read the same: {word!r}"
            )
    return " ".join(["exec", *(f"'{word}'" for word in argv)])
