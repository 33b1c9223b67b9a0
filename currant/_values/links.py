"""The options of a command that name other commands: `after` and `restart_with`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias, cast, get_args

from currant._values.errors import CommandError

__all__ = ["NO_NEEDS", "After", "Condition", "checked_after", "checked_names"]

Condition: TypeAlias = Literal["ready", "started", "succeeded", "ended"]
"""What a command waits for, of another command."""

After: TypeAlias = "str | Iterable[str] | Mapping[str, Condition | None]"
"""The forms in which a command accepts `after`."""

NO_NEEDS: Mapping[str, Condition | None] = MappingProxyType({})


def checked_after(after: object) -> Mapping[str, Condition | None]:
    """Return the `after` of a command as a condition for each name; None: the usual one."""
    if after == ():
        return NO_NEEDS
    names: object = [after] if isinstance(after, str) else after
    if not isinstance(names, Iterable):
        raise CommandError(f"after must be names of commands, not {after!r}")
    if isinstance(names, Mapping):
        needs = dict(cast("Mapping[object, object]", names))
    else:
        given = list(cast("Iterable[object]", names))
        if not all(isinstance(name, str) for name in given):
            raise CommandError(f"after must be names of commands, not {after!r}")
        needs = dict.fromkeys(given)
    for name, condition in needs.items():
        if not isinstance(name, str) or not name:
            raise CommandError(f"after must be names of commands, not {name!r}")
        if condition is not None and condition not in get_args(Condition):
            raise CommandError(
                f"after: the condition of {name!r} must be 'ready', 'started', 'succeeded' or "
                f"'ended', not {condition!r}"
            )
    return MappingProxyType(cast("dict[str, Condition | None]", needs))


def checked_names(what: str, names: object) -> tuple[str, ...]:
    """Check that `names` is a name, or names, and return each name once."""
    given: object = [names] if isinstance(names, str) else names
    if not isinstance(given, Iterable):
        raise CommandError(f"{what} must be names of commands, not {names!r}")
    checked = tuple(dict.fromkeys(cast("Iterable[object]", given)))
    if not all(isinstance(name, str) and name for name in checked):
        raise CommandError(f"{what} must be names of commands, not {names!r}")
    return cast("tuple[str, ...]", checked)
