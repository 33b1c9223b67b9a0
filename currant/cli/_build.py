"""From the options of the command line to a Runner."""

from __future__ import annotations

import os
import resource
import shlex
import sys
from contextlib import suppress
from dataclasses import replace
from itertools import zip_longest
from pathlib import PurePath
from typing import TYPE_CHECKING, TypedDict

from currant._supervisor.runner import Runner
from currant._values.command import Command
from currant._values.errors import CommandError
from currant._values.names import Names
from currant._values.restart import RestartPolicy
from currant.cli._env import for_output, port_number, read_env_files
from currant.cli._procfile import (
    DEFAULT_PORT,
    counts_of,
    instances_of,
    read_application,
    select,
)
from currant.sinks import (
    DEFAULT_PREFIX,
    ConsoleSink,
    DirectorySink,
    JSONSink,
    check_style,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from currant._supervisor.sink_tasks import Sink
    from currant._values.policies import KillOthersOn
    from currant._values.restart import RestartWhen
    from currant.sinks import Color, Event

__all__ = [
    "Options",
    "RunOptions",
    "StartOptions",
    "of_command_lines",
    "of_procfile",
]

NO_TEXTS: Mapping[Event, str | None] = {}

TEXTS_OF_START: Mapping[Event, str | None] = {
    "started": "{name} started (pid {pid})",
    "exited": "{name}: {exit}",
}
"""What ``currant start`` says besides, as foreman and honcho do: each start and each end."""


FILES_OF_A_COMMAND = 6
"""Descriptors that a command costs while it is being started: both ends of two pipes, and more.

Later it is half of that; but all commands may be started at once.
"""

OTHER_FILES = 100
"""More than enough for the rest."""


class Options(TypedDict):
    """The options that ``currant run`` and ``currant start`` share, as click reads them."""

    prefix: str | None
    timestamps: bool
    raw: bool
    group: bool
    color: Color
    quiet: bool
    json: bool
    log_dir: str | None
    summary: bool
    cwd: str | None
    restart: RestartWhen
    max_restarts: int | None
    restart_delay: float | None
    kill_others_on: KillOthersOn | None
    grace: float
    stop_signal: int
    success: str


class RunOptions(Options):
    """The options of ``currant run``."""

    names: str | None
    colors: str | None
    env_file: Sequence[str]
    max_processes: int | None


class StartOptions(Options):
    """The options of ``currant start``."""

    procfile: str | None
    env: str | None
    formation: str
    port: str | None


def of_command_lines(lines: Sequence[str], options: RunOptions) -> Runner:
    """Make a Runner that shows what the shell makes of `lines`.

    Raises:
        CommandError: a line is empty, a file of variables cannot be read, or the options do not fit
            the lines or each other.
        ValueError: a prefix cannot be read.
    """
    names = _names(lines, options["names"])
    colors = _colors(names, options["colors"])
    variables = read_env_files(options["env_file"])
    env = for_output(variables, options["color"], shown=not options["json"]) | variables
    signal = options["stop_signal"]
    commands = [
        Command.shell(line, name=name, color=color, cwd=options["cwd"], env=env, stop_signal=signal)
        for line, name, color in zip(lines, names, colors, strict=True)
    ]
    return _runner(commands, options, max_processes=options["max_processes"])


def of_procfile(names: Sequence[str], options: StartOptions) -> Runner:
    """Make a Runner for the processes of a Procfile that have one of `names`; no names: for all.

    Raises:
        CommandError: a file cannot be read, or a line of it; a name is unknown; the options do not
            fit.
        ValueError: a prefix cannot be read.
    """
    procfile, processes, variables = read_application(options["procfile"], options["env"])
    processes = select(processes, names)
    counts = counts_of(options["formation"], processes)
    env = for_output(variables, options["color"], shown=not options["json"]) | dict(variables)
    cwd = options["cwd"] or os.path.dirname(procfile) or None
    signal = options["stop_signal"]
    commands = [
        Command.shell(
            line,
            name=name,
            cwd=cwd,
            env=env | {"PORT": str(port), "PS": name},
            stop_signal=signal,
        )
        for name, line, port in instances_of(processes, counts, _first_port(options, variables))
    ]
    if not commands:
        raise CommandError(f"--formation {options['formation']}: there is no process to start")
    return _runner(commands, options, texts=TEXTS_OF_START)


def _first_port(options: StartOptions, variables: Mapping[str, str]) -> int:
    """Return the first process's port: from the option, the files, our own variables."""
    given = (
        ("--port", options["port"]),
        ("PORT in the file of variables", variables.get("PORT")),
        ("the variable PORT", os.environ.get("PORT")),
    )
    return next((port_number(port, where) for where, port in given if port), DEFAULT_PORT)


def _runner(
    commands: Sequence[Command],
    options: Options,
    *,
    max_processes: int | None = None,
    texts: Mapping[Event, str | None] = NO_TEXTS,
) -> Runner:
    success = options["success"]
    if success not in ("all", "first", "last", *(command.name for command in commands)):
        known = ", ".join(command.name for command in commands)
        raise CommandError(f"--success {success}: there is no command of that name, but {known}")
    at_a_time = min(len(commands), max_processes or len(commands))
    _raise_file_limit(at_a_time * FILES_OF_A_COMMAND + OTHER_FILES)
    return Runner(
        commands,
        restart=_restart_policy(options),
        sinks=_sinks(options, texts, progress=at_a_time < len(commands)),
        kill_others_on=options["kill_others_on"],
        max_processes=max_processes,
        grace=options["grace"],
        iterable=False,
    )


def _raise_file_limit(wanted: int) -> None:
    """Allow ourselves so many descriptors, as far as the system lets us.

    The commands inherit the limit, so it stays as it is where it is high enough.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # macOS has a limit of its own below the hard one
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _names(lines: Sequence[str], given: str | None) -> list[str]:
    if given is None:
        taken = Names()
        return [taken.unique(_first_word(line)) for line in lines]
    names = given.split(",")
    if len(names) != len(lines):
        raise CommandError(f"--names gives {len(names)} names for {len(lines)} commands")
    return names


def _first_word(line: str) -> str:
    """Return what to call a command line: its program's name, without the folder."""
    try:
        words = shlex.split(line)
    except ValueError:  # the shell may understand it nevertheless, and says so if not
        words = line.split()
    programs = [word for word in words if "=" not in word]
    return PurePath(programs[0]).name or "sh" if programs else "sh"


def _colors(names: Sequence[str], given: str | None) -> list[str | None]:
    """Return a colour for each command; None where one is to be chosen."""
    colors = [color.strip() for color in ([] if given is None else given.split(","))]
    if len(colors) > len(names):
        raise CommandError(f"--colors gives {len(colors)} colours for {len(names)} commands")
    chosen: list[str | None] = []
    for name, color in zip_longest(names, colors, fillvalue="auto"):
        chosen.append(None if color in ("", "auto") else color)
        if chosen[-1] is not None:
            check_style(color, name)
    return chosen


def _restart_policy(options: Options) -> RestartPolicy:
    """Return when to restart.

    Raises:
        CommandError: it is said how to restart, and not when.
    """
    if options["restart"] == "never":
        for option in ("max_restarts", "restart_delay"):
            if options[option] is not None:
                raise CommandError(f"--{option.replace('_', '-')} has no meaning without --restart")
    delay = options["restart_delay"]
    policy = RestartPolicy(options["restart"], max_restarts=options["max_restarts"])
    if delay is None:
        return policy
    return replace(policy, delay=delay, max_delay=max(delay, policy.max_delay))


def _sinks(options: Options, texts: Mapping[Event, str | None], *, progress: bool) -> list[Sink]:
    """Return where the output goes.

    Raises:
        CommandError: two options do not go together, or the log directory cannot be made.
        ValueError: the prefix cannot be read.
    """
    forms = [f"--{form}" for form in ("raw", "group", "json") if options[form]]
    if len(forms) > 1:
        raise CommandError(f"{' and '.join(forms)} do not go together")
    sinks: list[Sink] = []
    if options["json"]:
        sinks.append(JSONSink(sys.stdout))
    else:
        prefix = options["prefix"]
        sinks.append(
            ConsoleSink(
                prefix=DEFAULT_PREFIX if prefix is None else prefix,
                color=options["color"],
                timestamps=options["timestamps"],
                quiet=options["quiet"],
                mode="raw" if options["raw"] else "group" if options["group"] else "line",
                texts=texts,
                progress=progress and not options["quiet"],
            )
        )
    folder = options["log_dir"]
    if folder is not None:
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise CommandError(f"--log-dir {folder}: {error.strerror}") from error
        sinks.append(DirectorySink(folder))
    return sinks
