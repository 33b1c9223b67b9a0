"""The names that `currant._process` uses of anyio, which a remote agent replaces by a stand-in."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import currant._process

if TYPE_CHECKING:
    from collections.abc import Iterator

FILES = sorted(Path(currant._process.__path__[0]).glob("*.py"))


def names_in(tree: ast.AST) -> Iterator[str]:
    """Yield the names that a module imports from anyio or looks up in it."""
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module="anyio", names=names):
                yield from (name.name for name in names)
            case ast.ImportFrom(module=str(module), names=names) if module.startswith("anyio."):
                yield from (f"{module.removeprefix('anyio.')}.{name.name}" for name in names)
            case ast.Attribute(value=ast.Name(id="anyio"), attr=name):
                yield name


def test_package_docstring_lists_all_names_of_anyio() -> None:
    """A name that is added or removed in the package is added or removed in the list, too."""
    used = {name for file in FILES for name in names_in(ast.parse(file.read_text()))}
    assert currant._process.__doc__ is not None
    _, listed = currant._process.__doc__.split("few of its names:")
    assert sorted(re.findall(r"`([\w.]+)`", listed)) == sorted(used)
