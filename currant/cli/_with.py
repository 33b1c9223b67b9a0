"""``currant with SERVER… -- TEST``: start servers, wait until they are ready, and run a test.

One Runner runs the servers and the test.  The test waits for the servers (`after`), and the end of
any command stops the others (`kill_others_on`).  The test is a command, too, and has the terminal.
"""

from __future__ import annotations

import re
import signal as signals
import sys
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

import anyio
import click
from click.core import ParameterSource

from currant import ready as probes
from currant._supervisor.runner import Runner
from currant._values.command import FLUSH_AFTER, Command
from currant._values.errors import CommandError, CurrantError, NotReadyError, with_lines
from currant._values.launch_spec import SILENT
from currant._values.names import Names
from currant._values.policies import StopReason
from currant._values.printable import printable
from currant._values.shell_syntax import with_exec
from currant.cli._ci_reports import EndedCommand, Reports, captured_for, ended_commands
from currant.cli._config_servers import find_servers
from currant.cli._dashes import split_at_dashes, words_for
from currant.cli._display import log_sinks
from currant.cli._env import output_variables
from currant.cli._foreground import Foreground
from currant.cli._labels import default_name
from currant.cli._parsers import Seconds
from currant.cli._ports import HeldPorts, fill_in
from currant.cli._report import report_error
from currant.cli._run import (
    exit_status,
    first_stop_signal,
    forward_signals,
    pause_and_resume,
    print_error,
    showing_warnings,
    status_without_output,
    stop_then_kill,
)
from currant.cli._runner_options import COLOR_OPTION, GRACE_OPTION, JUNIT_OPTION, LOG_OPTION
from currant.cli._selection import without_messages_of
from currant.cli._signals import (
    FORWARDED_SIGNALS,
    PAUSE_SIGNALS,
    STOP_SIGNALS,
    SignalStatus,
    receive_signals,
)
from currant.config._env_files import read_env_files
from currant.config._probes import probe_from_text
from currant.sinks import ConsoleSink

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from typing import Unpack

    from currant._supervisor.sink_tasks import Sink
    from currant._values.results import Result
    from currant.ready import Probe
    from currant.sinks import Color, Event

__all__ = ["run_with_servers"]

STDIN = 0

STATUS_OF_SERVER = 1
"""The exit status if a server has ended before the test."""

IN_USE = re.compile(rb"EADDRINUSE|address (is )?already in use", re.IGNORECASE)
"""The message of a server that cannot bind to its port."""

TEXTS: Mapping[Event, str | None] = dict.fromkeys(("aborted", "exited", "failed", "skipped"))
"""No texts about failures, because `_explain` reports the failure at the end."""


PROBE_FORMS = (
    "tcp:PORT, tcp:HOST:PORT, unix:PATH, http://HOST:PORT/PATH, http:PORT/PATH, the same with "
    "https, file:PATH, line:REGEX, command:LINE or delay:SECONDS"
)


OPTIONS_FOR = {
    "pass own=False to the probe": "give --any-owner",
    "name the file of its authority with ca, or pass verify=False to the probe": (
        "set SSL_CERT_FILE to the file of its authority, or give --any-certificate"
    ),
}
"""The options that stand for an argument of a probe, in the reason of a failure."""


class WithOptions(TypedDict):
    """The options of ``currant with``."""

    ready: Sequence[tuple[int, str]]
    """Each probe with the number of servers before it."""
    test: Sequence[str]
    files: Sequence[str]
    ports: Sequence[str]
    timeout: float | None
    any_owner: bool
    any_certificate: bool
    quiet: bool
    color: Color
    grace: float
    env_file: Sequence[str]
    cwd: str | None
    log_dir: str | None
    junit: str | None


class _WithCommand(click.Command):
    """A command line with a test after ``--``, and with options of the server before them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        words, test = split_at_dashes(args)
        if ctx.resilient_parsing:  # A shell completes an unfinished line.
            return super().parse_args(ctx, words)
        before = [
            len(words_for(self, ctx, "servers", words[:place]))
            for place, word in enumerate(words)
            if word.partition("=")[0] == "--ready"
        ]
        rest = super().parse_args(ctx, words)
        ctx.params["ready"] = tuple(zip(before, ctx.params["ready"], strict=True))
        ctx.params["test"] = test or ()
        return rest

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "--", "TEST", "[ARGUMENT]..."]


@click.command("with", cls=_WithCommand)
@click.option(
    "--ready",
    multiple=True,
    metavar="PROBE",
    help=f"How to see that the server before this option is ready: {PROBE_FORMS}.  May be repeated "
    "for a server; then all must hold.  Without it, a server is ready as soon as it runs.",
)
@click.option(
    "-f",
    "--file",
    "files",
    type=click.Path(dir_okay=False),
    multiple=True,
    metavar="FILE",
    help="A configuration whose commands SERVER may name; may be repeated.  [default: currant.toml "
    "or pyproject.toml, in this folder or above it]",
)
@click.option(
    "--timeout",
    type=Seconds(min=0, min_open=True),
    metavar="S",
    help="Seconds that each server has to become ready.  [default: 60]",
)
@click.option(
    "--any-owner",
    is_flag=True,
    help="Accept that a port was opened by another process than the server, as by Docker.",
)
@click.option(
    "--any-certificate",
    is_flag=True,
    help="Accept any certificate of an https server, such as one that it has signed itself.",
)
@click.option(
    "--port",
    "ports",
    multiple=True,
    metavar="NAME",
    help="Set NAME_PORT to a free port, which no other program gets; may be repeated.  PROBE and "
    "TEST may contain $NAME_PORT.",
)
@click.option("-q", "--quiet", is_flag=True, help="Show nothing of the servers unless one fails.")
@click.option(
    "--env-file",
    multiple=True,
    metavar="FILE",
    help="A file of variables for all commands, one NAME=value per line; may be repeated.",
)
@click.option("--cwd", metavar="DIR", help="Run all commands in this directory.")
@COLOR_OPTION
@LOG_OPTION
@JUNIT_OPTION
@GRACE_OPTION
@click.argument("servers", metavar="SERVER...", nargs=-1, required=True)
def run_with_servers(servers: Sequence[str], **options: Unpack[WithOptions]) -> int:
    """Start each SERVER, wait until all are ready, and run TEST.

    SERVER is a line for the shell, or the name of a command of the configuration, which is started
    with all commands that it depends on.

    TEST has the terminal, so a debugger and Ctrl-C work as without currant.  When it has ended,
    currant stops the servers, and exits with the status of TEST, 128 + n for signal n.  If a server
    ends first, currant stops TEST, shows the last lines of that server, and exits with status 1.
    The output of the servers goes to stderr, with a prefix.

    Example: currant with 'npm start' --ready http://localhost:3000 -- npx cypress run
    """
    try:
        with (
            Reports("currant with", options["junit"]) as reports,
            HeldPorts(options["ports"]) as ports,
        ):
            plan = _plan(servers, options, ports.variables)
            with showing_warnings():
                status = anyio.run(_run, plan, options["grace"])
            ended = ended_commands(plan.runner)
            if status is None:
                failed = _first_ended(plan)
                _explain(plan, failed, quiet=options["quiet"])
                ended = [_with_failure(each, failed) for each in ended]
                status = STATUS_OF_SERVER
            return reports.write(ended, status)
    except (CurrantError, ValueError) as error:
        return report_error(error)


class _Plan(NamedTuple):
    """A Runner of the servers and the test, and the name of the test."""

    runner: Runner
    test: str
    has_ports: bool


def _plan(servers: Sequence[str], options: WithOptions, ports: Mapping[str, str]) -> _Plan:
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
    own = {names.unique(command.name) for command in named.commands}
    overrides = dict(zip(servers, probes_given, strict=True))
    commands = [
        *(_shown(each, overrides.get(each.name), variables, options) for each in named.commands),
        *(
            _server(line, names, probe, variables, options)
            for line, probe in zip(servers, probes_given, strict=True)
            if line not in own
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
    return _Plan(runner, test.name, has_ports=bool(ports))


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
    return _shown(command, probe, variables, options)


def _shown(
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


async def _run(plan: _Plan, grace: float) -> int | None:
    """Run the servers and the test; return the exit status, or None if a server ended first."""
    runner, reasons = plan.runner, list[int]()
    # If the terminal stops programs in the background that write (`stty tostop`), currant goes on.
    signals.signal(signals.SIGTTOU, signals.SIG_IGN)
    try:
        with (
            receive_signals(STOP_SIGNALS) as stop_signals,
            receive_signals(PAUSE_SIGNALS) as pause_signals,
            receive_signals(FORWARDED_SIGNALS) as forwarded_signals,
            receive_signals([signals.SIGCHLD]) as child_signals,
        ):
            async with runner, anyio.create_task_group() as tasks:
                test = runner[plan.test]
                with closing(Foreground(test)) as foreground:
                    tasks.start_soon(foreground.lend, child_signals)
                    tasks.start_soon(pause_and_resume, runner, pause_signals, foreground.resume)
                    tasks.start_soon(forward_signals, runner, forwarded_signals)
                    tasks.start_soon(_stop_on_signal, plan, stop_signals, grace, reasons)
                    end = (await test.wait()).exit
                key = end.signal if end is not None and foreground.was_lent else None
                if key is not None and key in (signals.SIGINT, signals.SIGQUIT):
                    # The key ends a loop of the shell around currant, too.
                    reasons.append(SignalStatus(128 + key))
                await runner.join()
                tasks.cancel_scope.cancel()
    except CurrantError:
        raise
    except OSError as error:  # A sink raises this error.
        reasons.append(status_without_output(error))
    if reasons:
        return reasons[0]
    result = runner.results[plan.test]
    return exit_status([result]) if result.status in ("succeeded", "failed") else None


async def _stop_on_signal(
    plan: _Plan, received: AsyncIterator[signals.Signals], grace: float, reasons: list[int]
) -> None:
    """Pass the first signal on to the test, and stop all at the second, or after the grace."""
    signal = await first_stop_signal(received, reasons)
    if await plan.runner[plan.test].send_signal(signal):
        with anyio.move_on_after(grace):
            signal = await anext(received)
    await stop_then_kill(plan.runner, signal, received)


def _first_ended(plan: _Plan) -> Result | None:
    """Return the result of the server that has ended before the test; None if none has."""
    ended = [each for each in plan.runner.results.values() if each.command != plan.test]
    ended = [each for each in ended if each.status != "stopped"]
    reason = plan.runner.barrier.reason
    if isinstance(reason, StopReason):
        ended.sort(key=lambda each: each.command != reason.command)
    return next(iter(ended), None)


def _with_failure(ended: EndedCommand, failed: Result | None) -> EndedCommand:
    """Return a command for the reports, in which a server that ended by itself has failed."""
    if ended.result is not failed:
        return ended
    return ended._replace(result=replace(ended.result, status="failed"))


def _explain(plan: _Plan, failed: Result | None, *, quiet: bool) -> None:
    """Say which server has ended before the test."""
    if failed is None:
        return
    # Without output of the test in between, the last lines are shown already.
    is_shown = not quiet and not plan.runner[plan.test].attempts
    print_error(with_lines(_end_of(failed), () if is_shown else failed.tail))
    if plan.has_ports and any(IN_USE.search(line.data) for line in failed.tail):
        print_error(
            "a port of --port is held until the server binds to it, which needs SO_REUSEADDR; "
            "give a server without that a port of your own"
        )


def _end_of(result: Result) -> str:
    """Return in one line how a server has failed."""
    name = printable(result.command)
    if isinstance(result.error, NotReadyError):
        reason = result.error.reason
        for argument, option in OPTIONS_FOR.items():
            reason = reason.replace(argument, option)
        return f"{name} is not ready: {reason}"
    if result.error is not None:
        return str(result.error).partition("\n")[0]
    return f"{name} ended before the test: {result.exit}"
