"""Subcommands that have words of their own behind ``--``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import click

__all__ = ["split_at_dashes", "words_for"]

DASHES = "--"


def split_at_dashes(words: Sequence[str]) -> tuple[list[str], list[str] | None]:
    """Return the words before the first ``--`` and those behind it; None if there is no ``--``."""
    given = list(words)
    if DASHES not in given:
        return given, None
    place = given.index(DASHES)
    return given[:place], given[place + 1 :]


def words_for(
    command: click.Command, context: click.Context, name: str, words: Sequence[str]
) -> Sequence[str]:
    """Return those of `words` that are values of the argument `name`, and not of an option.

    Raises:
        click.UsageError: the words are wrong.
    """
    values, _, _ = command.make_parser(context).parse_args(list(words))
    found = values.get(name)
    return found if isinstance(found, tuple) else ()  # click has a mark of its own for none.
