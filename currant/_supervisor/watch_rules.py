"""`WatchRules`: whether the `Watch` of a command includes a path that has changed.

Patterns have the syntax of `.gitignore`.  The package pathspec matches the patterns of one file.
This module adds the rules for several files: a file further down overrides a file further up, and
all files below an ignored folder are ignored.  `IgnoreFiles` reads the files again for each set of
changes, because a `.gitignore` may be among the changes.

Not supported: ``.git/info/exclude`` and the file of `core.excludesFile`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from currant._supervisor.file_changes import is_below
from currant._values.errors import CommandError
from currant._values.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pathspec import GitIgnoreSpec

    from currant._values.command import Command
    from currant._values.watch import Watch

__all__ = ["IGNORED", "IgnoreFiles", "WatchRules"]

IGNORED = (
    *(".git", ".hg", ".svn", ".jj"),
    *("node_modules", "__pycache__", "*.py[cod]", ".venv", ".tox", ".nox"),
    *(".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis", ".coverage", ".coverage.*"),
    *(".idea", ".DS_Store", "*.swp", "*.swo", "*.swx", "*~", ".#*", r"\#*#", "4913"),
    *("*.bak", "*___jb_tmp___", "*___jb_old___", ".goutputstream-*", ".~lock.*"),
    "*.log",
)
"""The patterns that are ignored by default, below the paths that are watched.

They include the temporary files of Vim (which tests a folder with the file 4913), Emacs, and the
editors of JetBrains, GNOME and LibreOffice.
"""


class IgnoreFiles:
    """The `.gitignore` files as they are now; each is read at its first use."""

    def __init__(self) -> None:
        self._specs: dict[str, GitIgnoreSpec | None] = {}
        self._ignored: dict[tuple[str, tuple[str, ...]], bool] = {}

    def ignores(self, path: str, root: str) -> bool:
        """Return whether git ignores `path`, which is below the folder `root`."""
        return self._ignores(path, root, self._folders_above(root))

    def _folders_above(self, root: str) -> tuple[str, ...]:
        """Return the folders of the repository above `root`; () if git ignores `root` itself."""
        above = [*_parents(root)]
        tops = [n for n, folder in enumerate(above) if _is_repository(folder)]
        if _is_repository(root) or not tops:
            return ()
        folders = tuple(reversed(above[: tops[0] + 1]))
        return () if self._ignores(root, folders[0], ()) else folders

    def _ignores(self, path: str, root: str, above: tuple[str, ...]) -> bool:
        known = self._ignored.get((path, above))
        if known is not None:
            return known
        parent = os.path.dirname(path)
        ignored = parent != root and self._ignores(parent, root, above)
        if not ignored:
            inside = [each for each in (parent, *_parents(parent)) if not is_below(root, each)]
            ignored = self._verdict(path, (*above, *reversed(inside)))
        self._ignored[path, above] = ignored
        return ignored

    def _verdict(self, path: str, folders: Sequence[str]) -> bool:
        """Return whether `.gitignore` files in `folders` ignore `path`; the last match counts."""
        is_ignored = False
        for folder in folders:
            spec = self._spec_of(folder)
            if spec is not None:
                match = _match(spec, os.path.relpath(path, folder), _endings_of(path))
                is_ignored = is_ignored if match is None else match
        return is_ignored

    def _spec_of(self, folder: str) -> GitIgnoreSpec | None:
        if folder not in self._specs:
            try:
                with open(f"{folder}/.gitignore", encoding="utf-8", errors="replace") as file:
                    lines = file.read().splitlines()
            except OSError:
                lines = []
            self._specs[folder] = _spec(filter(_is_pattern, lines)) if lines else None
        return self._specs[folder]


class WatchRules:
    """The rules of one command.

    Args:
        command: the command.
        watch: the `watch` of the command.

    Attributes:
        paths: the absolute paths to watch.

    Raises:
        CommandError: a pattern does not have the syntax of `.gitignore`.
    """

    def __init__(self, command: Command, watch: Watch) -> None:
        self._base = os.path.abspath(command.cwd or "")
        self.paths: tuple[str, ...] = tuple(
            os.path.normpath(os.path.join(self._base, path)) for path in watch.paths
        )
        for pattern in (*watch.include, *watch.ignore):
            if not _is_pattern(pattern):
                raise CommandError(
                    f"command {command.name!r}: watch: {pattern!r} is not a pattern of .gitignore"
                )
        self._include = _spec(watch.include) if watch.include else None
        self._ignore = _spec(watch.ignore)
        self._default = _spec(IGNORED)

    def first_match(self, paths: Iterable[str], files: IgnoreFiles) -> str | None:
        """Return the first of `paths` that concerns the command, in the form for a message."""
        roots = [(path, os.path.realpath(path)) for path in self.paths]
        for path in paths:
            for given, real in roots:
                if path in (given, real):
                    return self._name_of(given)
                if is_below(path, real) and self._concerns(path, given, real, files):
                    return self._name_of(os.path.join(given, os.path.relpath(path, real)))
        return None

    def _concerns(self, path: str, given: str, real: str, files: IgnoreFiles) -> bool:
        below = os.path.relpath(path, real)
        shown = os.path.join(given, below)
        name = os.path.relpath(shown, self._base) if is_below(shown, self._base) else below
        endings = _endings_of(path)
        ignored = _match(self._ignore, name, endings)
        if ignored is None:
            ignored = _match(self._default, below, endings) or files.ignores(path, real)
        if ignored:
            return False
        spec = self._include
        return spec is None or any(
            spec.match_file(os.path.normpath(os.path.join(name, os.path.relpath(each, path))))
            for each in _files_in(path)
        )

    def _name_of(self, path: str) -> str:
        is_inside = is_below(path, self._base)
        return printable(os.path.relpath(path, self._base) if is_inside else path)


def _parents(path: str) -> Iterator[str]:
    """Yield the folders above `path`, the nearest first."""
    while (parent := os.path.dirname(path)) != path:
        yield parent
        path = parent


def _is_repository(folder: str) -> bool:
    return os.path.exists(f"{folder}/.git")


def _endings_of(path: str) -> tuple[str, ...]:
    """Return the endings of `path` to match: "/" for a folder, "" for a file; if gone, both."""
    if os.path.isdir(path):
        return ("/",)
    return ("",) if os.path.lexists(path) else ("", "/")


def _files_in(path: str) -> Iterator[str]:
    """Yield `path`, and all files below, because a folder may have been moved here as a whole."""
    yield path
    for folder, _, names in os.walk(path):
        for name in names:
            yield f"{folder}/{name}"


def _match(spec: GitIgnoreSpec, name: str, endings: Iterable[str]) -> bool | None:
    """Return True if `spec` ignores a path, False if ``!`` excepts the path, otherwise None."""
    matches = [spec.check_file(name + ending).include for ending in endings]
    return True if True in matches else matches[0]


def _spec(patterns: Iterable[str]) -> GitIgnoreSpec:
    from pathspec import GitIgnoreSpec

    return GitIgnoreSpec.from_lines(patterns)


def _is_pattern(text: str) -> bool:
    try:
        _spec([text])
    except ValueError:
        return False
    return True
