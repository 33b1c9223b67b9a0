"""`imported`: what a package returns for a name whose module it imports at the first use (PEP 562).

Such a package has imports for type checkers alone, and its own functions ``__getattr__`` and
``__dir__``, which type checkers want to see.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["imported"]


def imported(package: dict[str, Any], homes: Mapping[str, str], name: str) -> object:
    """Import the module of a name, note the value in the package, and return it.

    Args:
        package: the globals of the package.
        homes: the module of each name.
        name: the name.

    Raises:
        AttributeError: the package has no such name.
    """
    if name not in homes:
        raise AttributeError(f"module {package['__name__']!r} has no attribute {name!r}")
    package[name] = value = getattr(import_module(homes[name]), name)
    return value
