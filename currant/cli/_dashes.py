"""Subcommands that have words of their own after ``--``."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["RunCommand", "split_at_dashes", "words_for"]

DASHES = "--"


class RunCommand(click.Command):
    """`currant run`, whose commands may have arguments after ``--``.

    A ``--`` before the first command ends the options, as for other programs.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        words, arguments = split_at_dashes(args)
        if arguments is not None and not words_for(self, ctx, "commands", words):
            words, arguments = args, None
        rest = super().parse_args(ctx, words)
        ctx.params["arguments"] = arguments
        return rest

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "[-- ARGUMENT...]"]


def split_at_dashes(words: Sequence[str]) -> tuple[list[str], list[str] | None]:
    """Return the words before and after the first ``--``; None if there is no ``--``."""
    given = list(words)
    if DASHES not in given:
        return given, None
    place = given.index(DASHES)
    return given[:place], given[place + 1 :]


def words_for(
    command: click.Command, context: click.Context, name: str, words: Sequence[str]
) -> Sequence[str]:
    """Return the words that are values of the argument `name`, and not of an option.

    Raises:
        click.UsageError: the words are wrong.
    """
    values, _, _ = command.make_parser(context).parse_args(list(words))
    found = values.get(name)
    # click has a value of its own for an argument without words.
    return cast("tuple[str, ...]", found) if isinstance(found, tuple) else ()
