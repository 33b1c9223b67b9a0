"""Environment variables that are added to those that a process inherits."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import cast

from currant._values.checks import check_encodable
from currant._values.errors import CommandError

__all__ = ["NO_VARIABLES", "checked_env"]


NO_VARIABLES: Mapping[str, str] = MappingProxyType({})


def checked_env(env: object) -> Mapping[str, str]:
    """Check that `env` maps names of variables to values, and return a read-only copy."""
    if env is NO_VARIABLES:
        return NO_VARIABLES
    if not isinstance(env, Mapping):
        raise CommandError(f"env must be a mapping from str to str, not {env!r}")
    given = cast("Mapping[object, object]", env)
    for key, value in given.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise CommandError(
                f"env must map str to str, not {key!r} to a value of type {type(value).__name__}"
            )
        if not key or "=" in key:
            raise CommandError(f"the name of a variable must not be empty or contain '=': {key!r}")
        check_encodable("the name of a variable", key)
        check_encodable(f"the variable {key}", value)
    return MappingProxyType(cast("dict[str, str]", dict(given)))
