"""The sinks that show and log the output, and the variables and stderr that fit the place."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from currant._values.command import FLUSH_AFTER
from currant._values.errors import CommandError
from currant.cli._ci.groups import folds_blocks, group_lines
from currant.cli._prepare.env import output_variables
from currant.cli._selection import without_output_of
from currant.cli._view import wants_keys
from currant.sinks import DEFAULT_PREFIX, ConsoleSink
from currant.sinks._files import is_same_place, terminal_columns
from currant.sinks._templates import label_columns, line_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from currant._supervisor.sink_tasks import Sink
    from currant._values.command import Command
    from currant.cli._options import Options
    from currant.sinks import Color, Event
    from currant.sinks._events import EventMessage
    from currant.sinks._files import SyncFile

__all__ = [
    "build_display",
    "build_log",
    "build_metrics",
    "flush_after",
    "label_width",
    "log_sinks",
    "output_fit",
    "trace_sinks",
]

STDOUT, STDERR = 1, 2

SHORT = 10
"""The characters of a command line in a prefix, unless ``--prefix-length`` says otherwise."""


LOG_BACKUPS = 3
"""How many older files of each log are kept; a log of ``--log-size`` becomes an older file."""

MODES: tuple[Literal["raw", "group", "same"], ...] = ("raw", "group", "same")
"""The modes of the console that are options."""


def output_fit(
    commands: Sequence[Command],
    given: Mapping[str, str],
    options: Options,
    hidden: Collection[str],
) -> Callable[[Command], Command]:
    """Return a function that fits the variables and the stderr of a command to the output's place.

    Args:
        commands: the commands.
        given: variables that have been set.
        options: the options.
        hidden: the names of the commands with hidden output.
    """
    prefix = _prefix(commands, options, hidden)
    shown = not options["json"]
    columns = terminal_columns(STDOUT) if shown else None
    if columns:
        columns = max(1, columns - label_width(commands, options, hidden))
    variables = output_variables(given, options["color"], shown=shown, columns=columns or None)
    stderr = _stderr(prefix, options, is_folded=_is_folded(commands, options, hidden))

    def fit(command: Command) -> Command:
        return replace(
            command,
            env={**variables, **command.env},
            stderr=stderr if _has_both_pipes(command) else command.stderr,
        )

    return fit


def _has_both_pipes(command: Command) -> bool:
    """Return whether stdout and stderr come to currant, so that currant may merge them."""
    return command.stdout is None and command.stderr == "separate"


def label_width(commands: Sequence[Command], options: Options, hidden: Collection[str]) -> int:
    """Return the columns that the label before each line takes."""
    if options["raw"] or options["json"]:
        return 0
    prefix = _prefix(commands, options, hidden)
    by_name = {each.name: each for each in commands if each.name not in hidden}
    return label_columns(prefix, by_name, timestamps=options["timestamps"])


def _is_folded(commands: Sequence[Command], options: Options, hidden: Collection[str]) -> bool:
    """Return whether a CI folds the block of each command; it need not fold a single one."""
    shown = [command for command in commands if command.name not in hidden]
    has_several = len(shown) > 1 or any(command.replicas > 1 for command in shown)
    return options["group"] and has_several and folds_blocks(os.environ)


def _stderr(prefix: str, options: Options, *, is_folded: bool) -> Literal["separate", "stdout"]:
    """Return whether commands write stderr into the pipe of stdout, which keeps the order of both.

    By default they do if both end in the same place, as on a terminal, with ``2>&1`` or in a block
    that a CI folds, and if currant does not show which stream a line came from.
    """
    merge = options["merge"]
    if merge is None:
        shows_stream = options["json"] or "{stream" in prefix
        merge = (is_folded or is_same_place(STDOUT, STDERR)) and not shows_stream
    return "stdout" if merge else "separate"


def flush_after(options: Options, commands: int) -> float:
    """Return the seconds of silence after which an unfinished line is shown.

    Raw output of a single command is passed on at once.  With several commands, a moment of silence
    keeps the lines of one command from being cut by those of another, for programs write in blocks.
    """
    return 0.0 if options["raw"] and commands == 1 else FLUSH_AFTER


def build_display(
    commands: Sequence[Command],
    options: Options,
    hidden: Collection[str],
    texts: Mapping[Event, str | None],
    remark: Callable[[EventMessage], str | None],
    *,
    quiet: bool,
    progress: bool,
    log: SyncFile | None = None,
    verbatim: Collection[str] = (),
) -> Sink:
    """Return the sink that shows the output, in a file if `log` is one.

    It is a `ViewConsole` if a person has keys.

    Raises:
        CommandError: two options exclude each other.
        ValueError: the prefix is not a valid template.
    """
    formats = [f"--{name}" for name in ("raw", "group", "json", "same") if options[name]]
    if options["same"]:
        formats += [f"--{name}" for name in ("prefix", "timestamps") if options[name]]
    if len(formats) > 1:
        raise CommandError(f"{' and '.join(formats)} cannot be combined")
    if options["json"]:
        from currant.sinks import JSONSink  # noqa: PLC0415 - for --json alone

        return without_output_of(JSONSink(log or sys.stdout), hidden)
    mode: Literal["line", "raw", "group", "same"] = "line"
    for each in MODES:
        if options[each]:
            mode = each
    has_keys = log is None and wants_keys(options, quiet=quiet)
    return _console_class(has_keys=has_keys)(
        log,
        log,
        prefix=_prefix(commands, options, hidden),
        color=options["color"],
        timestamps=options["timestamps"],
        quiet=quiet,
        mode=mode,
        texts=texts,
        remark=remark,
        progress=(progress or has_keys) and not quiet,
        hidden=hidden,
        verbatim=verbatim,
        frame=group_lines if log is None and _is_folded(commands, options, hidden) else None,
    )


def _console_class(*, has_keys: bool) -> type[ConsoleSink]:
    if not has_keys:
        return ConsoleSink
    from currant.view import ViewConsole  # noqa: PLC0415 - for a person alone

    return ViewConsole


def _prefix(commands: Sequence[Command], options: Options, hidden: Collection[str]) -> str:
    """Return the template of the prefix, for a style that concurrently has, or as given."""
    given = "none" if options["same"] else options["prefix"]
    if given is None and _is_folded(commands, options, hidden):  # The title of a group is the name.
        given = "none"
    length = SHORT if options["prefix_length"] is None else options["prefix_length"]
    shown = [command for command in commands if command.name not in hidden]
    widest = max((min(length, len(line_of(command))) for command in shown), default=0)
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


def build_log(options: Options, *, by_host: bool) -> list[Sink]:
    """Return the sink of ``--log-dir``, if there is one.

    Args:
        options: the options.
        by_host: whether each host has a folder.

    Raises:
        CommandError: the directory cannot be created.
    """
    return log_sinks(options["log_dir"], options["color"], options["log_size"], by_host=by_host)


def build_metrics(options: Options) -> Sink | None:
    """Return the sink that serves the metrics, if there is one.

    Raises:
        CommandError: the port is taken.
    """
    port = options["metrics"]
    if port is None:
        return None
    from currant.sinks import MetricsSink  # noqa: PLC0415 - for --metrics alone

    try:
        return MetricsSink(port=port)
    except OSError as error:
        raise CommandError(f"--metrics {port}: {error.strerror}") from error


def log_sinks(
    folder: str | None, color: Color, size: int | None = None, *, by_host: bool = False
) -> list[Sink]:
    """Return the sink that logs into a folder, if there is one; see `build_log`."""
    if folder is None:
        return []
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise CommandError(f"--log-dir {folder}: {error.strerror}") from error
    from currant.sinks import DirectorySink  # noqa: PLC0415 - for --log-dir alone

    plain = color != "always"
    backups = 0 if size is None else LOG_BACKUPS
    sink = DirectorySink(folder, size, backups, on_error="warn", plain=plain, by_host=by_host)
    return [sink]


def trace_sinks(path: str | None) -> list[Sink]:
    """Return the sink of ``--trace``, if there is one.

    Raises:
        CommandError: the file cannot be written.
    """
    if path is None:
        return []
    from currant.sinks import TraceSink  # noqa: PLC0415 - for --trace alone

    try:
        with open(path, "ab"):
            pass
    except OSError as error:
        raise CommandError(f"--trace {path}: {error.strerror}") from error
    return [TraceSink(path, on_error="warn")]
