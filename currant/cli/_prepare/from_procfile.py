"""From Procfiles and the options of the command line to a Runner."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from currant._values.command import Command
from currant._values.errors import CommandError
from currant._values.shell_syntax import with_exec
from currant.cli._prepare.display import flush_after, output_fit
from currant.cli._prepare.hosts import build_hosts, on_hosts
from currant.cli._prepare.runner import (
    START_TEXTS,
    Prepared,
    build_runner,
    checked_cwd,
    policies_of,
    select_hidden,
    stdin_of,
)
from currant.config._procfile import (
    expand_instances,
    first_port,
    instance_variables,
    parse_formation,
    read_application,
    select_processes,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from currant.cli._options import StartOptions
    from currant.cli._prepare.stack_place import StackPlace
    from currant.config._procfile import Application, Instance
    from currant.hosts import Hosts

__all__ = ["read_instances", "runner_from_procfile"]


def runner_from_procfile(
    names: Sequence[str], options: StartOptions, stack: StackPlace | None = None
) -> Prepared:
    """Return a Runner for the processes of Procfiles.

    Args:
        names: the process types to start; empty: all.
        options: the options of ``currant start``.
        stack: the socket, the history and the log of the stack; None: no clients.

    Raises:
        CommandError: a file cannot be read, a line cannot be parsed, the Procfile has no process
            with one of the names, or the options do not fit one another.
        ValueError: the prefix is not a valid template.
    """
    application, instances = read_instances(names, options)
    hosts = build_hosts(options, os.path.dirname(application.procfile))
    commands = _commands_of(application, instances, options, hosts)
    quiet = options["quiet_processes"]  # "" for each -q without names
    hide = {"--hide": options["hide"], "--quiet": ",".join(quiet)}
    hidden = select_hidden(commands, hide, application.processes.keys())
    fit = output_fit(commands, application.variables, options, hidden)
    prepared = build_runner(
        list(map(fit, commands)),
        options,
        hidden,
        hosts,
        policies=policies_of(options),
        quiet="" in quiet,
        texts=START_TEXTS,
        stack=stack,
    )
    if stack is None:
        return prepared

    def read_again(_also: Collection[str]) -> Sequence[Command]:
        # A further process would change the ports of the others.
        return _commands_of(*read_instances(names, options), options, hosts)

    return prepared._replace(server=stack.server(commands, read_again, fit))


def _commands_of(
    application: Application,
    instances: Sequence[Instance],
    options: StartOptions,
    hosts: Hosts | None,
) -> list[Command]:
    """Return the commands of a Procfile, whatever the place of the output.

    Raises:
        CommandError: this machine has no directory ``--cwd``.
    """
    procfile, _, variables = application
    cwd = (
        checked_cwd(options, hosts)
        or (os.path.dirname(procfile) if hosts is None else None)
        or None
    )
    commands = [
        Command.shell(
            with_exec(instance.line),
            name=instance.name,
            cwd=cwd,
            env=instance_variables(instance, variables),
            stdin=stdin_of(options),
            stop_signal=options["stop_signal"],
            idle_timeout=options["idle_timeout"],
            max_output=options["max_output"],
            flush_after=flush_after(options, len(instances)),
        )
        for instance in instances
    ]
    return on_hosts(commands, options, hosts)


def read_instances(
    names: Sequence[str], options: StartOptions
) -> tuple[Application, list[Instance]]:
    """Return the contents of the Procfiles, and the processes to start."""
    application = read_application(options["files"], options["env"])
    types = application.processes.keys()
    processes = select_processes(application.processes, names)
    counts = _instance_counts(processes, types, options, all_named=bool(names))
    port = first_port(options["port"], application.variables)
    return application, list(expand_instances(processes, counts, port))


def _instance_counts(
    processes: Mapping[str, str],
    types: Collection[str],
    options: StartOptions,
    *,
    all_named: bool,
) -> dict[str, int]:
    """Return the number of instances of each process to start, by ``-m`` or ``-c``.

    As with foreman, ``-m`` starts only the processes that it names, and the processes that are
    arguments.  As with honcho, ``-c`` starts each other process once.

    Args:
        processes: the processes to start.
        types: all process types of the Procfile.
        options: the options of ``currant start``.
        all_named: whether `processes` are the arguments.

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
    counts = parse_formation(option, given, processes, types, default=default)
    if not any(counts.values()):
        raise CommandError(f"{option} {given} leaves no process to start")
    return counts
