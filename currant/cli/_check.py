"""``currant check``: the commands of ``currant start``, with their order and settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from currant._values.errors import CurrantError
from currant._values.printable import printable
from currant.cli._config_options import FILE_OPTIONS
from currant.cli._errors import report_error
from currant.cli._host_options import add_options
from currant.cli._prepare.from_config import config_files, config_to_start, read_config
from currant.cli._prepare.from_procfile import read_instances
from currant.config._procfile import read_application
from currant.config._toml import to_toml

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from currant._values.command import Command
    from currant.cli._options import StartOptions
    from currant.config import Config

__all__ = ["check", "show_start"]


@click.command()
@add_options(FILE_OPTIONS)
def check(files: Sequence[str], env: str | None) -> int:
    """Check a configuration or a Procfile, and list its commands.

    Nothing is started.  The commands of a configuration are listed in the order in which they
    start, with their settings.  All mistakes are reported, each with its file and line.
    """
    try:
        paths = config_files(files)
        if paths is None:
            show_lines(read_application(files, env).processes)
        else:
            config = read_config(paths, env)
            show_commands(config, config.commands)
    except CurrantError as error:
        return report_error(error)
    return 0


def show_start(names: Sequence[str], options: StartOptions, given: Collection[str]) -> int:
    """Show the commands that ``currant start`` would start, and return the exit status."""
    try:
        config = config_to_start(options, given)
        if config is not None:
            show_commands(config, config.select(names, options["profile"]))
        else:
            _, instances = read_instances(names, options)
            entries = ((each.name, [each.line, f"PORT = {each.port}"]) for each in instances)
            for line in _rows(entries):
                click.echo(line)
    except CurrantError as error:
        return report_error(error)
    return 0


def show_lines(lines: Mapping[str, str]) -> None:
    """Show the lines of a Procfile."""
    for line in _rows((name, [line]) for name, line in lines.items()):
        click.echo(line)


def show_commands(config: Config, commands: Iterable[Command]) -> None:
    """Show the settings for all commands, and then each command with its own settings.

    Args:
        config: the configuration.
        commands: the commands to show.
    """
    click.echo(f"# {', '.join(map(printable, config.sources))}")
    for line in _settings(config.values):
        click.echo(line)
    click.echo()
    tables = config.values["commands"]
    rows = (
        (command.name, [_line(tables[command.name]["command"]), *_settings(tables[command.name])])
        for command in config.in_order(commands)
    )
    for line in _rows(rows):
        click.echo(line)


def _line(command: str | Sequence[str]) -> str:
    return command.rstrip() if isinstance(command, str) else to_toml(command)


def _settings(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield the settings, of variables only the names: their values may be secrets."""
    for key, value in values.items():
        if key == "env":
            yield f"env = {', '.join(value)}"
        elif key not in ("command", "commands"):
            yield f"{key} = {to_toml(value)}"


def _rows(entries: Iterable[tuple[str, Iterable[str]]]) -> Iterator[str]:
    """Yield the lines of each command, the first of them behind its name."""
    named = [(printable(name), list(lines)) for name, lines in entries]
    width = max(len(name) for name, _ in named)
    for name, (line, *settings) in named:
        first, *more = map(printable, line.split("\n"))
        yield f"{name:{width}} | {first}"
        for text in more:
            yield f"{'':{width}} | {text}"
        for text in settings:
            yield f"{'':{width}} |   {text}"
