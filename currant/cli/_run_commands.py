"""``currant run`` and ``currant start``, declared for click.

`currant.cli._prepare` turns the options into a Runner, and `currant.cli._run` runs the Runner.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from currant._values.errors import CommandError
from currant.cli._config_options import FILE_OPTIONS, PROFILE_OPTION, complete_command
from currant.cli._dashes import RunCommand
from currant.cli._errors import report_error
from currant.cli._host_options import HOST_OPTIONS, PLACE_OPTIONS, add_options
from currant.cli._parsers import parse_process_count
from currant.cli._prepare.from_command_lines import runner_for_teardown, runner_from_command_lines
from currant.cli._run_and_report import run_and_report
from currant.cli._runner_options import (
    PREFIX_HELP,
    RUNNER_OPTIONS,
    cwd_option,
    joined,
    kill_others_on_option,
    prefix_length_option,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Unpack

    from currant.cli._options import RunOptions, StartOptions

__all__ = ["run", "start"]


@click.command(cls=RunCommand)
@click.option("-n", "--names", metavar="A,B,…", help="The name of each command, in order.")
@click.option(
    "-c",
    "--colors",
    metavar="A,B,…",
    help="The colour of each command, in order: cyan, bold red, #ff8800; auto or empty: currant "
    "chooses.",
)
@click.option(
    "-m",
    "--max-processes",
    type=parse_process_count,
    metavar="N",
    help="Run at most N commands at a time, or a share of the CPUs such as 50%; the others wait.",
)
@kill_others_on_option(None)
@click.option(
    "--env-file",
    multiple=True,
    metavar="FILE",
    help="A file of variables for the commands, one NAME=value per line; may be repeated.",
)
@cwd_option("the current one")
@click.option(
    "--teardown",
    multiple=True,
    metavar="COMMAND",
    help="Run COMMAND when all others have ended, also after Ctrl-C; may be repeated.",
)
@click.option(
    "--watch",
    multiple=True,
    metavar="PATH",
    help="Restart the commands when this file, or a file below this folder, changes; may be "
    "repeated.  A command that has ended starts again.",
)
@click.option(
    "--watch-ignore",
    multiple=True,
    metavar="PATTERN",
    help="Do not watch these files, besides those that .gitignore names; may be repeated.",
)
@click.option("-p", "--prefix", metavar="TEXT", help=PREFIX_HELP)
@prefix_length_option("-l")
@click.option("-q", "--quiet", is_flag=True, help="Hide currant's own messages.")
@add_options(RUNNER_OPTIONS, HOST_OPTIONS, PLACE_OPTIONS)
@click.argument("commands", metavar="COMMAND...", nargs=-1, required=True)
def run(commands: Sequence[str], **options: Unpack[RunOptions]) -> int:
    """Run each COMMAND in a shell and show the output.

    Ctrl-C stops all commands; a second Ctrl-C kills them.  The exit status is the exit code of the
    first command that failed, or 128 + n if signal n killed the command.  A command that currant
    stopped has not failed.  A signal that stops currant also ends a shell loop around it.  Without
    --names, a command is named after its program, but 'npm run dev' is named dev, and 'python -m
    http.server' http.server.

    npm:dev is short for 'npm run dev', and npm:watch:* for each script of package.json whose name
    fits; so are pnpm:, yarn:, bun: and node:.  A COMMAND gets the first ARGUMENT in place of {1},
    and all in place of {@}.
    """
    return run_and_report(
        "currant run",
        lambda: runner_from_command_lines(commands, options),
        options,
        teardown=lambda: runner_for_teardown(options),
    )


@click.command()
@add_options(FILE_OPTIONS, [PROFILE_OPTION])
@click.option("--dry-run", is_flag=True, help="Show what would be started, and start nothing.")
@click.option(
    "-m",
    "--formation",
    metavar="A=N,…",
    multiple=True,
    callback=joined,
    help="Start N instances of each process named, such as web=2,worker=1, and none of the others; "
    "all=N sets the others.",
)
@click.option(
    "-c",
    "--concurrency",
    metavar="A=N,…",
    multiple=True,
    callback=joined,
    help="As --formation, but start one instance of each other process.",
)
@click.option(
    "-p",
    "--port",
    metavar="N",
    help="PORT of the first process type; 100 more for each further type, 1 more for each "
    "instance.  [default: the variable PORT, or 5000]",
)
@kill_others_on_option("exit", "exit for a Procfile")
@cwd_option("that of the first file")
@click.option("--prefix", metavar="TEXT", help=PREFIX_HELP)
@prefix_length_option()
@click.option(
    "-q",
    "--quiet",
    "quiet_processes",
    is_flag=False,
    flag_value="",
    multiple=True,
    metavar="[A,B,…]",
    help="Hide currant's own messages; with names: hide the output of these processes.  May be "
    "repeated.",
)
@click.option(
    "-d",
    "--detach",
    is_flag=True,
    help="Run in the background; return when all processes are ready, and say where the log is.",
)
@add_options(RUNNER_OPTIONS, HOST_OPTIONS, PLACE_OPTIONS)
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_command)
def start(names: Sequence[str], **options: Unpack[StartOptions]) -> int:
    """Start the commands of a configuration, or of a Procfile.

    Without NAME, all commands start.  An option here replaces the value at the top level of the
    configuration.  When one process of a Procfile ends, currant stops the others.  Ctrl-C stops
    all; a second Ctrl-C kills them.  The exit status is as for `run`.  Meanwhile, ps, logs, stop,
    up, restart, signal, wait, send, attach, reload and down talk to the commands from the same
    folder.
    """
    # `run` needs neither a configuration nor a stack.
    from currant.cli._check import show_start  # noqa: PLC0415
    from currant.cli._prepare.from_config import prepare_start, project_folder  # noqa: PLC0415
    from currant.cli._start import start_stack  # noqa: PLC0415

    source_of = click.get_current_context().get_parameter_source
    given = [name for name in options if source_of(name) is ParameterSource.COMMANDLINE]
    if options["dry_run"]:
        return show_start(names, options, given)
    try:
        folder = project_folder(options["files"])
    except CommandError as error:
        return report_error(error)
    return start_stack(lambda place: prepare_start(names, options, given, place), options, folder)
