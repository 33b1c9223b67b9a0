"""Build a Runner, its commands and its sinks from the options of the command line."""

from __future__ import annotations

import os
import resource
import sys
from contextlib import suppress
from dataclasses import replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Literal, TypedDict

from currant._supervisor.runner import Runner
from currant._values.command import FLUSH_AFTER, Command
from currant._values.errors import CommandError
from currant._values.launch_spec import SILENT
from currant._values.names import Names
from currant._values.restart import RestartPolicy
from currant.cli._env import output_variables, parse_port, read_env_files
from currant.cli._labels import default_name
from currant.cli._procfile import (
    DEFAULT_PORT,
    expand_instances,
    parse_formation,
    read_application,
    select_processes,
)
from currant.cli._remark import StopRemark
from currant.cli._selection import check_success, select_commands, without_output_of
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
    from collections.abc import Collection, Mapping, Sequence

    from currant._supervisor.sink_tasks import Sink
    from currant._values.launch_spec import KillMode, Silent
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

FILES_PER_COMMAND = 7
"""File descriptors that a starting command needs, for both ends of three pipes among others.

A running command needs half as many, but all commands may start at the same time.
"""

OTHER_FILES = 100
"""File descriptors for everything else; currant needs fewer."""


SHORT = 10
"""The characters of a command line in a prefix, unless ``--prefix-length`` says otherwise."""


class Options(TypedDict):
    """Options of both ``currant run`` and ``currant start``, as click parses them."""

    prefix: str | None
    prefix_length: int | None
    hide: str | None
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
    restart_factor: float | None
    kill_others_on: KillOthersOn | None
    grace: float
    stop_signal: int
    kill_mode: KillMode
    stdin: Literal["open", "null"]
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
    formation: str | None
    concurrency: str | None
    quiet_processes: str | None
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
    commands = [
        Command.shell(
            line,
            name=name,
            color=color,
            cwd=options["cwd"],
            env=variables,
            stdin=_stdin(options),
            stop_signal=options["stop_signal"],
            flush_after=_flush_after(options, len(lines)),
        )
        for line, name, color in zip(lines, names, colors, strict=True)
    ]
    hidden = {"--hide": options["hide"]}
    commands = _fit_to_output(commands, variables, options)
    return _build_runner(commands, options, hidden, max_processes=options["max_processes"])


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
    types = processes.keys()
    processes = select_processes(processes, names)
    counts = _instance_counts(processes, options, all_named=bool(names))
    instances = list(expand_instances(processes, counts, _first_port(options, variables)))
    cwd = options["cwd"] or os.path.dirname(procfile) or None
    commands = [
        Command.shell(
            instance.line,
            name=instance.name,
            cwd=cwd,
            env=dict(variables)
            | {"PORT": str(instance.port)}
            | dict.fromkeys(("PS", "HONCHO_PROCESS_NAME"), instance.name),
            stdin=_stdin(options),
            stop_signal=options["stop_signal"],
            flush_after=_flush_after(options, len(instances)),
        )
        for instance in instances
    ]
    quiet = options["quiet_processes"]
    options["quiet"] = quiet == ""
    hidden = {"--hide": options["hide"], "--quiet": quiet}
    commands = _fit_to_output(commands, variables, options)
    return _build_runner(commands, options, hidden, types, texts=START_TEXTS)


def _instance_counts(
    processes: Mapping[str, str], options: StartOptions, *, all_named: bool
) -> dict[str, int]:
    """Return the number of instances of each process type, by ``-m`` or ``-c``.

    As with foreman, ``-m`` starts only the processes that it names, except for those that are
    arguments; as with honcho, ``-c`` starts the others once.

    Raises:
        CommandError: the formation is not valid, or leaves no process.
    """
    formation, concurrency = options["formation"], options["concurrency"]
    if formation is not None and concurrency is not None:
        raise CommandError("--formation and --concurrency cannot be combined")
    if formation is not None:
        option, given, default = "--formation", formation, 1 if all_named else 0
    elif concurrency is not None:
        option, given, default = "--concurrency", concurrency, 1
    else:
        return dict.fromkeys(processes, 1)
    counts = parse_formation(option, given, processes, default=default)
    if not any(counts.values()):
        raise CommandError(f"{option} {given} leaves no process to start")
    return counts


def _fit_to_output(
    commands: Sequence[Command], given: Mapping[str, str], options: Options
) -> list[Command]:
    """Return the commands with the variables and the stderr that fit the place of the output."""
    prefix = _prefix(commands, options)
    shown = not options["json"]
    columns = terminal_columns(STDOUT) if shown else None
    if columns and not options["raw"]:
        by_name = {command.name: command for command in commands}
        label = label_columns(prefix, by_name, timestamps=options["timestamps"])
        columns = max(1, columns - label)
    variables = output_variables(given, options["color"], shown=shown, columns=columns or None)
    stderr = _stderr(prefix, options)
    return [
        replace(command, env={**variables, **command.env}, stderr=stderr) for command in commands
    ]


def _stderr(prefix: str, options: Options) -> Literal["separate", "stdout"]:
    """Return whether commands write stderr into the pipe of stdout, which keeps the order of both.

    By default they do if both end in the same place, as on a terminal or with ``2>&1``, and if
    currant does not show which stream a line came from.
    """
    merge = options["merge"]
    if merge is None:
        shows_stream = options["json"] or "{stream" in prefix
        is_one_place = os.path.samestat(os.fstat(STDOUT), os.fstat(STDERR))
        merge = is_one_place and not shows_stream
    return "stdout" if merge else "separate"


def _first_port(options: StartOptions, variables: Mapping[str, str]) -> int:
    """Return the first port, from ``--port``, the files of variables or currant's environment."""
    given = (
        ("--port", options["port"]),
        ("PORT in the file of variables", variables.get("PORT")),
        ("the variable PORT", os.environ.get("PORT")),
    )
    return next((parse_port(port, source) for source, port in given if port), DEFAULT_PORT)


def _stdin(options: Options) -> Silent | None:
    """Return what the commands read: by default a pipe that stays open and silent.

    Watchers such as ``esbuild --watch`` end when their stdin does.
    """
    return SILENT if options["stdin"] == "open" else None


def _build_runner(
    commands: Sequence[Command],
    options: Options,
    hide: Mapping[str, str | None],
    types: Collection[str] = (),
    *,
    max_processes: int | None = None,
    texts: Mapping[Event, str | None] = NO_TEXTS,
) -> Runner:
    """Return a Runner for `commands`.

    Args:
        commands: the commands.
        options: the options.
        hide: the commands whose output is not shown, by the option that names them.
        types: the process types of a Procfile.
        max_processes: how many commands may run at the same time.
        texts: the texts for events.
    """
    names = [command.name for command in commands]
    check_success(options["success"], names)
    selected = (
        select_commands(option, given or "", names, types) for option, given in hide.items()
    )
    hidden = set[str]().union(*selected)
    at_a_time = min(len(commands), max_processes or len(commands))
    _raise_file_limit(at_a_time * FILES_PER_COMMAND + OTHER_FILES)
    remark = StopRemark()
    show = _build_display(commands, options, texts, remark, progress=at_a_time < len(commands))
    runner = Runner(
        commands,
        restart=_restart_policy(options),
        sinks=[without_output_of(show, hidden) if hidden else show, *_build_log(options)],
        kill_others_on=options["kill_others_on"],
        max_processes=max_processes,
        grace=options["grace"],
        kill_mode=options["kill_mode"],
        iterable=False,
    )
    remark.runner = runner
    return runner


def _flush_after(options: Options, commands: int) -> float:
    """Return the seconds of silence after which an unfinished line is shown.

    Raw output of a single command is passed on at once.  With several commands, a moment of silence
    keeps the lines of one command from being cut by those of another, for programs write in blocks.
    """
    return 0.0 if options["raw"] and commands == 1 else FLUSH_AFTER


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
        return [taken.unique(default_name(line)) for line in lines]
    names = given.split(",")
    if len(names) != len(lines):
        raise CommandError(f"--names gives {_count(names, 'name')} for {_count(lines, 'command')}")
    return names


def _count(items: Sequence[str], noun: str) -> str:
    return f"{len(items)} {noun}" + ("s" if len(items) != 1 else "")


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
        for option in ("max_restarts", "restart_delay", "restart_factor"):
            if options[option] is not None:
                raise CommandError(
                    f"--{option.replace('_', '-')} requires --restart on-failure or always"
                )
    delay, factor = options["restart_delay"], options["restart_factor"]
    policy = RestartPolicy(options["restart"], max_restarts=options["max_restarts"])
    if factor is not None:
        policy = replace(policy, factor=factor)
    if delay is None:
        return policy
    return replace(policy, delay=delay, max_delay=max(delay, policy.max_delay))


def _build_display(
    commands: Sequence[Command],
    options: Options,
    texts: Mapping[Event, str | None],
    remark: StopRemark,
    *,
    progress: bool,
) -> Sink:
    """Return the sink that shows the output.

    Raises:
        CommandError: two options exclude each other.
        ValueError: the prefix is not a valid template.
    """
    formats = [f"--{name}" for name in ("raw", "group", "json") if options[name]]
    if len(formats) > 1:
        raise CommandError(f"{' and '.join(formats)} cannot be combined")
    if options["json"]:
        return JSONSink(sys.stdout)
    return ConsoleSink(
        prefix=_prefix(commands, options),
        color=options["color"],
        timestamps=options["timestamps"],
        quiet=options["quiet"],
        mode="raw" if options["raw"] else "group" if options["group"] else "line",
        texts=texts,
        remark=remark,
        progress=progress and not options["quiet"],
    )


def _prefix(commands: Sequence[Command], options: Options) -> str:
    """Return the template of the prefix, for a style that concurrently has, or as given."""
    given = options["prefix"]
    length = SHORT if options["prefix_length"] is None else options["prefix_length"]
    widest = max(min(length, len(command.argv[-1])) for command in commands)
    styles = {
        None: DEFAULT_PREFIX,
        "none": "",
        "name": DEFAULT_PREFIX,
        "index": f"{{index:<{len(str(len(commands) - 1))}}} | ",
        "time": "{time} | ",
        "pid": "{pid} | ",
        "command": f"{{command:{widest}.{length}}} | ",
    }
    if given in styles:
        return styles[given]
    text = given or ""
    if options["prefix_length"] is None:
        return text
    return text.replace("{command}", f"{{command:.{length}}}")


def _build_log(options: Options) -> list[Sink]:
    """Return the sink of ``--log-dir``, if there is one.

    Raises:
        CommandError: the directory cannot be created.
    """
    folder = options["log_dir"]
    if folder is None:
        return []
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise CommandError(f"--log-dir {folder}: {error.strerror}") from error
    return [DirectorySink(folder, on_error="warn", plain=options["color"] != "always")]
