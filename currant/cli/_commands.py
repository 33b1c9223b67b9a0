"""The options of `currant`, as click reads them.

What they mean is in `currant.cli._build`, what then happens in `currant.cli._run`.
"""

from __future__ import annotations

import os
import signal as signals
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, ParamSpec, get_args

import click

from currant._values.errors import CurrantError
from currant._values.policies import KillOthersOn
from currant._values.restart import RestartWhen
from currant.cli._build import (
    RunOptions,
    StartOptions,
    of_command_lines,
    of_procfile,
)
from currant.cli._procfile import read_application
from currant.cli._run import run_commands
from currant.cli._summary import show_summary
from currant.sinks import Color

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import NoReturn, Unpack

    from currant._supervisor.runner import Runner
    from currant.cli._build import Options

P = ParamSpec("P")

USAGE_ERROR = 2


def command_line() -> None:
    """Do what the program's arguments say, and end the program; errors of use are one line."""
    try:
        status = currant.main(standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        status = USAGE_ERROR
    except click.UsageError as error:
        click.echo(f"currant: {' '.join(error.format_message().split())}", err=True)
        status = USAGE_ERROR
    except click.Abort:  # Ctrl-C before the commands were started
        status = 128 + signals.SIGINT
    except OSError as error:  # of the help or a list; BrokenPipeError is click's affair
        click.echo(f"currant: cannot write the output: {error.strerror}", err=True)
        status = 1
    _end(status)


def _signal(text: str) -> int:
    """Return a signal by its name, with or without SIG, or by its number."""
    for name in (text.upper(), f"SIG{text.upper()}"):
        if name in signals.Signals.__members__:
            return signals.Signals[name]
    if text.isdecimal() and int(text) in signals.valid_signals():
        return int(text)
    raise click.BadParameter(f"{text!r} is no signal.")


def _process_count(text: str) -> int:
    """Return a number, or what share of the CPUs it is: at least 1."""
    number = text.removesuffix("%")
    if not number.isdecimal() or int(number) < 1:
        raise click.BadParameter(f"{text!r} is neither a number from 1 on nor a share like 50%.")
    if number == text:
        return int(number)
    # Only those that this process may use, where the system tells.
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, round((cpus or 1) * int(number) / 100))


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="currant")
def currant() -> None:
    """Run many commands at once; nothing of them is left behind."""


def _shared(function: Callable[P, None]) -> Callable[P, None]:
    """Add the options of all commands that run commands."""
    for option in reversed(_SHARED_OPTIONS):
        function = option(function)
    return function


_SHARED_OPTIONS = (
    click.option("--timestamps", is_flag=True, help="The time of day before each line."),
    click.option("-r", "--raw", is_flag=True, help="Show output as it is, without prefixes."),
    click.option("-g", "--group", is_flag=True, help="Show a command's output when it has ended."),
    click.option(
        "--color",
        type=click.Choice(get_args(Color)),
        default="auto",
        show_default=True,
        help="Whether names are coloured; auto: on a terminal.",
    ),
    click.option("-q", "--quiet", is_flag=True, help="Show what the commands say, and no more."),
    click.option(
        "--json", is_flag=True, help="Write a JSON object for each line and event instead."
    ),
    click.option(
        "--log-dir",
        type=click.Path(file_okay=False),
        metavar="DIR",
        help="Also add what each command writes to NAME.log there.",
    ),
    click.option("--summary", is_flag=True, help="Show at the end how each command ended."),
    click.option(
        "--restart",
        type=click.Choice(get_args(RestartWhen)),
        default="never",
        show_default=True,
        help="Start a command again that has ended by itself, after a growing wait.",
    ),
    click.option(
        "--max-restarts", type=click.IntRange(min=0), metavar="N", help="Give up after N restarts."
    ),
    click.option(
        "--restart-delay",
        type=click.FloatRange(min=0),
        metavar="S",
        help="Seconds before the first restart.  [default: 0.1]",
    ),
    click.option(
        "--grace",
        type=click.FloatRange(min=0),
        default=5.0,
        show_default=True,
        metavar="S",
        help="Seconds from asking a command to stop to killing it.",
    ),
    click.option(
        "--stop-signal",
        type=_signal,
        default="TERM",
        show_default=True,
        metavar="SIGNAL",
        help="What asks a command to stop.",
    ),
    click.option(
        "-s",
        "--success",
        default="all",
        show_default=True,
        metavar="all|first|last|NAME",
        help="Whose failure makes the exit status: any, that of the first or last to end, or of "
        "NAME.",
    ),
)

_PREFIX_HELP = (
    "What stands before each line; may have {name}, {pid}, {stream}, {attempt}, {time}, "
    "{elapsed}.  [default: {name} | ]"
)

_procfile = click.option(
    "-f",
    "--procfile",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="The Procfile.  [default: what PROCFILE says, or Procfile]",
)
_env = click.option(
    "-e",
    "--env",
    "--env-file",
    "env",
    metavar="FILE,…",
    help="Files of variables for the processes.  [default: .env beside the Procfile]",
)


def _cwd(where: str) -> Callable[[Callable[P, None]], Callable[P, None]]:
    return click.option(
        "--cwd",
        type=click.Path(exists=True, file_okay=False),
        metavar="DIR",
        help=f"Run the commands there.  [default: {where}]",
    )


def _kill_others_on(
    default: KillOthersOn | None,
) -> Callable[[Callable[P, None]], Callable[P, None]]:
    return click.option(
        "-k",
        "--kill-others-on",
        type=click.Choice(get_args(KillOthersOn)),
        default=default,
        show_default=True,
        help="Stop all when one command ends this way.",
    )


@currant.command()
@click.option("-n", "--names", metavar="A,B,…", help="A name for each command, in order.")
@click.option(
    "-c",
    "--colors",
    metavar="A,B,…",
    help="A colour for each command, in order: cyan, bold red, #ff8800; auto or none: any.",
)
@click.option(
    "-m",
    "--max-processes",
    type=_process_count,
    metavar="N",
    help="Run at most N at the same time, or 50% of the CPUs; the others wait their turn.",
)
@_kill_others_on(None)
@click.option(
    "--env-file",
    multiple=True,
    metavar="FILE",
    help="A file of variables for the commands, NAME=value a line; may be given again.",
)
@_cwd("here")
@click.option("-p", "--prefix", metavar="TEXT", help=_PREFIX_HELP)
@_shared
@click.argument("commands", metavar="COMMAND...", nargs=-1, required=True)
def run(commands: Sequence[str], **options: Unpack[RunOptions]) -> None:
    """Run each COMMAND, one line for the shell, and show what they write.

    Ctrl-C stops all of them; a second one kills what does not stop.  The exit status is that of the
    first command that failed, 128 + n where signal n ended it; what was stopped has not failed.
    """
    _run_to_the_end(lambda: of_command_lines(commands, options), options)


@currant.command()
@_procfile
@_env
@click.option(
    "-m",
    "-c",
    "--formation",
    "--concurrency",
    "formation",
    default="",
    metavar="A=N,…",
    help="How many of each process to start, such as web=2,worker=0; all=N: of those not named.  "
    "[default: 1]",
)
@click.option(
    "-p",
    "--port",
    metavar="N",
    help="PORT of the first process; each further one has 100 more, its instances 1 more.  "
    "[default: what PORT says, or 5000]",
)
@_kill_others_on("exit")
@_cwd("the Procfile's folder")
@click.option("--prefix", metavar="TEXT", help=_PREFIX_HELP)
@_shared
@click.argument("names", metavar="[NAME]...", nargs=-1)
def start(names: Sequence[str], **options: Unpack[StartOptions]) -> None:
    """Start the processes of a Procfile, or those called NAME.

    When one of them ends, the others are stopped; Ctrl-C stops all of them, and a second one kills
    what does not stop.  The exit status is as for `run`.
    """
    _run_to_the_end(lambda: of_procfile(names, options), options)


@currant.command()
@_procfile
@_env
def check(procfile: str | None, env: str | None) -> None:
    """Read a Procfile and list its processes; start nothing."""
    try:
        application = read_application(procfile, env)
    except CurrantError as error:
        raise click.UsageError(str(error)) from error
    width = max(map(len, application.processes))
    for name, line in application.processes.items():
        click.echo(f"{name:{width}} | {line}")


def _run_to_the_end(build: Callable[[], Runner], options: Options) -> NoReturn:
    """Run what `build` makes of the options, and end the program."""
    try:
        runner = build()
        status = run_commands(runner, options["success"])
        if options["summary"]:
            if signals.getsignal(signals.SIGINT) is signals.default_int_handler:
                signals.signal(signals.SIGINT, signals.SIG_DFL)  # a terminal may take nothing
            with suppress(OSError):  # nobody is left to be told
                show_summary(runner.results.values(), options["color"])
    except (CurrantError, ValueError) as error:
        click.echo(f"currant: {error}", err=True)
        status = USAGE_ERROR
    _end(status)


def _end(status: int | None) -> NoReturn:
    """End the program at once: a thread may still be writing to a file that takes nothing."""
    with suppress(OSError):  # a full disk, and that has been told
        sys.stdout.flush()
    os._exit(status or 0)
