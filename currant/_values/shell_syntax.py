"""The shell syntax in a command line: operators, variables, builtins and keywords.

As arguments, ``|`` and ``$HOME`` would silently have no effect, so `why_shell` finds them and the
caller raises.  Quoted or escaped text is literal.  So are patterns (``*``, ``?``, ``[a-z]``),
``~``, ``#``, braces and parentheses; a newline separates words.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ASSIGNMENT", "join_lines", "join_words", "why_shell"]

_LITERAL = r"""  \\. | '[^']*' | "(?: \\. | [^"\\] )*"  """
"""Escaped or quoted text, by the rules of shlex."""

_SYNTAX = re.compile(
    _LITERAL
    + r"""
    | (?P<syntax>
          [|&;<>]+
        | `
        | \$ (?: \w+ | [({@*\#?$!'"-] )      # any other dollar sign is literal in a shell, too
      )
    """,
    re.VERBOSE | re.DOTALL | re.ASCII,
)

_PIECE = re.compile(_LITERAL, re.VERBOSE | re.DOTALL)

_ESCAPE = re.compile(r"\\(.)", re.DOTALL)

ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)\+?=", re.ASCII)
"""A word that sets a variable, such as ``A=1``."""

_BUILTINS = """
    . : alias bg break builtin cd command continue declare dirs disown eval exec exit export fc fg
    getopts hash jobs let local popd pushd read readonly return set shift shopt source suspend times
    trap type typeset ulimit umask unalias unset wait
"""
"""The builtins without a program that does the same; echo, kill, printf and test are programs."""

_KEYWORDS = "! { } [[ case do done elif else esac fi for function if select then until while"

_SHELL_WORDS = frozenset(f"{_BUILTINS} {_KEYWORDS}".split())

_INSTEAD = {"cd": "set cwd=", "pushd": "set cwd=", "export": "set env=", "exec": "leave it out"}
"""What does the same as a builtin, without a shell."""


def why_shell(text: str) -> str | None:
    """Return why the line needs a shell, and what to do; None if it needs no shell.

    Args:
        text: a line that `shlex.split` can split.
    """
    for match in _SYNTAX.finditer(text):
        if match["syntax"]:
            return (
                f"{match['syntax']!r} needs a shell; use Command.shell, or quote it to pass it as "
                "an argument"
            )
    first = next(iter(text.split(maxsplit=1)), "")
    return _why_first_word(first)


def _why_first_word(word: str) -> str | None:
    if assignment := ASSIGNMENT.match(word):
        return (
            f"only a shell sets the variable {assignment[1]} before a program; use env=, or "
            "Command.shell"
        )
    if word in _SHELL_WORDS or word.startswith("("):
        instead = f", or {_INSTEAD[word]}" if word in _INSTEAD else ""
        return f"{word!r} is shell syntax, not a program; use Command.shell{instead}"
    return None


def join_lines(text: str) -> str:
    """Return `text` without each backslash at the end of a line, which joins two lines."""
    return _PIECE.sub(_without_continuation, text)


def _without_continuation(piece: re.Match[str]) -> str:
    text = piece[0]
    return text if text.startswith("'") else _ESCAPE.sub(_without_newline, text)


def _without_newline(escape: re.Match[str]) -> str:
    return "" if escape[1] == "\n" else escape[0]


def join_words(words: Sequence[str]) -> str:
    """Return a line that `Command.parse` splits into `words` again."""
    line = shlex.join(words)
    if _why_first_word(words[0]) is None or not line.startswith(words[0]):
        return line
    return f"'{words[0]}'{line[len(words[0]) :]}"  # a word that `shlex` saw no need to quote
