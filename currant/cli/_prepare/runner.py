"""Build a Runner and its sinks from commands and the options that `run` and `start` share."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from currant._supervisor.runner import Runner
from currant._values.command import PIPE, Command
from currant._values.errors import CommandError
from currant._values.launch_spec import SILENT
from currant._values.names import Names, name_all
from currant._values.restart import RestartPolicy
from currant.cli._ci.reports import captured_for
from currant.cli._prepare.display import (
    build_display,
    build_log,
    build_metrics,
    label_width,
    trace_sinks,
)
from currant.cli._prepare.file_limit import (
    FILES_PER_COMMAND,
    FILES_PER_HOST,
    OTHER_FILES,
    raise_file_limit,
)
from currant.cli._prepare.hosts import HostRecord, HostRemark
from currant.cli._prepare.remark import ReadyRemark, StopRemark
from currant.cli._selection import check_success, select_commands
from currant.cli._view import build_view, with_terminals

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from currant._supervisor.sink_tasks import Sink
    from currant._values.launch_spec import Silent
    from currant.cli._options import Options
    from currant.cli._prepare.stack_place import StackPlace
    from currant.cli._view import View
    from currant.hosts import Hosts
    from currant.sinks import Event
    from currant.stack._server import StackServer

__all__ = [
    "START_TEXTS",
    "Prepared",
    "build_runner",
    "checked_cwd",
    "policies_of",
    "restart_policy",
    "select_hidden",
    "stdin_of",
    "with_replicas",
]

NO_TEXTS: Mapping[Event, str | None] = {}

START_TEXTS: Mapping[Event, str | None] = {
    "started": "{name} started (pid {pid})",
    "exited": "{name}: {exit}",
}
"""Messages of ``currant start`` for each start and each exit, as foreman and honcho show them."""


class Prepared(NamedTuple):
    """A Runner that is ready to run, and its companions."""

    runner: Runner
    record: HostRecord | None
    """Remembers which hosts were lost; None if there are no hosts."""
    options: Options | None = None
    """The options after the settings of a configuration; None: the options as given."""
    server: StackServer | None = None
    """Listens for clients; None: nobody can talk to the commands."""
    view: View | None = None
    """Reads the terminal; None: the terminal only shows output."""


def select_hidden(
    commands: Sequence[Command], hide: Mapping[str, str | None], types: Collection[str] = ()
) -> set[str]:
    """Return the names of the commands with hidden output.

    Args:
        commands: the commands.
        hide: the commands to hide, by the option that names them.
        types: the process types of a Procfile.

    Raises:
        CommandError: an option names a command that does not exist.
    """
    names = [command.name for command in commands]
    selected = (
        select_commands(option, given or "", names, types) for option, given in hide.items()
    )
    return set[str]().union(*selected)


def checked_cwd(options: Options, hosts: Hosts | None) -> str | None:
    """Return the directory of the commands, which must exist unless it is on another machine.

    Raises:
        CommandError: this machine has no such directory.
    """
    cwd = options["cwd"]
    if cwd is not None and hosts is None and not os.path.isdir(cwd):
        raise CommandError(f"--cwd {cwd}: there is no such directory")
    return cwd


def stdin_of(options: Options) -> Silent | int | None:
    """Return the stdin of the commands: by default a pipe that stays open and silent.

    Watchers such as ``esbuild --watch`` end when their stdin does.
    """
    places: dict[str, Silent | int | None] = {"open": SILENT, "null": None, "pipe": PIPE}
    return places[options["stdin"]]


def build_runner(
    commands: Sequence[Command],
    options: Options,
    hidden: Collection[str],
    hosts: Hosts | None,
    *,
    policies: Mapping[str, Any],
    quiet: bool,
    texts: Mapping[Event, str | None] = NO_TEXTS,
    stack: StackPlace | None = None,
) -> Prepared:
    """Return a Runner for `commands`.

    Args:
        commands: the commands.
        options: the options.
        hidden: the names of the commands with hidden output.
        hosts: the hosts that run the commands; None: this machine.
        policies: the options of the Runner itself.
        quiet: whether currant's own messages are not shown.
        texts: the texts for events.
        stack: the socket, the history and the log of the stack; None: no clients.
    """
    shown = with_replicas(commands)
    check_success(options["success"], [command.name for command in shown])
    at_a_time = min(len(shown), policies.get("max_processes") or len(shown))
    links = 0 if hosts is None else len(hosts.hosts)
    raise_file_limit(at_a_time * FILES_PER_COMMAND + links * FILES_PER_HOST + OTHER_FILES)
    if stack is not None:
        commands = stack.each_by_itself(commands)
    terminals = with_terminals(commands, options, label_width(shown, options, hidden))
    remark, back, ready = StopRemark(), HostRemark(), ReadyRemark(shown)
    record = None if hosts is None else HostRecord()
    show = build_display(
        shown,
        options,
        hidden,
        texts,
        lambda message: remark(message) or back(message) or ready(message),
        quiet=quiet,
        progress=at_a_time < len(shown) or options["same"],
        log=None if stack is None else stack.log,
        verbatim=terminals.verbatim,
    )
    history = None if stack is None else stack.history
    others: list[Sink | None] = [record, history, build_metrics(options)]
    sinks = [show, *build_log(options, by_host=hosts is not None), *trace_sinks(options["trace"])]
    settings = dict(policies)
    settings["capture"] = settings.get("capture") or captured_for(options["junit"])
    runner = Runner(
        terminals.commands,
        sinks=[*sinks, *filter(None, others)],
        launcher=hosts,
        iterable=False,
        keep_open=stack is not None,
        **settings,
    )
    remark.runner = runner
    return Prepared(runner, record, view=build_view(show, options, terminals))


def with_replicas(commands: Sequence[Command]) -> list[Command]:
    """Return the commands with each replica by itself, as messages name them."""
    return [each for several in name_all(commands, Names()).values() for each in several]


def policies_of(options: Options) -> dict[str, Any]:
    """Return the options of the Runner."""
    return {
        "restart": restart_policy(options),
        "kill_others_on": options["kill_others_on"],
        "grace": options["grace"],
        "kill_mode": options["kill_mode"],
        "leftovers": options["leftovers"],
        "cgroup": "auto" if options["cgroup"] == "auto" else options["cgroup"] == "yes",
        "wrap": options["wrap"],
    }


def restart_policy(options: Options) -> RestartPolicy:
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
