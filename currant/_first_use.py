"""`importing`: a package that imports each of its modules when a name from it is first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["importing"]


def importing(
    package: dict[str, Any], homes: Mapping[str, str]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return the functions ``__getattr__`` and ``__dir__`` of a package (PEP 562).

    Type checkers do not see what they import, so the package has imports for type checkers, too.

    Args:
        package: the globals of the package.
        homes: the module of each name.
    """

    def get(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package['__name__']!r} has no attribute {name!r}")
        package[name] = value = getattr(import_module(homes[name]), name)
        return value

    def names() -> list[str]:
        return sorted({*package, *package["__all__"]})

    return get, names
