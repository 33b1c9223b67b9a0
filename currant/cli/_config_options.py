"""The options of the subcommands that read a configuration or Procfiles."""

from __future__ import annotations

import click

__all__ = ["FILE_OPTIONS", "PROFILE_OPTION"]

FILE_OPTIONS = (
    click.option(
        "-f",
        "--file",
        "--procfile",
        "files",
        type=click.Path(dir_okay=False),
        multiple=True,
        metavar="FILE",
        help="A configuration (*.toml) or a Procfile; may be repeated, and later files replace "
        "values of earlier ones.  [default: currant.toml or pyproject.toml, in this folder or "
        "above it; otherwise the variable PROCFILE, or Procfile]",
    ),
    click.option(
        "-e",
        "--env",
        "--env-file",
        "env",
        metavar="FILE,…",
        help="Files of variables for the commands, one NAME=value per line.  "
        "[default: env_file in the configuration, or .env beside the first file]",
    ),
)

PROFILE_OPTION = click.option(
    "--profile",
    multiple=True,
    metavar="NAME",
    help="Also start the commands of this profile of the configuration; may be repeated.",
)
