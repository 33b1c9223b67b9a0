"""Import modules from memory: from the texts of files that the driver has sent."""

from __future__ import annotations

import linecache
import sys
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

__all__ = ["start"]


class _Importer:
    """Finds and loads modules.

    Args:
        files: the texts of the files, by their paths, such as ``currant/__init__.py``.
    """

    def __init__(self, files: Mapping[str, str]) -> None:
        self._files = files

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        base = name.replace(".", "/")
        for file, is_package in ((f"{base}/__init__.py", True), (f"{base}.py", False)):
            if file in self._files:
                spec = ModuleSpec(name, self, origin=file, is_package=is_package)  # type: ignore[arg-type]
                spec.has_location = True
                return spec
        return None

    def create_module(self, _: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        file = str(module.__file__)
        text = self._files[file]
        linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
        exec(compile(text, file, "exec", dont_inherit=True), vars(module))  # noqa: S102

    def get_data(self, path: str) -> bytes:
        """Return the content of a file that is not a module, for `pkgutil.get_data`."""
        return self._files[path].encode()


def start(files: Mapping[str, str]) -> None:
    """Let Python import modules from `files`, and run the agent."""
    sys.meta_path.insert(0, _Importer(files))
    from currant._agent.main import main  # noqa: PLC0415 - only now can it be imported

    main()
