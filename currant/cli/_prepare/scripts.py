"""Shortcuts for the scripts of a ``package.json``, and placeholders, as concurrently has them.

``npm:build`` is ``npm run build``, and ``npm:watch:*`` is each script with such a name.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from currant._values.checks import PATTERN_ERRORS
from currant._values.errors import CommandError, suggestion

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["expand_scripts", "fill_placeholders"]

RUNNERS = {
    "npm": "npm run",
    "pnpm": "pnpm run",
    "yarn": "yarn run",
    "bun": "bun run",
    "node": "node --run",
}
"""The command that runs a script, by the first word of the shortcut."""

ALSO_PROGRAMS = ("yarn", "bun")
"""Runners that also run files and programs of packages, so an unknown name may be right."""

_SHORTCUT = re.compile(rf"({'|'.join(RUNNERS)}):(\S+)(.*)", re.DOTALL)

_OMISSION = re.compile(r"\(!([^)]*)\)")

_PLACEHOLDER = re.compile(r"\\?\{([@*]|[1-9][0-9]*)\}")


class _Package(NamedTuple):
    """The scripts of a package."""

    path: Path
    scripts: Sequence[str]


def expand_scripts(lines: Sequence[str], folder: str) -> list[str]:
    """Return the command lines, with lines that run the scripts in place of each shortcut.

    Args:
        lines: command lines; a shortcut may have arguments: ``npm:test --watch``.  ``*`` stands for
            any text, and ``(!RE)`` leaves out the scripts in which the regular expression is found.
        folder: the folder in which the commands run; its ``package.json`` counts, or that of the
            nearest parent with such a file.

    Raises:
        CommandError: there is no ``package.json``, it cannot be read, or no script fits.
    """
    package: _Package | None = None
    expanded: list[str] = []
    for line in lines:
        match = _SHORTCUT.fullmatch(line.strip())
        if match is None:
            expanded.append(line)
            continue
        runner, name, arguments = match.groups()
        if package is None:
            package = _read_package(line, folder)
        scripts = _find_scripts(runner, name, package)
        expanded += [f"{RUNNERS[runner]} {shlex.quote(script)}{arguments}" for script in scripts]
    return expanded


def fill_placeholders(lines: Sequence[str], arguments: Sequence[str] | None) -> list[str]:
    """Return the command lines with the arguments in place of ``{1}``, ``{@}`` and ``{*}``.

    ``{1}`` is the first argument, ``{@}`` all of them, and ``{*}`` all of them as one word.  Each
    is quoted for a shell.  A backslash before the brace makes the braces literal.

    Args:
        lines: command lines.
        arguments: the arguments; None: there are none, and braces have no meaning.

    Raises:
        CommandError: there are arguments, and no line has a placeholder.
    """
    if arguments is None:
        return list(lines)
    if arguments and not any(_PLACEHOLDER.search(line) for line in lines):
        raise CommandError(
            f"no command has a placeholder for the arguments after --, such as {arguments[0]!r}: "
            "write {1}, {@} or {*} where they belong"
        )

    def fill(match: re.Match[str]) -> str:
        if match[0].startswith("\\"):
            return match[0][1:]
        if match[1] == "@":
            return shlex.join(arguments)
        if match[1] == "*":
            return shlex.quote(" ".join(arguments))
        number = int(match[1])
        return shlex.quote(arguments[number - 1]) if number <= len(arguments) else ""

    return [_PLACEHOLDER.sub(fill, line) for line in lines]


def _find_scripts(runner: str, name: str, package: _Package) -> Sequence[str]:
    """Return the scripts that the name in a shortcut stands for.

    Raises:
        CommandError: there is no such script.
    """
    omission = _OMISSION.search(name)
    pattern = _OMISSION.sub("", name)
    if "*" not in pattern:
        if name not in package.scripts and runner not in ALSO_PROGRAMS:
            known = suggestion(name, tuple(package.scripts))
            raise CommandError(f"{runner}:{name}: {package.path} has no script {name!r}{known}")
        return [name]
    wanted = re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)
    unwanted = None if omission is None else _compiled(f"{runner}:{name}", omission[1])
    found = [
        script
        for script in package.scripts
        if wanted.fullmatch(script) and not (unwanted and unwanted.search(script))
    ]
    if not found:
        known = suggestion(name, tuple(package.scripts))
        raise CommandError(f"{runner}:{name}: no script of {package.path} fits{known}")
    return found


def _compiled(shortcut: str, pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except PATTERN_ERRORS as error:
        raise CommandError(
            f"{shortcut}: {pattern!r} is not a regular expression: {error}"
        ) from error


def _read_package(shortcut: str, folder: str) -> _Package:
    """Return the scripts of the nearest ``package.json``.

    Raises:
        CommandError: there is no such file, or it cannot be read.
    """
    import json  # noqa: PLC0415 - few command lines have a shortcut

    for path in _candidates(folder):
        try:
            content = json.loads(path.read_bytes())
        except FileNotFoundError:
            continue
        except OSError as error:
            raise CommandError(f"{shortcut}: cannot read {path}: {error.strerror}") from error
        except ValueError as error:
            raise CommandError(f"{shortcut}: {path} is not JSON: {error}") from error
        package = cast("dict[str, object]", content if isinstance(content, dict) else {})
        scripts = package.get("scripts")
        names = cast("dict[str, object]", scripts if isinstance(scripts, dict) else {})
        return _Package(path, [*names])
    raise CommandError(
        f"{shortcut}: there is no package.json in {Path(folder).absolute()} or in a folder above it"
    )


def _candidates(folder: str) -> Iterator[Path]:
    start = Path(folder).absolute()
    for each in (start, *start.parents):
        yield each / "package.json"
