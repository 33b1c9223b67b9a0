"""The default name of a command line: the target of a tool, rather than the tool.

``npm run build`` and ``npm run dev`` are ``build`` and ``dev``, and ``python -m http.server`` is
``http.server``.  The rule knows tools of three kinds, and the options of each that have a
value.  For any other line the name is that of the program.
"""

from __future__ import annotations

import re
import shlex
from pathlib import PurePath
from typing import TYPE_CHECKING, NamedTuple

from currant._values.shell_syntax import ASSIGNMENT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["default_name"]

_SEPARATOR = re.compile(r"[;&|()]+|[{}!]")
_PREPARATIONS = frozenset({"cd", "export", "set", "source", ".", "umask", "ulimit", "unset"})
"""Builtins that prepare the next command, as in ``cd web && npm run dev``."""

_REDIRECTION = re.compile(r"[<>]")


class _Tool(NamedTuple):
    """How the arguments of a tool name its target; several words are separated by spaces."""

    verbs: str = ""
    """Subcommands that a target follows: ``run`` in ``npm run build``."""
    wrappers: str = ""
    """Subcommands that a command line follows: ``exec`` in ``npm exec vite``."""
    takes: str = "target"
    """The meaning of the first other argument: ``target``, ``line``, or ``nothing``."""
    valued: str = ""
    """Options with a value of their own."""
    module: str | None = None
    """The option for a module in place of a file."""
    inline: str = ""
    """Options for a program in the command line itself, which has no name."""


_PACKAGES = _Tool(
    "run run-script rum urn task workspace",
    "exec x dlx",
    valued="--prefix -w --workspace -C --dir --cwd --filter -F --config",
)
_WRAPPER = _Tool(takes="line", valued="-p --package -u --unset -n -C --chdir -g")
_PYTHON_TOOL = _Tool(
    wrappers="run",
    takes="nothing",
    valued="-p --python -e --env --with --extra --group --package --project --directory --env-file "
    "-C --index --only-group --with-requirements -P",
    module="-m",
)
_MAKE = _Tool(valued="-C -f -I -o -W --directory --file --makefile -j --justfile -d")
_COMPOSE = _Tool(
    "up run start logs exec restart watch",
    takes="nothing",
    valued="-f --file -p --project-name --profile --env-file --project-directory "
    "-e --env -u --user -w --workdir --name --scale",
)
_PYTHON = _Tool(valued="-W -X", module="-m", inline="-c -")
_NODE = _Tool(
    valued="-r --require --import --loader --env-file -C --conditions",
    inline="-e --eval -p --print -",
)
_SHELL = _Tool(valued="-o", inline="-c -lc -ic -ec -xc -euc")

_TOOLS = {
    **dict.fromkeys(("npm", "pnpm", "yarn", "bun", "deno"), _PACKAGES),
    **dict.fromkeys(
        ("env", "exec", "nohup", "time", "nice", "npx", "bunx", "uvx", "pipx"), _WRAPPER
    ),
    **dict.fromkeys(("uv", "poetry", "pdm", "hatch", "pipenv", "rye"), _PYTHON_TOOL),
    "bundle": _Tool(wrappers="exec", takes="nothing"),
    **dict.fromkeys(("make", "gmake", "just", "rake", "task"), _MAKE),
    "docker-compose": _COMPOSE,
    **dict.fromkeys(("node", "nodejs", "ruby", "perl", "php"), _NODE),
    **dict.fromkeys(("sh", "bash", "zsh"), _SHELL),
}
_PYTHONS = re.compile(r"(?:python|pypy)[0-9.]*")


def default_name(line: str) -> str:
    """Return the default name of a command line; ``sh`` if the line has no program."""
    commands = list(_simple_commands(line))
    for words in commands:
        if words[0] not in _PREPARATIONS:
            return _label(words)
    return _label(commands[0]) if commands else "sh"


def _simple_commands(line: str) -> Iterator[list[str]]:
    """Yield the words of each command in a line, without assignments and redirections."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        tokens = list(lexer)
    except ValueError:  # The shell may still accept the line; otherwise it reports the error.
        tokens = line.split()
    words: list[str] = []
    for token in [*tokens, ";"]:
        if not _SEPARATOR.fullmatch(token):
            words.append(token)
            continue
        if kept := _program_words(words):
            yield kept
        words = []


def _program_words(words: Sequence[str]) -> list[str]:
    end = next((n for n, word in enumerate(words) if _REDIRECTION.match(word)), len(words))
    if end < len(words) and end and words[end - 1].isdecimal():  # the 2 of 2>&1
        end -= 1
    begin = next((n for n, word in enumerate(words) if not ASSIGNMENT.match(word)), end)
    return list(words[begin:end])


def _label(words: Sequence[str]) -> str:
    """Return the name for a program and its arguments."""
    program = PurePath(words[0]).name or "sh"
    tool = _PYTHON if _PYTHONS.fullmatch(program) else _TOOLS.get(program)
    arguments = list(words[1:])
    if program == "docker" and arguments[:1] == ["compose"]:
        tool, arguments = _COMPOSE, arguments[1:]
    return program if tool is None else _target(tool, arguments) or program


def _target(tool: _Tool, arguments: Sequence[str]) -> str | None:
    """Return the name of the target of a tool; None if the arguments do not name a target."""
    takes = tool.takes
    verb: str | None = None
    rest = iter(range(len(arguments)))
    for index in rest:
        word = arguments[index]
        if word == tool.module:
            return arguments[index + 1] if index + 1 < len(arguments) else None
        if word in tool.inline.split():
            return None
        if word in tool.valued.split():
            next(rest, None)
        elif word.startswith("-") or ASSIGNMENT.match(word):
            continue
        elif verb is None and word in f"{tool.verbs} {tool.wrappers}".split():
            verb = word
            takes = "line" if word in tool.wrappers.split() else "target"
        elif takes == "line":
            return _label(arguments[index:])
        else:
            return (PurePath(word).name or None) if takes == "target" else None
    return verb if tool is _COMPOSE else None
