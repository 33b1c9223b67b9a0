"""The shell syntax in a command line: operators, variables, builtins and keywords.

As arguments, ``|`` and ``$HOME`` would silently have no effect, so `why_shell` finds them and the
caller raises.  Quoted or escaped text is literal.  So are patterns (``*``, ``?``, ``[a-z]``),
``~``, ``#``, braces and parentheses; a newline separates words.

The command line of currant runs each line in a shell.  In a line with a single command,
`with_exec` lets the program take the place of the shell.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ASSIGNMENT", "join_lines", "join_words", "why_shell", "with_exec", "without_exec"]

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

_ASSIGNMENTS = rf"""
    \s*+ (?> (?: [A-Za-z_]\w*+ = (?> (?: {_LITERAL} | [^\s\\'"|&;()<>] )* ) \s++ )* )
"""
"""The assignments that a command may begin with."""

_SIMPLE = re.compile(
    rf"""
      {_ASSIGNMENTS}
      (?P<program> (?> (?: {_LITERAL} | [^\s\\'"|&;()<>=\#] )+ ) ) (?= \s | \Z )
      (?> (?: {_LITERAL} | >> | >\| | [<>]& | [<>] | [^\\'"|&;()<>\n] )* )
    """,
    re.VERBOSE | re.DOTALL | re.ASCII,
)
"""A command that is alone in its line: without pipes, lists and groups."""

_SUBSTITUTION = re.compile(r"""` | \$ [('"]""", re.VERBOSE)
"""What begins text with rules of its own for quotes."""

_EXEC = re.compile(rf"(?P<before>{_ASSIGNMENTS}) exec [ ]", re.VERBOSE | re.DOTALL | re.ASCII)

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

_ALSO_PROGRAMS = {"[", "chdir", "echo", "false", "kill", "printf", "pwd", "test", "time", "true"}
"""More words that mean something else in a shell than the program of that name, if there is one."""

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


def with_exec(line: str) -> str:
    """Return `line` with ``exec`` before its program, if the line is one simple command.

    Some shells (dash) stay the parent of the program even then.  A signal to the whole group would
    end the shell, whatever the program does about the signal, and a signal to the shell alone does
    not reach the program.
    """
    match = _SIMPLE.fullmatch(line.strip())
    if match is None or _SUBSTITUTION.search(line):
        return line
    begin, program = match.start("program"), match["program"]
    if not _is_program(program):
        return line
    return f"{match.string[:begin]}exec {match.string[begin:]}"


def without_exec(line: str) -> str:
    """Return `line` without an ``exec`` before its program: the line that `with_exec` got."""
    return _EXEC.sub(r"\g<before>", line, count=1) if _EXEC.match(line) else line


def _is_program(word: str) -> bool:
    """Return whether a shell certainly starts a program for this first word of a command."""
    if "/" in word:
        return True
    is_plain = re.fullmatch(r"\w[\w.+@:-]*", word) is not None
    return is_plain and word not in _SHELL_WORDS | _ALSO_PROGRAMS


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
