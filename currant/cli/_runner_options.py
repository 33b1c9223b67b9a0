"""The options of all subcommands that run commands: for the output, and for the commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, get_args

import click

from currant._values.launch_spec import KillMode, Leftovers
from currant._values.policies import KillOthersOn
from currant._values.restart import RestartWhen
from currant.cli._parsers import Seconds, parse_signal, parse_size, parse_words
from currant.sinks import Color

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "COLOR_OPTION",
    "GRACE_OPTION",
    "JUNIT_OPTION",
    "LOG_OPTION",
    "PREFIX_HELP",
    "RUNNER_OPTIONS",
    "TRACE_OPTION",
    "cwd_option",
    "joined",
    "kill_others_on_option",
    "prefix_length_option",
]

F = TypeVar("F", bound="Callable[..., object]")


def joined(context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> str | None:
    """Return the values of an option that was given any number of times as one list."""
    del context, option
    return ",".join(given) or None


COLOR_OPTION = click.option(
    "--color",
    type=click.Choice(get_args(Color)),
    default="auto",
    show_default=True,
    help="When to colour the names; auto: on a terminal, unless NO_COLOR, FORCE_COLOR, "
    "CLICOLOR or TERM=dumb says otherwise.",
)
LOG_OPTION = click.option(
    "--log-dir",
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="Also append the output of each command to DIR/NAME.log, on a host to "
    "DIR/HOST/NAME.log, without colours unless "
    "--color always; if a file cannot be written, currant goes on and says what is missing.",
)
JUNIT_OPTION = click.option(
    "--junit",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Write a report with a test case for each command; first remove that of an earlier run.",
)
TRACE_OPTION = click.option(
    "--trace",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Write a timeline of the commands, which https://ui.perfetto.dev and chrome://tracing "
    "open.",
)
GRACE_OPTION = click.option(
    "--grace",
    type=Seconds(min=0),
    default=5.0,
    show_default=True,
    metavar="S",
    help="Seconds between the request to stop and SIGKILL.",
)

RUNNER_OPTIONS = (
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
    COLOR_OPTION,
    click.option(
        "--hide",
        metavar="A,B,…",
        multiple=True,
        callback=joined,
        help="Do not show the output of these commands, given by name or by index from 0.",
    ),
    click.option("--json", is_flag=True, help="Write each line and event as a JSON object."),
    LOG_OPTION,
    click.option(
        "--log-size",
        type=parse_size,
        metavar="BYTES",
        help="Begin another log file when one has reached this many bytes, or KiB, MiB or GiB with "
        "the unit k, M or G, and keep the last three.  [default: no limit; for start -d 10M]",
    ),
    click.option(
        "--metrics",
        type=click.IntRange(1, 65535),
        metavar="PORT",
        help="Serve numbers about the commands on http://127.0.0.1:PORT/metrics, for Prometheus.",
    ),
    JUNIT_OPTION,
    TRACE_OPTION,
    click.option("--summary", is_flag=True, help="Show at the end how each command ended."),
    click.option(
        "--timings",
        is_flag=True,
        help="Show at the end when each command started and ended, the longest first.",
    ),
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
    GRACE_OPTION,
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
        help="Stop a command that writes more than this many bytes, or KiB, MiB or GiB with the "
        "unit k, M or G; it has failed.",
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
        type=click.Choice(("open", "null", "pipe")),
        default="open",
        show_default=True,
        help="The stdin of the commands: open, a pipe that stays open and silent; null, /dev/null; "
        "pipe, a pipe that `currant send` and `attach` write to.",
    ),
    click.option(
        "-i",
        "--interactive",
        metavar="NAME",
        help="Give the input of the terminal to this command, instead of the keys (see --no-keys).",
    ),
    click.option(
        "--pty",
        is_flag=True,
        help="Run each command in a terminal of its own, of the size of this one.",
    ),
    click.option(
        "--keys/--no-keys",
        default=None,
        help="On a terminal, show a status line below the output, and take keys: ? lists them.  "
        "[default: --keys, unless CI or the variable of an agent is set, or TERM=dumb]",
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

PREFIX_HELP = (
    "Prefix of each line: name, index (from 0), command, pid, time, none; or a text with the "
    "fields {name}, {index}, {command}, {host}, {pid}, {time}, {stream}, {attempt}, {elapsed}.  "
    "[default: {name} | ]"
)


def prefix_length_option(*flags: str) -> Callable[[F], F]:
    return click.option(
        *flags,
        "--prefix-length",
        type=click.IntRange(min=1),
        metavar="N",
        help="Shorten a command line in a prefix to N characters.  [default: 10]",
    )


def cwd_option(default: str) -> Callable[[F], F]:
    return click.option(
        "--cwd",
        metavar="DIR",
        help=f"Run the commands in this directory, on their host if there are --hosts.  [default: "
        f"{default}; on a host, where ssh begins]",
    )


def kill_others_on_option(
    default: KillOthersOn | None, default_shown: str | None = None
) -> Callable[[F], F]:
    return click.option(
        "-k",
        "--kill-others-on",
        type=click.Choice(get_args(KillOthersOn)),
        default=default,
        show_default=default_shown or True,
        help="Stop all commands when one ends this way, and say which one did.",
    )
