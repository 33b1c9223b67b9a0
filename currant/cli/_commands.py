"""The group of all subcommands, each of which is imported when it is used."""

from __future__ import annotations

import click

from currant.cli._lazy import LazyGroup
from currant.cli._program import run_group
from currant.cli._stack_group import STACK_COMMANDS

__all__ = ["currant", "run_command_line"]


def run_command_line() -> None:
    """Run the subcommand that the program's arguments name, and end the program."""
    run_group(currant)


def _show_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    """Show the version, which a copy of the package alone, as in a zipapp, does not have."""
    if not wanted or context.resilient_parsing:
        return
    from importlib import metadata  # noqa: PLC0415 - slow, and rarely needed

    try:
        version = metadata.version("currant")
    except metadata.PackageNotFoundError:
        version = "unknown: currant was copied without its metadata"
    click.echo(f"currant, version {version}")
    context.exit()


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    elsewhere={
        "check": "currant.cli._check:check",
        "completion": "currant.cli._completion:show_completion",
        "exec": "currant.cli._exec:run_with_environment",
        "graph": "currant.cli._graph:graph",
        "hosts": "currant.cli._check_hosts:hosts",
        "init": "currant.cli._write_config:init",
        "map": "currant.cli._map.command:map_items",
        "report": "currant.cli._report:report",
        "run": "currant.cli._run_commands:run",
        "schema": "currant.cli._schema:schema",
        "start": "currant.cli._run_commands:start",
        "with": "currant.cli._with.command:run_with_servers",
        **STACK_COMMANDS,
    },
    sections={
        "Run commands": ("run", "start", "with", "map", "exec"),
        "Talk to a running stack": (
            "ps",
            "logs",
            "attach",
            "send",
            "up",
            "stop",
            "restart",
            "signal",
            "wait",
            "reload",
            "down",
            "mcp",
        ),
        "Write and check a configuration": ("init", "check", "graph", "schema"),
        "Look at a run": ("report",),
    },
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
def currant() -> None:
    """Run many commands at once, and leave no process behind."""
