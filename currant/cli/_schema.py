"""``currant schema``: the JSON Schema of a configuration, for editors."""

from __future__ import annotations

import click

from currant.config import read_schema

__all__ = ["schema"]


@click.command()
def schema() -> None:
    """Print the JSON Schema of currant.toml."""
    click.echo(read_schema(), nl=False)
