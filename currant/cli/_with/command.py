"""The declaration of ``currant with`` for click."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import anyio
import click

from currant._values.errors import CurrantError
from currant.cli._ci.reports import Reports, ended_commands
from currant.cli._dashes import split_at_dashes, words_for
from currant.cli._errors import report_error, showing_warnings
from currant.cli._parsers import Seconds
from currant.cli._runner_options import COLOR_OPTION, GRACE_OPTION, JUNIT_OPTION, LOG_OPTION
from currant.cli._with.failure import as_failed, explain, first_ended
from currant.cli._with.main import run_plan
from currant.cli._with.plan import plan_of
from currant.cli._with.ports import HeldPorts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Unpack

    from currant.cli._with.options import WithOptions

__all__ = ["run_with_servers"]

STATUS_OF_SERVER = 1
"""The exit status if a server has ended before the test."""

PROBE_FORMS = (
    "tcp:PORT, tcp:HOST:PORT, unix:PATH, http://HOST:PORT/PATH, http:PORT/PATH, the same with "
    "https, file:PATH, line:REGEX, command:LINE or delay:SECONDS"
)


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
            closing(Reports("currant with", options["junit"])) as reports,
            closing(HeldPorts(options["ports"])) as ports,
        ):
            plan = plan_of(servers, options, ports.variables)
            with showing_warnings():
                status = anyio.run(run_plan, plan, options["grace"])
            ended = ended_commands(plan.runner)
            if status is None:
                failed = first_ended(plan)
                explain(plan, failed, quiet=options["quiet"])
                ended = [as_failed(each, failed) for each in ended]
                status = STATUS_OF_SERVER
            return reports.write(ended, status)
    except (CurrantError, ValueError) as error:
        return report_error(error)
