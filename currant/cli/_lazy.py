"""A group that imports a subcommand when it is used, and lists its subcommands in sections."""

from __future__ import annotations

from importlib import import_module
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["LazyGroup"]


class LazyGroup(click.Group):
    """A group of subcommands, most of which live in modules that most runs do not need.

    Args:
        elsewhere: the modules of these subcommands: the name -> ``MODULE:ATTRIBUTE``.
        sections: the subcommands under each heading of ``--help``; a last section has the others.
        more: the arguments of `click.Group`.
    """

    def __init__(
        self,
        *,
        elsewhere: Mapping[str, str],
        sections: Mapping[str, Sequence[str]] = MappingProxyType({}),
        **more: Any,  # noqa: ANN401 - as click.Group
    ) -> None:
        super().__init__(**more)
        self._elsewhere = elsewhere
        self.sections = sections

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all subcommands."""
        return sorted({*super().list_commands(ctx), *self._elsewhere})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a subcommand; import it if need be."""
        place = self._elsewhere.get(cmd_name)
        if place is None:
            return super().get_command(ctx, cmd_name)
        module, attribute = place.split(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the subcommand that the arguments name.

        Raises:
            click.UsageError: there is no such subcommand; the error names the nearest one.
        """
        name, names = args[0], self.list_commands(ctx)
        is_typed = not ctx.resilient_parsing  # The completion of a shell wants no error.
        if is_typed and name not in names and not name.startswith("-"):
            from difflib import get_close_matches  # noqa: PLC0415 - for errors only

            close = get_close_matches(name, names, 1)
            hint = f"; did you mean '{ctx.command_path} {close[0]}'?" if close else ";"
            ctx.fail(
                f"there is no subcommand {name!r}{hint} '{ctx.command_path} --help' lists them all"
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a line for each subcommand, in sections."""
        names = self.list_commands(ctx)
        placed = set(chain.from_iterable(self.sections.values()))
        others = [name for name in names if name not in placed]
        title = "Other commands" if self.sections else "Commands"
        width = max(map(len, names))
        room = formatter.width - width - 6  # the indentation, the gap, and a margin
        for heading, members in {**self.sections, title: others}.items():
            commands = [(name, self.get_command(ctx, name)) for name in members]
            rows = [
                (name.ljust(width), command.get_short_help_str(room))
                for name, command in commands
                if command is not None
            ]
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)
