"""From command lines and the options of ``currant run`` to a Runner."""

from __future__ import annotations

import os
from itertools import zip_longest
from typing import TYPE_CHECKING

from currant._values.command import Command
from currant._values.errors import CommandError
from currant._values.names import Names
from currant._values.shell_syntax import with_exec
from currant._values.watch import Watch
from currant.cli._prepare.display import flush_after, output_fit
from currant.cli._prepare.hosts import build_hosts, on_hosts
from currant.cli._prepare.labels import default_name
from currant.cli._prepare.runner import (
    Prepared,
    build_runner,
    checked_cwd,
    policies_of,
    select_hidden,
    stdin_of,
)
from currant.cli._prepare.scripts import expand_scripts, fill_placeholders
from currant.config._env_files import read_env_files
from currant.sinks import check_style

if TYPE_CHECKING:
    from collections.abc import Sequence

    from currant.cli._options import RunOptions

__all__ = ["runner_for_teardown", "runner_from_command_lines"]


def runner_from_command_lines(lines: Sequence[str], options: RunOptions) -> Prepared:
    """Return a Runner that runs each command line in a shell and shows the output.

    Raises:
        CommandError: a line is blank, a file of variables cannot be read, or the options do not fit
            the lines or one another.
        ValueError: the prefix is not a valid template.
    """
    folder = os.curdir if options["cwd"] is None else options["cwd"]
    lines = fill_placeholders(expand_scripts(lines, folder), options["arguments"])
    names = _choose_names(lines, options["names"])
    colors = _choose_colors(names, options["colors"])
    variables = read_env_files(options["env_file"])
    hosts = build_hosts(options)
    watch = _watch(options)
    commands = [
        Command.shell(
            with_exec(line),
            name=name,
            color=color,
            cwd=checked_cwd(options, hosts),
            env=variables,
            stdin=stdin_of(options),
            stop_signal=options["stop_signal"],
            idle_timeout=options["idle_timeout"],
            max_output=options["max_output"],
            flush_after=flush_after(options, len(lines)),
            watch=watch,
        )
        for line, name, color in zip(lines, names, colors, strict=True)
    ]
    commands = on_hosts(commands, options, hosts)
    hidden = select_hidden(commands, {"--hide": options["hide"]})
    fit = output_fit(commands, variables, options, hidden)
    return build_runner(
        list(map(fit, commands)),
        options,
        hidden,
        hosts,
        policies={**policies_of(options), "max_processes": options["max_processes"]},
        quiet=options["quiet"],
    )


def runner_for_teardown(options: RunOptions) -> Prepared | None:
    """Return a Runner that runs the commands of ``--teardown`` one after the other, if any.

    They run and are shown as the others, but each of them runs once, whatever happens, and they are
    not in the file of ``--trace``, nor in the numbers of ``--metrics``.

    Raises:
        CommandError: a line is blank, or is a shortcut that stands for no script.
    """
    lines = options["teardown"]
    if not lines:
        return None
    changed: RunOptions = {
        **options,
        "names": None,
        "colors": None,
        "hide": None,
        "max_processes": 1,
        "restart": "never",
        "max_restarts": None,
        "restart_delay": None,
        "restart_factor": None,
        "kill_others_on": None,
        "success": "all",
        "arguments": None,
        "trace": None,
        "metrics": None,
    }
    return runner_from_command_lines(lines, changed)


def _watch(options: RunOptions) -> Watch | None:
    """Return the files whose changes restart all commands.

    Raises:
        CommandError: the options do not fit one another.
    """
    if not options["watch"]:
        if options["watch_ignore"]:
            raise CommandError("--watch-ignore requires --watch")
        return None
    if options["hosts"] or options["hosts_file"]:
        raise CommandError("--watch and --hosts cannot be combined")
    return Watch(options["watch"], ignore=options["watch_ignore"])


def _choose_names(lines: Sequence[str], given: str | None) -> list[str]:
    if given is None:
        taken = Names()
        return [taken.unique(default_name(line)) for line in lines]
    names = [name.strip() for name in given.split(",")]
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
