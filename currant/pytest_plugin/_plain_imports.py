"""`PlainImports`: import the modules of currant without pytest's rewriting of asserts.

pytest rewrites the asserts in every module of a package that has a plugin.  Reading its copies of
the modules takes as long as the import itself, and the asserts of currant are not those of a test.
"""

from __future__ import annotations

from importlib.machinery import PathFinder
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec

__all__ = ["PlainImports"]


class PlainImports:
    """A finder for `sys.meta_path`, to be put before that of pytest."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None, target: object = None
    ) -> ModuleSpec | None:
        """Find a module of currant as Python does; leave other modules to the next finder."""
        del target
        return PathFinder.find_spec(name, path) if name.startswith("currant.") else None
