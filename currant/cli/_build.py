"""Build a Runner, its commands and its sinks from the options of the command line."""

from __future__ import annotations

import os
import resource
import shlex
import sys
from contextlib import suppress
from dataclasses import replace
from itertools import zip_longest
from pathlib import PurePath
from typing import TYPE_CHECKING, Literal, TypedDict

from currant._supervisor.runner import Runner
from currant._values.command import Command
from currant._values.errors import CommandError
from currant._values.names import Names
from currant._values.restart import RestartPolicy
from currant.cli._env import output_variables, parse_port, read_env_files
from currant.cli._procfile import (
    DEFAULT_PORT,
    expand_instances,
    parse_formation,
    read_application,
    select_processes,
)
from currant.sinks import (
    DEFAULT_PREFIX,
    ConsoleSink,
    DirectorySink,
    JSONSink,
    check_style,
)
from currant.sinks._files import terminal_columns
from currant.sinks._templates import label_columns

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
    "runner_from_command_lines",
    "runner_from_procfile",
]

NO_TEXTS: Mapping[Event, str | None] = {}

START_TEXTS: Mapping[Event, str | None] = {
    "started": "{name} started (pid {pid})",
    "exited": "{name}: {exit}",
}
"""Messages of ``currant start`` for each start and each exit, as foreman and honcho show them."""

STDOUT, STDERR = 1, 2

FILES_PER_COMMAND = 6
"""File descriptors that a starting command needs, for both ends of two pipes among others.

A running command needs half as many, but all commands may start at the same time.
"""

OTHER_FILES = 100
"""File descriptors for everything else; currant needs fewer."""


class Options(TypedDict):
    """Options of both ``currant run`` and ``currant start``, as click parses them."""

    prefix: str | None
    timestamps: bool
    raw: bool
    group: bool
    merge: bool | None
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


def runner_from_command_lines(lines: Sequence[str], options: RunOptions) -> Runner:
    """Return a Runner that runs each command line in a shell and shows the output.

    Raises:
        CommandError: a line is blank, a file of variables cannot be read, or the options do not fit
            the lines or one another.
        ValueError: the prefix is not a valid template.
    """
    names = _choose_names(lines, options["names"])
    colors = _choose_colors(names, options["colors"])
    variables = read_env_files(options["env_file"])
    env = _output_variables(variables, options, names) | variables
    commands = [
        Command.shell(
            line,
            name=name,
            color=color,
            cwd=options["cwd"],
            env=env,
            stderr=_stderr(options),
            stop_signal=options["stop_signal"],
        )
        for line, name, color in zip(lines, names, colors, strict=True)
    ]
    return _build_runner(commands, options, max_processes=options["max_processes"])


def runner_from_procfile(names: Sequence[str], options: StartOptions) -> Runner:
    """Return a Runner for the processes of a Procfile.

    Args:
        names: the process types to start; empty: all.
        options: the options of ``currant start``.

    Raises:
        CommandError: a file cannot be read, a line cannot be parsed, the Procfile has no process
            with one of the names, or the options do not fit one another.
        ValueError: the prefix is not a valid template.
    """
    procfile, processes, variables = read_application(options["procfile"], options["env"])
    processes = select_processes(processes, names)
    counts = parse_formation(options["formation"], processes)
    instances = [*expand_instances(processes, counts, _first_port(options, variables))]
    names = [instance.name for instance in instances]
    env = _output_variables(variables, options, names) | dict(variables)
    cwd = options["cwd"] or os.path.dirname(procfile) or None
    commands = [
        Command.shell(
            instance.line,
            name=instance.name,
            cwd=cwd,
            env=env | {"PORT": str(instance.port), "PS": instance.name},
            stderr=_stderr(options),
            stop_signal=options["stop_signal"],
        )
        for instance in instances
    ]
    if not commands:
        raise CommandError(f"--formation {options['formation']} leaves no process to start")
    return _build_runner(commands, options, texts=START_TEXTS)


def _output_variables(
    given: Mapping[str, str], options: Options, names: Sequence[str]
) -> dict[str, str]:
    """Return the variables that fit the place of the output; `given` takes precedence."""
    shown = not options["json"]
    columns = terminal_columns(STDOUT) if shown else None
    if columns and not options["raw"]:
        label = label_columns(_prefix(options), names, timestamps=options["timestamps"])
        columns = max(1, columns - label)
    return output_variables(given, options["color"], shown=shown, columns=columns or None)


def _stderr(options: Options) -> Literal["separate", "stdout"]:
    """Return whether commands write stderr into the pipe of stdout, which keeps the order of both.

    By default they do if both end in the same place, as on a terminal or with ``2>&1``, and if
    currant does not show which stream a line came from.
    """
    merge = options["merge"]
    if merge is None:
        shows_stream = options["json"] or "{stream" in _prefix(options)
        is_one_place = os.path.samestat(os.fstat(STDOUT), os.fstat(STDERR))
        merge = is_one_place and not shows_stream
    return "stdout" if merge else "separate"


def _prefix(options: Options) -> str:
    return DEFAULT_PREFIX if options["prefix"] is None else options["prefix"]


def _first_port(options: StartOptions, variables: Mapping[str, str]) -> int:
    """Return the first port, from ``--port``, the files of variables or currant's environment."""
    given = (
        ("--port", options["port"]),
        ("PORT in the file of variables", variables.get("PORT")),
        ("the variable PORT", os.environ.get("PORT")),
    )
    return next((parse_port(port, source) for source, port in given if port), DEFAULT_PORT)


def _build_runner(
    commands: Sequence[Command],
    options: Options,
    *,
    max_processes: int | None = None,
    texts: Mapping[Event, str | None] = NO_TEXTS,
) -> Runner:
    success = options["success"]
    if success not in ("all", "first", "last", *(command.name for command in commands)):
        known = ", ".join(command.name for command in commands)
        raise CommandError(f"--success {success}: there is no command with this name, only {known}")
    at_a_time = min(len(commands), max_processes or len(commands))
    _raise_file_limit(at_a_time * FILES_PER_COMMAND + OTHER_FILES)
    return Runner(
        commands,
        restart=_restart_policy(options),
        sinks=_build_sinks(options, texts, progress=at_a_time < len(commands)),
        kill_others_on=options["kill_others_on"],
        max_processes=max_processes,
        grace=options["grace"],
        iterable=False,
    )


def _raise_file_limit(wanted: int) -> None:
    """Raise the soft limit of open files to `wanted`, or as far as the system allows.

    The commands inherit the limit, so a limit that is high enough stays unchanged.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # macOS has another limit below the hard limit.
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _choose_names(lines: Sequence[str], given: str | None) -> list[str]:
    if given is None:
        taken = Names()
        return [taken.unique(_program_name(line)) for line in lines]
    names = given.split(",")
    if len(names) != len(lines):
        raise CommandError(f"--names gives {_count(names, 'name')} for {_count(lines, 'command')}")
    return names


def _count(items: Sequence[str], noun: str) -> str:
    return f"{len(items)} {noun}" + ("s" if len(items) != 1 else "")


def _program_name(line: str) -> str:
    """Return the file name of the program that a command line runs; ``sh`` if none is found."""
    try:
        words = shlex.split(line)
    except ValueError:  # The shell may still accept the line; otherwise it reports the error.
        words = line.split()
    programs = [word for word in words if "=" not in word]
    return PurePath(programs[0]).name or "sh" if programs else "sh"


def _choose_colors(names: Sequence[str], given: str | None) -> list[str | None]:
    """Return the colour of each command; None if the sink chooses the colour."""
    colors = [color.strip() for color in ([] if given is None else given.split(","))]
    if len(colors) > len(names):
        raise CommandError(
            f"--colors gives {_count(colors, 'colour')} for {_count(names, 'command')}"
        )
    chosen: list[str | None] = []
    for name, color in zip_longest(names, colors, fillvalue="auto"):
        chosen.append(None if color in ("", "auto") else color)
        if chosen[-1] is not None:
            check_style(color, name)
    return chosen


def _restart_policy(options: Options) -> RestartPolicy:
    """Return the policy of ``--restart`` and its companion options.

    Raises:
        CommandError: a companion option is given without ``--restart``.
    """
    if options["restart"] == "never":
        for option in ("max_restarts", "restart_delay"):
            if options[option] is not None:
                raise CommandError(
                    f"--{option.replace('_', '-')} requires --restart on-failure or always"
                )
    delay = options["restart_delay"]
    policy = RestartPolicy(options["restart"], max_restarts=options["max_restarts"])
    if delay is None:
        return policy
    return replace(policy, delay=delay, max_delay=max(delay, policy.max_delay))


def _build_sinks(
    options: Options, texts: Mapping[Event, str | None], *, progress: bool
) -> list[Sink]:
    """Return the sinks that the output goes to.

    Raises:
        CommandError: two options exclude each other, or the log directory cannot be created.
        ValueError: the prefix is not a valid template.
    """
    formats = [f"--{name}" for name in ("raw", "group", "json") if options[name]]
    if len(formats) > 1:
        raise CommandError(f"{' and '.join(formats)} cannot be combined")
    sinks: list[Sink] = []
    if options["json"]:
        sinks.append(JSONSink(sys.stdout))
    else:
        sinks.append(
            ConsoleSink(
                prefix=_prefix(options),
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
        sinks.append(DirectorySink(folder, plain=options["color"] != "always"))
    return sinks
