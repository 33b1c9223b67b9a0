"""`plan_of`: the Runner of the servers and the test, from a command line."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from click.core import ParameterSource

from currant import ready as probes
from currant._supervisor.runner import Runner
from currant._values.command import FLUSH_AFTER, Command
from currant._values.errors import CommandError
from currant._values.launch_spec import SILENT
from currant._values.names import Names
from currant._values.shell_syntax import with_exec
from currant.cli._ci.reports import captured_for
from currant.cli._prepare.display import log_sinks
from currant.cli._prepare.env import output_variables
from currant.cli._prepare.labels import default_name
from currant.cli._selection import without_messages_of
from currant.cli._with.config_servers import find_servers
from currant.cli._with.ports import fill_in
from currant.config._env_files import read_env_files
from currant.config._probes import probe_from_text
from currant.sinks import ConsoleSink

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from currant._supervisor.sink_tasks import Sink
    from currant.cli._with.options import WithOptions
    from currant.ready import Probe
    from currant.sinks import Event

__all__ = ["Plan", "plan_of"]

STDIN = 0

TEXTS: Mapping[Event, str | None] = dict.fromkeys(("aborted", "exited", "failed", "skipped"))
"""No texts about failures, because `explain` reports the failure at the end."""


class Plan(NamedTuple):
    """A Runner of the servers and the test, the name of the test, and whether it has ports."""

    runner: Runner
    test: str
    has_ports: bool


def plan_of(servers: Sequence[str], options: WithOptions, ports: Mapping[str, str]) -> Plan:
    """Return a Runner of the servers and the test.

    Raises:
        CommandError: the command line is wrong.
    """
    if not options["test"]:
        raise CommandError("give the command to run after --: currant with SERVER... -- TEST")
    variables = {**read_env_files(options["env_file"]), **ports}
    probes_given = _probes_of(servers, options, ports)
    named = find_servers(servers, options["files"])
    names = Names()
    configured = {names.unique(command.name) for command in named.commands}
    overrides = dict(zip(servers, probes_given, strict=True))
    commands = [
        *(_for_test(each, overrides.get(each.name), variables, options) for each in named.commands),
        *(
            _server(line, names, probe, variables, options)
            for line, probe in zip(servers, probes_given, strict=True)
            if line not in configured
        ),
    ]
    words = [fill_in(word, ports) for word in options["test"]]
    test = Command(
        words,
        name=names.unique(Command(words).name),
        cwd=options["cwd"],
        env=variables,
        stdin=STDIN,
        stdout="inherit",
        stderr="inherit",
        new_session=False,
        # The settings of a configuration for all commands are not for the test.
        wrap=(),
        restart="never",
        kill_mode="group",
        leftovers="stop",
        after={**dict.fromkeys(command.name for command in commands), **named.needs},
        kill_others_on="exit",
    )
    sinks = _display(options, test.name)
    settings: dict[str, Any] = {"grace": options["grace"], **named.runner}
    source = click.get_current_context().get_parameter_source("grace")
    if source is ParameterSource.COMMANDLINE:
        settings["grace"] = options["grace"]
    settings["capture"] = captured_for(options["junit"])
    runner = Runner([*commands, test], sinks=sinks, iterable=False, **settings)
    return Plan(runner, test.name, has_ports=bool(ports))


def _server(
    line: str,
    names: Names,
    probe: Probe | None,
    variables: Mapping[str, str],
    options: WithOptions,
) -> Command:
    """Return the command of a server.  The end of the command ends the test.

    Raises:
        CommandError: the line is blank.
    """
    command = Command.shell(
        with_exec(line),
        name=names.unique(default_name(line)),
        cwd=options["cwd"],
        stdin=SILENT,
        kill_others_on="exit",
    )
    return _for_test(command, probe, variables, options)


def _for_test(
    command: Command, probe: Probe | None, variables: Mapping[str, str], options: WithOptions
) -> Command:
    """Return the command of a server, with the variables and the output for a test.

    Args:
        command: the command.
        probe: the probe of the command line, which replaces the probe of the command.
        variables: the variables of the command line.
        options: the options.
    """
    color, known = options["color"], {**command.env, **variables}
    shown = output_variables(known, color, shown=True, columns=None, on_stderr=True)
    has_pipes = command.stdout is None and command.stderr == "separate"
    return replace(
        command,
        env={**shown, **known},
        # Both streams go to stderr, in the order written.  With --quiet they stay apart, for the
        # last lines.
        stderr="stdout" if has_pipes and not options["quiet"] else command.stderr,
        flush_after=FLUSH_AFTER if command.flush_after == "auto" else command.flush_after,
        ready=probe or command.ready,
    )


def _probes_of(
    servers: Sequence[str], options: WithOptions, ports: Mapping[str, str]
) -> list[Probe | None]:
    """Return the probe of each server; None if a server has none.

    Raises:
        CommandError: a probe is wrong, or comes before the first of several servers.
    """
    if options["timeout"] is not None and not options["ready"]:
        raise CommandError("--timeout requires --ready")
    found: list[list[Probe]] = [[] for _ in servers]
    for before, text in options["ready"]:
        if before == 0 and len(servers) > 1:
            raise CommandError(
                f"--ready {text} comes before the first server; put it after the server that it "
                "belongs to"
            )
        probe = _parse_probe(fill_in(text, ports), options)
        found[max(0, before - 1)].append(probe)
    return [probes.all_of(*each) if len(each) > 1 else next(iter(each), None) for each in found]


def _parse_probe(text: str, options: WithOptions) -> Probe:
    own, verify = not options["any_owner"], not options["any_certificate"]
    try:
        return probe_from_text(text, timeout=options["timeout"], own=own, verify=verify)
    except CommandError as error:
        raise CommandError(f"--ready {text}: {error}") from error


def _display(options: WithOptions, test: str) -> list[Sink]:
    """Return the sinks that show the servers on stderr, and log them."""
    sinks = log_sinks(options["log_dir"], options["color"])
    if not options["quiet"]:
        color = options["color"]
        sinks.append(ConsoleSink(sys.stderr, sys.stderr, color=color, texts=TEXTS, hidden={test}))
    return [without_messages_of(sink, {test}) for sink in sinks]
