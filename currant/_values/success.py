"""The commands whose failure counts: ``success`` in a configuration, ``--success`` for a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from currant._values.results import Result

__all__ = ["by_name_or_index", "select_results", "selected_by_success"]

_ENDS = ("all", "first", "last")


def select_results(
    results: Sequence[Result], success: str, names: Sequence[str]
) -> Sequence[Result]:
    """Return the results that `success` selects.

    Args:
        results: the results in the order in which the commands ended.
        success: as for `selected_by_success`.
        names: all commands, in order.
    """
    match success:
        case "first":
            return results[:1]
        case "last":
            return results[-1:]
        case _:
            selected = selected_by_success(success, names) or ()
            return [result for result in results if result.command in selected]


def selected_by_success(success: str, names: Sequence[str]) -> Collection[str] | None:
    """Return the commands that may count; None if `success` names a command that does not exist.

    Args:
        success: ``all``; ``first`` or ``last`` to end; ``NAME``, ``!NAME``; or as for concurrently
            ``command-NAME``, ``command-INDEX``, ``!command-...``.  The index is from 0.
        names: all commands, in order.
    """
    if success in names:  # A name may begin with "!".
        return [success]
    if success in _ENDS:
        return names
    excludes = success.startswith("!")
    given = success.removeprefix("!")
    name = given if given in names else _by_prefix(given, names)
    if name is None:
        return None
    return [other for other in names if other != name] if excludes else [name]


def _by_prefix(text: str, names: Sequence[str]) -> str | None:
    """Return the command that ``command-NAME`` or ``command-INDEX`` stands for."""
    given = text.removeprefix("command-")
    return None if given == text else by_name_or_index(given, names)


def by_name_or_index(text: str, names: Sequence[str]) -> str | None:
    """Return the command with a name or an index from 0; None if there is none."""
    if text in names:
        return text
    return {str(index): name for index, name in enumerate(names)}.get(text)
