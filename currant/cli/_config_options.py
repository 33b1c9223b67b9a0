"""The options of the subcommands that read a configuration or Procfiles."""

from __future__ import annotations

import click

__all__ = ["FILE_OPTIONS", "PROFILE_OPTION", "complete_command"]

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


def complete_command(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Return the commands of the configuration, or the processes, that begin with `incomplete`."""
    from currant._values.errors import CurrantError  # noqa: PLC0415 - only a shell asks
    from currant.cli._prepare.from_config import config_files, read_config  # noqa: PLC0415
    from currant.config._procfile import read_application  # noqa: PLC0415

    del parameter
    files, env = context.params.get("files") or (), context.params.get("env")
    try:
        paths = config_files(files)
        if paths is None:
            names = list(read_application(files, env).processes)
        else:
            names = [command.name for command in read_config(paths, env).commands]
    except CurrantError:
        return []
    return [name for name in names if name.startswith(incomplete)]
