"""`currant run`: from command lines to a Runner, and from how it ended to an exit status."""

from __future__ import annotations

import os
import shlex
import signal as signals
import sys
from dataclasses import replace
from itertools import zip_longest
from pathlib import PurePath
from typing import TYPE_CHECKING, TypedDict

import anyio

from currant._command import Command, unique_name
from currant._errors import CommandError, CurrantError
from currant._restart import RestartPolicy
from currant._runner import Runner
from currant.sinks import ConsoleSink, DirectorySink, JSONSink
from currant.sinks._colors import check_style
from currant.sinks._labels import DEFAULT_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from currant._command import KillOthersOn
    from currant._job import Job
    from currant._messages import Result
    from currant._restart import RestartWhen
    from currant._runner import Sink
    from currant.sinks._colors import Color

__all__ = ["RunOptions", "build", "run_commands"]

STOP_SIGNALS = (signals.SIGINT, signals.SIGTERM, signals.SIGHUP)
CANNOT_RUN = 126
"""The shell's exit status for a command that is there but cannot be run."""


class RunOptions(TypedDict):
    """The options of ``currant run``, as click reads them."""

    names: str | None
    colors: str | None
    prefix: str | None
    timestamps: bool
    raw: bool
    group: bool
    color: Color
    quiet: bool
    json: bool
    log_dir: str | None
    cwd: str | None
    restart: RestartWhen
    max_restarts: int | None
    restart_delay: float | None
    kill_others_on: KillOthersOn | None
    max_processes: int | None
    grace: float
    stop_signal: int
    success: str


def build(lines: Sequence[str], options: RunOptions) -> Runner:
    """Make a Runner that shows what the shell makes of `lines`.

    Raises:
        CommandError: a line is empty, or the options do not fit the lines or each other.
        ValueError: a prefix cannot be read.
    """
    names = _names(lines, options["names"])
    colors = _colors(names, options["colors"])
    env = _environment(options)
    success = options["success"]
    if success not in ("all", "first", "last", *names):
        raise CommandError(f"--success {success}: there is no command of that name")
    commands = [
        Command.shell(
            line,
            name=name,
            color=color,
            cwd=options["cwd"],
            env=env,
            stop_signal=options["stop_signal"],
        )
        for line, name, color in zip(lines, names, colors, strict=True)
    ]
    max_processes = options["max_processes"]
    is_long = max_processes is not None and max_processes < len(lines)
    return Runner(
        commands,
        sinks=_sinks(options, progress=is_long),
        restart=_restart_policy(options),
        kill_others_on=options["kill_others_on"],
        max_processes=max_processes,
        grace=options["grace"],
    )


def _names(lines: Sequence[str], given: str | None) -> list[str]:
    if given is None:
        names: list[str] = []
        for line in lines:
            names.append(unique_name(_first_word(line), names))
        return names
    names = given.split(",")
    if len(names) != len(lines):
        raise CommandError(f"--names gives {len(names)} names for {len(lines)} commands")
    return names


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


def _environment(options: RunOptions) -> dict[str, str]:
    """Return the variables that commands get besides ours.

    Python keeps what it prints to itself for long where stdout is no terminal, and most programs
    show no colours there; but it is we who pass it on to one.
    """
    env = {} if "PYTHONUNBUFFERED" in os.environ else {"PYTHONUNBUFFERED": "1"}
    shows_color = options["color"] == "always" or (
        options["color"] == "auto" and sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    )
    if shows_color and not options["json"] and "FORCE_COLOR" not in os.environ:
        env["FORCE_COLOR"] = "1"
    return env


def _restart_policy(options: RunOptions) -> RestartPolicy:
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


def _sinks(options: RunOptions, *, progress: bool) -> list[Sink]:
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


def run_commands(runner: Runner, success: str = "all") -> int:
    """Run to the end, and return the exit status.

    Args:
        runner: what to run.
        success: whose failure counts: ``"all"``, the ``"first"`` or ``"last"`` to end, or a name.
    """
    try:
        return anyio.run(_run, runner, success)
    except CurrantError:
        raise
    except BrokenPipeError:  # of the sink: nobody reads our output any more
        return 128 + signals.SIGPIPE
    except OSError as error:
        print(f"currant: cannot write the output: {error.strerror}", file=sys.stderr)
        return 1


async def _run(runner: Runner, success: str) -> int:
    received: list[int] = []
    ended: list[Result] = []

    async def kill_on_signal() -> None:
        async for signal in arriving:
            received.append(signal)
            # The first asks the commands to stop, a second one ends them at once.
            runner.kill(f"received {signal.name}")
            if len(received) > 1:
                runner.cancel_scope.cancel()  # nor wait for a terminal or pipe that takes nothing

    async def note_end(job: Job) -> None:
        ended.append(await job.wait())

    # What was ignored before us stays so: nohup.
    heeded = [number for number in STOP_SIGNALS if signals.getsignal(number) != signals.SIG_IGN]
    with anyio.open_signal_receiver(*heeded) as arriving:
        async with runner, anyio.create_task_group() as tasks:
            tasks.start_soon(kill_on_signal)
            async with anyio.create_task_group() as noting:
                for job in runner.jobs.values():
                    noting.start_soon(note_end, job)
            await runner.join()
            tasks.cancel_scope.cancel()
    return 128 + received[0] if received else _status(_counting(ended, success))


def _counting(ended: Sequence[Result], success: str) -> Sequence[Result]:
    """Return those of `ended`, in the order of their ends, whose failure counts."""
    match success:
        case "all":
            return ended
        case "first":
            return ended[:1]
        case "last":
            return ended[-1:]
        case name:
            return [result for result in ended if result.command == name]


def _status(ended: Iterable[Result]) -> int:
    """Return the exit status of the first one that failed, in the order of their ends."""
    failed = next((result for result in ended if result.status == "failed"), None)
    if failed is None:
        return 0
    end = failed.exit
    if end is None:
        return CANNOT_RUN
    return end.code if end.code is not None else 128 + int(end.signal or 0)


def _first_word(line: str) -> str:
    """Return what to call a command line: its program's name, without the folder."""
    try:
        words = shlex.split(line)
    except ValueError:  # the shell may understand it nevertheless, and says so if not
        words = line.split()
    programs = [word for word in words if "=" not in word]
    return PurePath(programs[0]).name or "sh" if programs else "sh"
