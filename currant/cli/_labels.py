"""The default name of a command line: what runs, rather than the program that starts it.

``npm run build`` and ``npm run dev`` are ``build`` and ``dev``, and ``python -m http.server`` is
``http.server``.  The rule knows launchers of three kinds, and the options of each that have a
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

__all__ = ["label_of"]

_SEPARATOR = re.compile(r"[;&|()]+|[{}!]")
_PREPARATIONS = frozenset({"cd", "export", "set", "source", ".", "umask", "ulimit", "unset"})
"""Builtins that prepare what follows, as in ``cd web && npm run dev``."""

_REDIRECTION = re.compile(r"[<>]")


class _Launcher(NamedTuple):
    """How the arguments of a launcher name what it runs."""

    verbs: frozenset[str] = frozenset()
    """Subcommands that a target follows: ``run`` in ``npm run build``."""
    wrappers: frozenset[str] = frozenset()
    """Subcommands that a command line follows: ``exec`` in ``npm exec vite``."""
    takes: str = "target"
    """The meaning of the first other argument: ``target``, ``line``, or ``nothing``."""
    valued: frozenset[str] = frozenset()
    """Options with a value of their own."""
    module: str | None = None
    """The option for a module in place of a file."""
    inline: frozenset[str] = frozenset()
    """Options for a program in the command line itself, which has no name."""


def _launcher(
    verbs: str = "",
    wrappers: str = "",
    takes: str = "target",
    valued: str = "",
    module: str | None = None,
    inline: str = "",
) -> _Launcher:
    split = (frozenset(words.split()) for words in (verbs, wrappers, valued, inline))
    verb_set, wrapper_set, valued_set, inline_set = split
    return _Launcher(verb_set, wrapper_set, takes, valued_set, module, inline_set)


_PACKAGES = _launcher(
    "run run-script rum urn task workspace",
    "exec x dlx",
    valued="--prefix -w --workspace -C --dir --cwd --filter -F --config",
)
_WRAPPER = _launcher(takes="line", valued="-p --package -u --unset -n -C --chdir -g")
_PYTHON_TOOL = _launcher(
    wrappers="run",
    takes="nothing",
    valued="-p --python -e --env --with --extra --group --package --project --directory --env-file "
    "-C --index --only-group --with-requirements -P",
    module="-m",
)
_MAKE = _launcher(valued="-C -f -I -o -W --directory --file --makefile -j --justfile -d")
_COMPOSE = _launcher(
    "up run start logs exec restart watch",
    takes="nothing",
    valued="-f --file -p --project-name --profile --env-file --project-directory "
    "-e --env -u --user -w --workdir --name --scale",
)
_PYTHON = _launcher(valued="-W -X", module="-m", inline="-c -")
_NODE = _launcher(
    valued="-r --require --import --loader --env-file -C --conditions",
    inline="-e --eval -p --print -",
)
_SHELL = _launcher(valued="-o", inline="-c -lc -ic -ec -xc -euc")

_LAUNCHERS = {
    **dict.fromkeys(("npm", "pnpm", "yarn", "bun", "deno"), _PACKAGES),
    **dict.fromkeys(
        ("env", "exec", "nohup", "time", "nice", "npx", "bunx", "uvx", "pipx"), _WRAPPER
    ),
    **dict.fromkeys(("uv", "poetry", "pdm", "hatch", "pipenv", "rye"), _PYTHON_TOOL),
    "bundle": _launcher(wrappers="exec", takes="nothing"),
    **dict.fromkeys(("make", "gmake", "just", "rake", "task"), _MAKE),
    "docker-compose": _COMPOSE,
    **dict.fromkeys(("node", "nodejs", "ruby", "perl", "php"), _NODE),
    **dict.fromkeys(("sh", "bash", "zsh"), _SHELL),
}
_PYTHONS = re.compile(r"(?:python|pypy)[0-9.]*")


def label_of(line: str) -> str:
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
        if kept := _without_shell(words):
            yield kept
        words = []


def _without_shell(words: Sequence[str]) -> list[str]:
    end = next((n for n, word in enumerate(words) if _REDIRECTION.match(word)), len(words))
    if end < len(words) and end and words[end - 1].isdecimal():  # the 2 of 2>&1
        end -= 1
    begin = next((n for n, word in enumerate(words) if not ASSIGNMENT.match(word)), end)
    return list(words[begin:end])


def _label(words: Sequence[str]) -> str:
    """Return the name for a program and its arguments."""
    program = PurePath(words[0]).name or "sh"
    launcher = _PYTHON if _PYTHONS.fullmatch(program) else _LAUNCHERS.get(program)
    arguments = list(words[1:])
    if program == "docker" and arguments[:1] == ["compose"]:
        launcher, arguments = _COMPOSE, arguments[1:]
    return program if launcher is None else _target(launcher, arguments) or program


def _target(launcher: _Launcher, arguments: Sequence[str]) -> str | None:
    """Return the name of what a launcher runs; None if the arguments do not name it."""
    takes = launcher.takes
    verb: str | None = None
    rest = iter(range(len(arguments)))
    for index in rest:
        word = arguments[index]
        if word == launcher.module:
            return arguments[index + 1] if index + 1 < len(arguments) else None
        if word in launcher.inline:
            return None
        if word in launcher.valued:
            next(rest, None)
        elif word.startswith("-") or ASSIGNMENT.match(word):
            continue
        elif verb is None and word in launcher.verbs | launcher.wrappers:
            verb = word
            takes = "line" if word in launcher.wrappers else "target"
        elif takes == "line":
            return _label(arguments[index:])
        else:
            return (PurePath(word).name or None) if takes == "target" else None
    return verb if launcher is _COMPOSE else None
