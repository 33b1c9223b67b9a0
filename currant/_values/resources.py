"""Amounts of what a host has and a command takes, such as processors and licenses."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import cast

from currant._values.checks import check_encodable
from currant._values.errors import CommandError

__all__ = ["NO_RESOURCES", "checked_resources"]


NO_RESOURCES: Mapping[str, int] = MappingProxyType({})


def checked_resources(resources: object) -> Mapping[str, int]:
    """Check that `resources` maps names to whole amounts >= 0, and return a read-only copy."""
    if resources is None or resources is NO_RESOURCES:
        return NO_RESOURCES
    if not isinstance(resources, Mapping):
        raise CommandError(
            f"resources must be a mapping such as {{'cpus': 2, 'gpus': 1}}, not {resources!r}"
        )
    given = cast("Mapping[object, object]", resources)
    for name, amount in given.items():
        if not isinstance(name, str) or not name:
            raise CommandError(f"the name of a resource must be a non-empty str, not {name!r}")
        check_encodable("the name of a resource", name)
        if not isinstance(amount, int) or isinstance(amount, bool) or amount < 0:
            raise CommandError(f"the resource {name!r} must be an integer >= 0, not {amount!r}")
    return MappingProxyType(cast("dict[str, int]", dict(given)))
