"""A group of subcommands that are imported when they are used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LazyGroup"]


class LazyGroup(click.Group):
    """A group some of whose subcommands live in modules that most runs do not need.

    Args:
        elsewhere: where these subcommands are: the name -> ``MODULE:ATTRIBUTE``.
        more: the arguments of `click.Group`.
    """

    def __init__(self, *, elsewhere: Mapping[str, str], **more: Any) -> None:  # noqa: ANN401 - those of click
        super().__init__(**more)
        self._elsewhere = elsewhere

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
