"""Variables in the strings of a configuration: ``${NAME}``, ``${NAME:-default}``, and ``$$`` for $.

Any other ``$`` stays, so a shell line may use ``$PORT``.  Other forms with braces, such as
``${NAME%.txt}``, are errors and do not reach the shell, so that a later version of currant can give
them a meaning.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Expanded", "escape", "expand", "names_in"]

_REFERENCE = re.compile(
    r"""
      (?P<dollar> \$\$ )
    | \$\{ (?P<name> [A-Za-z_][A-Za-z0-9_]* ) (?: :- (?P<default> [^}]* ) )? \}
    | (?P<other> \$\{ [^}]* \}? )
    """,
    re.VERBOSE,
)

_SPECIAL = re.compile(r"\$\$+|\$(?=\{)")
"""Dollar signs that do not stand for themselves."""


class Expanded(str):
    """A text that had a variable, so it may stand for a number or a truth value."""

    __slots__ = ()


def expand(text: str, variables: Mapping[str, str], faults: list[str]) -> str:
    """Return `text` with the values of its variables.

    Args:
        text: the text.
        variables: the values, by name.
        faults: gets a message for each variable that has no value, and each wrong reference.

    Returns:
        The text; an `Expanded` if it had a variable.
    """

    def value_of(match: re.Match[str]) -> str:
        name, default = match["name"], match["default"]
        if match["dollar"]:
            return "$"
        if fault := _fault(match, variables):
            faults.append(fault)
            return match[0]
        if default is not None:
            return variables.get(name) or default
        return variables[name]

    expanded = _REFERENCE.sub(value_of, text)
    has_variable = any(match["name"] for match in _REFERENCE.finditer(text))
    return Expanded(expanded) if has_variable else expanded


def names_in(text: str) -> set[str]:
    """Return the names of the variables in a text."""
    return {match["name"] for match in _REFERENCE.finditer(text) if match["name"]}


def _fault(match: re.Match[str], variables: Mapping[str, str]) -> str | None:
    """Return a message about a wrong reference; None if the reference is right."""
    name, default, other = match["name"], match["default"], match["other"]
    if other is not None:
        if not other.endswith("}"):
            return (
                f"{other!r} has no closing brace; write $${{ for a brace that the shell is to see"
            )
        return (
            f"{other!r} is neither ${{NAME}} nor ${{NAME:-default}}; write ${other} to leave it to "
            "the shell"
        )
    if default is None:
        return None if name in variables else _unset(name)
    return (
        f"the default of {name} has another variable in it: {default!r}"
        if "${" in default
        else None
    )


def _unset(name: str) -> str:
    return (
        f"the variable {name} is not set; set it in the environment, in a file of variables or in "
        f"env at the top level, give a default with ${{{name}:-...}}, or write $${{{name}}} to "
        "leave it to the shell"
    )


def escape(text: str) -> str:
    """Return `text` in a form that `expand` turns into `text`."""
    return _SPECIAL.sub(lambda match: 2 * match[0], text)
