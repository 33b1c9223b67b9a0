"""Build the command line that runs a Python on a host, whatever Pythons and shell the host has.

If no Python is named, a shell script of one line looks for one on the host.

ssh does not pass on single words: it gives one line to the login shell, which may be a POSIX shell,
csh or fish.  In all these shells, single quotes protect every character but a single quote, an
exclamation mark (csh), a backslash (fish) and a line ending (csh).  So no word may have these four.
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
"""Options that isolate Python from variables, `site`, packages of the user and the folder."""

_PROBE = f"import sys; sys.exit(sys.version_info < {OLDEST})"

_TRY = f'"$p" {OPTIONS} "{_PROBE}" </dev/null >/dev/null 2>&1 && exec "$p" {OPTIONS} "$@"; done; '

_SEARCH = (
    # The usual name comes first: the others may be shims of pyenv, which need a long time to report
    # that a version is missing.
    "for p in python3 python3.14 python3.13 python3.12 python3.11 python3.10 python3.9; "
    f"do command -v $p >/dev/null && {_TRY}"
    # uv knows the Pythons that it has installed; it must not download one.  Often uv itself is not
    # in the PATH of a command that ssh runs.
    'for u in uv "$HOME/.local/bin/uv"; do '
    'p=$("$u" python find --no-project --no-python-downloads ">=3.9" </dev/null 2>/dev/null) && '
    f"{_TRY}"
    # If all are too old, run one: the first program of the agent reports its version.
    f'command -v python3 >/dev/null && exec python3 {OPTIONS} "$@"; '
    'echo "there is no python3, no python3.9 to python3.14, and no uv that has one" >&2; exit 127'
)

_NOT_QUOTED = "'!\\\n\r\0"


def python_argv(python: str | None, *arguments: str) -> tuple[str, ...]:
    """Return the words that run a Python with arguments.

    Args:
        python: the name or the path of the Python; None: the first one on the host that is new
            enough, or an old one if all are too old.
        arguments: what follows ``python -c``: a program, and its arguments.
    """
    if python is not None:
        return (python, OPTIONS, *arguments)
    return ("sh", "-c", _SEARCH, "sh", *arguments)


def shell_line(argv: Sequence[str]) -> str:
    """Return a line that replaces a login shell by a program, and that all shells read alike.

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
