"""The subcommands of `currant` and their options, declared for click.

`currant.cli._build` turns the options into a Runner, and `currant.cli._run` runs the Runner.
"""

from __future__ import annotations

import os
import signal as signals
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, ParamSpec, get_args

import anyio
import click

from currant._values.errors import CurrantError, HostLostError
from currant._values.launch_spec import KillMode, Leftovers
from currant._values.policies import KillOthersOn
from currant._values.restart import RestartWhen
from currant.cli._build import (
    FILES_PER_HOST,
    OTHER_FILES,
    raise_file_limit,
    runner_from_command_lines,
    runner_from_procfile,
)
from currant.cli._host_options import HOST_OPTIONS, PLACE_OPTIONS, add_options
from currant.cli._hosts import chosen_hosts, way_to_hosts
from currant.cli._parsers import Seconds, parse_process_count, parse_signal, parse_size, parse_words
from currant.cli._peers import advice_on
from currant.cli._procfile import read_application
from currant.cli._run import run_commands
from currant.cli._signals import SignalStatus, die_of
from currant.cli._summary import show_summary
from currant.sinks import Color

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import NoReturn, Unpack

    from currant.cli._build import Prepared
    from currant.cli._options import HostOptions, Options, RunOptions, StartOptions

P = ParamSpec("P")

USAGE_ERROR = 2


def run_command_line() -> None:
    """Run the subcommand that the program's arguments name, and end the program.

    A usage error is reported in one line on stderr.
    """
    try:
        status = currant.main(standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        status = USAGE_ERROR
    except click.UsageError as error:
        advice = advice_on(error.option_name) if isinstance(error, click.NoSuchOption) else ""
        click.echo(f"currant: {' '.join((error.format_message() + advice).split())}", err=True)
        status = USAGE_ERROR
    except click.Abort:  # Ctrl-C arrived before the commands were started.
        status = SignalStatus(128 + signals.SIGINT)
    except OSError as error:  # Writing the help or a list failed; click handles BrokenPipeError.
        click.echo(f"currant: cannot write the output to stdout: {error.strerror}", err=True)
        status = 1
    _exit(status)


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


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
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


def _joined(context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> str | None:
    """Return the values of an option that was given any number of times as one list."""
    del context, option
    return ",".join(given) or None


_SHARED_OPTIONS = (
    click.option("--timestamps", is_flag=True, help="Show the time of day before each line."),
    click.option(
        "-r",
        "--raw",
        is_flag=True,
        help="Show the output unchanged, without prefixes and with all control sequences.",
    ),
    click.option(
        "-g",
        "--group",
        is_flag=True,
        help="Show the output of each command in one block, when the command has ended.",
    ),
    click.option(
        "--merge/--no-merge",
        default=None,
        help="Show stderr on stdout, in the order written.  [default: if both are one terminal, "
        "file or pipe, without --json and {stream}]",
    ),
    click.option(
        "--color",
        type=click.Choice(get_args(Color)),
        default="auto",
        show_default=True,
        help="When to colour the names; auto: on a terminal, unless NO_COLOR, FORCE_COLOR, "
        "CLICOLOR or TERM=dumb says otherwise.",
    ),
    click.option(
        "--hide",
        metavar="A,B,…",
        multiple=True,
        callback=_joined,
        help="Do not show the output of these commands, given by name or by index from 0.",
    ),
    click.option("--json", is_flag=True, help="Write each line and event as a JSON object."),
    click.option(
        "--log-dir",
        type=click.Path(file_okay=False),
        metavar="DIR",
        help="Also append the output of each command to DIR/NAME.log, on a host to "
        "DIR/HOST/NAME.log, without colours unless "
        "--color always; if a file cannot be written, currant goes on and says what is missing.",
    ),
    click.option("--summary", is_flag=True, help="Show at the end how each command ended."),
    click.option(
        "--restart",
        type=click.Choice(get_args(RestartWhen)),
        default="never",
        show_default=True,
        help="Restart a command that has exited by itself, after a growing delay.",
    ),
    click.option(
        "--max-restarts",
        type=click.IntRange(min=0),
        metavar="N",
        help="Give up after N restarts in a row.",
    ),
    click.option(
        "--restart-delay",
        type=Seconds(min=0),
        metavar="S",
        help="Seconds before the first restart.  [default: 0.1]",
    ),
    click.option(
        "--restart-factor",
        type=click.FloatRange(min=1),
        metavar="N",
        help="Multiplies the delay before each further restart.  [default: 2]",
    ),
    click.option(
        "--grace",
        type=Seconds(min=0),
        default=5.0,
        show_default=True,
        metavar="S",
        help="Seconds between the request to stop and SIGKILL.",
    ),
    click.option(
        "--idle-timeout",
        type=Seconds(min=0, min_open=True),
        metavar="S",
        help="Stop a command that writes nothing for S seconds; it has failed.",
    ),
    click.option(
        "--max-output",
        type=parse_size,
        metavar="BYTES",
        help="Stop a command that writes more than so many bytes, or KiB, MiB or GiB with the unit "
        "k, M or G; it has failed.",
    ),
    click.option(
        "--stop-signal",
        type=parse_signal,
        default="TERM",
        show_default=True,
        metavar="SIGNAL",
        help="Signal that asks a command to stop.",
    ),
    click.option(
        "--stdin",
        type=click.Choice(("open", "null")),
        default="open",
        show_default=True,
        help="The stdin of the commands: open, a pipe that stays open and silent, or null, "
        "/dev/null.",
    ),
    click.option(
        "--kill-mode",
        type=click.Choice(get_args(KillMode)),
        default="group",
        show_default=True,
        help="The processes that a stop asks: the whole process group, or (mixed) the first "
        "process alone, which stops its workers itself.  With mixed, begin the last of several "
        "commands in a line with exec.  SIGKILL goes to the whole group.",
    ),
    click.option(
        "--leftovers",
        type=click.Choice(get_args(Leftovers)),
        default="stop",
        show_default=True,
        help="When the first process of a command exits, stop the processes that it leaves behind, "
        "wait for them, or, after a success, let them live.",
    ),
    click.option(
        "--cgroup",
        type=click.Choice(("no", "yes", "auto")),
        default="no",
        show_default=True,
        help="Give each command a control group of Linux, so that a daemon that hides ends with "
        "it; auto: if that is possible here.",
    ),
    click.option(
        "--wrap",
        type=parse_words,
        default="",
        metavar="WORDS",
        help="Words to put before each command, of a program that runs another one: 'nice -n 10', "
        "'prlimit --as=1000000000 --', a sandbox.  Quoted as in a shell.",
    ),
    click.option(
        "-s",
        "--success",
        default="all",
        show_default=True,
        metavar="all|first|last|NAME|!NAME",
        help="Which command's failure sets the exit status: any command (all), the first or last "
        "to end, NAME, or any but NAME.",
    ),
)

_PREFIX_HELP = (
    "Prefix of each line: name, index (from 0), command, pid, time, none; or a text with the "
    "fields {name}, {index}, {command}, {host}, {pid}, {time}, {stream}, {attempt}, {elapsed}.  "
    "[default: {name} | ]"
)


def _prefix_length_option(*flags: str) -> Callable[[Callable[P, None]], Callable[P, None]]:
    return click.option(
        *flags,
        "--prefix-length",
        type=click.IntRange(min=1),
        metavar="N",
        help="Shorten a command line in a prefix to N characters.  [default: 10]",
    )


_procfile_option = click.option(
    "-f",
    "--procfile",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="The Procfile.  [default: the variable PROCFILE, or Procfile]",
)
_env_option = click.option(
    "-e",
    "--env",
    "--env-file",
    "env",
    metavar="FILE,…",
    help="Files of variables for the processes, one NAME=value per line.  "
    "[default: .env beside the Procfile]",
)


def _cwd_option(default: str) -> Callable[[Callable[P, None]], Callable[P, None]]:
    return click.option(
        "--cwd",
        metavar="DIR",
        help=f"Run the commands in this directory, on their host if there are --hosts.  [default: "
        f"{default}; on a host, where ssh begins]",
    )


def _kill_others_on_option(
    default: KillOthersOn | None,
) -> Callable[[Callable[P, None]], Callable[P, None]]:
    return click.option(
        "-k",
        "--kill-others-on",
        type=click.Choice(get_args(KillOthersOn)),
        default=default,
        show_default=True,
        help="Stop all commands when one ends this way, and say which one did.",
    )


@currant.command()
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
@_kill_others_on_option(None)
@click.option(
    "--env-file",
    multiple=True,
    metavar="FILE",
    help="A file of variables for the commands, one NAME=value per line; may be repeated.",
)
@_cwd_option("the current one")
@click.option("-p", "--prefix", metavar="TEXT", help=_PREFIX_HELP)
@_prefix_length_option("-l")
@click.option("-q", "--quiet", is_flag=True, help="Hide currant's own messages.")
@add_options(_SHARED_OPTIONS, HOST_OPTIONS, PLACE_OPTIONS)
@click.argument("commands", metavar="COMMAND...", nargs=-1, required=True)
def run(commands: Sequence[str], **options: Unpack[RunOptions]) -> None:
    """Run each COMMAND in a shell and show the output.

    Ctrl-C stops all commands; a second Ctrl-C kills them.  The exit status is the exit code of the
    first command that failed, or 128 + n if signal n killed the command.  A command that currant
    stopped has not failed.  A signal that stops currant also ends a shell loop around it.  Without
    --names, a command is named after its program, but 'npm run dev' is named dev, and 'python -m
    http.server' http.server.
    """
    _run_and_exit(lambda: runner_from_command_lines(commands, options), options)


@currant.command()
@_procfile_option
@_env_option
@click.option(
    "-m",
    "--formation",
    metavar="A=N,…",
    multiple=True,
    callback=_joined,
    help="Start N instances of each process named, such as web=2,worker=1, and none of the others; "
    "all=N sets the others.",
)
@click.option(
    "-c",
    "--concurrency",
    metavar="A=N,…",
    multiple=True,
    callback=_joined,
    help="As --formation, but start one instance of each other process.",
)
@click.option(
    "-p",
    "--port",
    metavar="N",
    help="PORT of the first process type; 100 more for each further type, 1 more for each "
    "instance.  [default: the variable PORT, or 5000]",
)
@_kill_others_on_option("exit")
@_cwd_option("the Procfile's")
@click.option("--prefix", metavar="TEXT", help=_PREFIX_HELP)
@_prefix_length_option()
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
@add_options(_SHARED_OPTIONS, HOST_OPTIONS, PLACE_OPTIONS)
@click.argument("names", metavar="[NAME]...", nargs=-1)
def start(names: Sequence[str], **options: Unpack[StartOptions]) -> None:
    """Start the processes of a Procfile: all, or each NAME.

    When one process ends, currant stops the others.  Ctrl-C stops all processes; a second Ctrl-C
    kills them.  The exit status is as for `run`.
    """
    _run_and_exit(lambda: runner_from_procfile(names, options), options)


@currant.command()
@_procfile_option
@_env_option
def check(procfile: str | None, env: str | None) -> None:
    """Check a Procfile and list its processes; start nothing."""
    try:
        application = read_application(procfile, env)
    except CurrantError as error:
        raise click.UsageError(str(error)) from error
    width = max(map(len, application.processes))
    for name, line in application.processes.items():
        click.echo(f"{name:{width}} | {line}")


@currant.group()
def hosts() -> None:
    """See which hosts can run commands."""


@hosts.command("check")
@add_options(HOST_OPTIONS)
@click.option("--json", "as_json", is_flag=True, help="Write a JSON object for each host.")
def check_hosts_and_exit(*, as_json: bool, **options: Unpack[HostOptions]) -> None:
    """Connect to each host, and show what it has: its Python, its processors, how far away it is.

    All hosts are asked at the same time, and each has 15 seconds.  The exit status is 1 if any of
    them cannot run commands.
    """
    if not (options["hosts"] or options["hosts_file"]):
        raise click.UsageError("give the hosts, with --hosts or --hosts-file")
    from currant.cli import _check_hosts as checking  # noqa: PLC0415 - most runs have no hosts

    try:
        chosen = chosen_hosts(options)
        raise_file_limit(len(chosen) * FILES_PER_HOST + OTHER_FILES)
        findings = anyio.run(checking.check_hosts, chosen, way_to_hosts(options))
    except CurrantError as error:
        raise click.UsageError(str(error)) from error
    (checking.show_as_json if as_json else checking.show_as_table)(findings)
    _exit(1 if any(finding.problem for finding in findings) else 0)


def _run_and_exit(build: Callable[[], Prepared], options: Options) -> NoReturn:
    """Run the Runner that `build` returns, and end the program with the exit status."""
    try:
        runner, record = build()
        status = run_commands(runner, options["success"])
        if options["summary"]:
            if signals.getsignal(signals.SIGINT) is signals.default_int_handler:
                # Writing the table may block, for example on a terminal that accepts no output.
                # Ctrl-C must still end the program.
                signals.signal(signals.SIGINT, signals.SIG_DFL)
            with suppress(OSError):  # stderr cannot be written, so the error cannot be reported.
                lost = None if record is None else record.lost
                show_summary(runner.results.values(), options["color"], lost)
    except HostLostError as error:  # No host at all can be reached.
        click.echo(f"currant: {error}", err=True)
        status = 1
    except (CurrantError, ValueError) as error:
        click.echo(f"currant: {error}", err=True)
        status = USAGE_ERROR
    _exit(status)


def _exit(status: int | None) -> NoReturn:
    """End the program without a wait for threads: one may be blocked in a write.

    If a signal has ended currant, currant dies of that signal.
    """
    with suppress(OSError):  # The disk may be full, but that error has been reported.
        sys.stdout.flush()
    if isinstance(status, SignalStatus):
        die_of(status.signal)
    os._exit(status or 0)
