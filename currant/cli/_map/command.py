"""``currant map``: its options, declared for click."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, cast

import click

from currant._values.checks import PATTERN_ERRORS
from currant.cli._host_options import (
    FORWARD_ENV_OPTION,
    HOST_OPTIONS,
    PER_HOST_OPTION,
    add_options,
)
from currant.cli._map.main import run_map
from currant.cli._map.parsers import parse_halt, parse_load, parse_slots
from currant.cli._parsers import Seconds, parse_size
from currant.cli._runner_options import (
    COLOR_OPTION,
    GRACE_OPTION,
    JUNIT_OPTION,
    TRACE_OPTION,
    cwd_option,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Unpack

    from currant.cli._map.options import MapOptions

__all__ = ["map_items"]


def _parse_pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except PATTERN_ERRORS as error:
        raise click.BadParameter(f"{text!r} is not a regular expression: {error}") from error


def _parse_record_end(text: str) -> bytes:
    """Return the bytes at the end of a record, given with the escapes of Python's bytes."""
    try:
        return os.fsencode(text).decode("unicode_escape").encode("latin-1")
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        raise click.BadParameter(f"{text!r} has a wrong escape: {error.reason}") from error


INPUT_OPTIONS = (
    click.option(
        "-a",
        "--arg-file",
        multiple=True,
        metavar="FILE",
        help="A file of values, as after ::::; may be repeated.",
    ),
    click.option("-0", "--null", is_flag=True, help="A NUL byte ends each value, not a newline."),
    click.option(
        "-n",
        "-N",
        "--max-args",
        "per_job",
        type=click.IntRange(min=1),
        metavar="N",
        help="Give N values to each command; with --stdin N records.",
    ),
    click.option(
        "-C",
        "--colsep",
        type=_parse_pattern,
        metavar="REGEX",
        help="Split each line into the columns {1}, {2} and so on.",
    ),
    click.option("--header", is_flag=True, help="The first line has the names of the columns."),
    click.option("--csv", is_flag=True, help="The input is CSV; --header names its columns."),
    click.option("--tsv", is_flag=True, help="The same with tabs, without quotes."),
    click.option(
        "--jsonl", is_flag=True, help="Each line is a JSON object, array or value; keys are names."
    ),
    click.option(
        "--stdin",
        "--pipe",
        is_flag=True,
        help="Give each command a block of stdin, of whole records, instead of values.",
    ),
    click.option(
        "--block",
        type=parse_size,
        metavar="BYTES",
        help="With --stdin: the size of a block, with the unit k, M or G.  [default: 1M]",
    ),
    click.option(
        "--recend",
        type=_parse_record_end,
        metavar="TEXT",
        help=r"With --stdin: what ends a record.  [default: \n]",
    ),
)

PACE_OPTIONS = (
    click.option(
        "-j",
        "-P",
        "--jobs",
        "-m",
        "--max-processes",
        "jobs",
        type=parse_slots,
        metavar="N",
        help="Run N commands at a time; a share of the CPUs such as 50%; +N or -N beside their "
        "number; 0: as many as there are.  [default: +0; with --hosts, their places]",
    ),
    click.option(
        "--delay",
        type=Seconds(min=0),
        default=0.0,
        metavar="S",
        help="Start a command, or a retry, S seconds after the last one at the earliest.",
    ),
    click.option(
        "--max-load",
        "--load",
        type=parse_load,
        metavar="N",
        help="Start no command while the load is above N, or above a share of the CPUs.",
    ),
    click.option(
        "--memfree",
        type=parse_size,
        metavar="BYTES",
        help="Start no command while less memory is available.",
    ),
)

COMMAND_OPTIONS = (
    click.option("--shell", is_flag=True, help="Run the command by a shell in any case."),
    click.option(
        "--timeout",
        type=Seconds(min=0, min_open=True),
        metavar="S",
        help="Stop a command that takes longer than S seconds; it has failed.",
    ),
    click.option(
        "--retries",
        type=click.IntRange(min=0),
        default=0,
        metavar="N",
        help="Run a command that fails up to N times more, with --hosts on another host.",
    ),
    click.option(
        "--halt",
        type=parse_halt,
        default="never",
        show_default=True,
        metavar="WHEN",
        help="now: stop all at the first failure; soon: start no more; with a limit: "
        "now,fail=3, soon,fail=10%, now,success=1, soon,done=100.",
    ),
    GRACE_OPTION,
    cwd_option("the current one"),
    click.option(
        "--env-file",
        multiple=True,
        metavar="FILE",
        help="A file of variables for the commands, one NAME=value per line; may be repeated.",
    ),
    click.option("--limit-memory", type=parse_size, metavar="BYTES", help="Address space."),
    click.option(
        "--limit-cpu-time", type=click.IntRange(min=1), metavar="S", help="Processor time."
    ),
    click.option("--limit-file-size", type=parse_size, metavar="BYTES", help="Size of a file."),
    click.option(
        "--limit-open-files", type=click.IntRange(min=1), metavar="N", help="Number of open files."
    ),
    click.option(
        "--limit-processes",
        type=click.IntRange(min=1),
        metavar="N",
        help="Number of processes of the user.",
    ),
    click.option("--limit-core", type=click.IntRange(min=0), metavar="BYTES", help="Core dump."),
)

OUTPUT_OPTIONS = (
    click.option(
        "-k", "--keep-order", is_flag=True, help="Show the output in the order of the input."
    ),
    click.option(
        "--group",
        "line",
        flag_value=False,
        default=None,
        help="Show the output of a command in one piece, when it has ended; the default.  Given "
        "explicitly, GitHub Actions folds each piece.",
    ),
    click.option(
        "--line",
        "--line-buffer",
        "--linebuffer",
        "--lb",
        "line",
        flag_value=True,
        default=None,
        help="Show whole lines as they come.",
    ),
    click.option(
        "-u",
        "--raw",
        "--ungroup",
        "raw",
        is_flag=True,
        help="Show output as it comes, even parts of lines.",
    ),
    click.option("--tag", is_flag=True, help="Put the values and a tab before each line."),
    click.option("--dry-run", "--dryrun", is_flag=True, help="Show the commands, and start none."),
    click.option(
        "--results",
        type=click.Path(file_okay=False),
        metavar="DIR",
        help="Also write stdout, stderr, exit and usage of each command into a folder below DIR.",
    ),
    click.option(
        "--joblog",
        type=click.Path(dir_okay=False),
        metavar="FILE",
        help="Write a line for each command that has ended, in the format of GNU parallel.",
    ),
    click.option("--resume", is_flag=True, help="Skip the commands that --joblog has."),
    click.option(
        "--resume-failed", is_flag=True, help="The same, but run those again that have failed."
    ),
    click.option(
        "--retry-failed",
        type=click.Path(exists=True, dir_okay=False),
        metavar="FILE",
        help="Run the commands again that have failed according to this job log; no TEMPLATE.",
    ),
    click.option(
        "--progress/--no-progress",
        "--bar",
        "--eta",
        "progress",
        default=None,
        help="Show how far it is.  [default: on a terminal; in a CI a line each 10 seconds]",
    ),
    click.option("--json", is_flag=True, help="Write a JSON object for each command, not output."),
    JUNIT_OPTION,
    TRACE_OPTION,
    click.option("-q", "--quiet", is_flag=True, help="Show no summary."),
    COLOR_OPTION,
)


class _MapCommand(click.Command):
    """A command whose template and values follow its options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take ``--header :``, as GNU parallel writes it, for ``--header``."""
        if "--header" in args:
            parsed = self.make_parser(ctx).parse_args(list(args))[0]
            found = parsed["words"]  # No tuple if there are none.
            words = cast("tuple[str, ...]", found) if isinstance(found, tuple) else ()
            if "header" in parsed and words[:1] == (":",):
                del args[len(args) - len(words)]
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [
            *super().collect_usage_pieces(ctx)[:1],
            "TEMPLATE...",
            "[::: VALUE...] [:::: FILE...]",
        ]


@click.command("map", cls=_MapCommand, context_settings={"allow_interspersed_args": False})
@add_options(PACE_OPTIONS, COMMAND_OPTIONS, INPUT_OPTIONS, OUTPUT_OPTIONS)
@add_options(HOST_OPTIONS, [PER_HOST_OPTION, FORWARD_ENV_OPTION])
@click.argument("words", metavar="TEMPLATE...", nargs=-1, type=click.UNPROCESSED)
def map_items(words: Sequence[str], **options: Unpack[MapOptions]) -> int:
    r"""Run a command for each of many values, several at a time.

    The values are the words after :::, the lines of the files after ::::, or the lines of stdin.
    Several ::: make all combinations; :::+ and ::::+ belong to those before, one to one.

    In TEMPLATE, {} stands for the value, {.} for it without its extension, {/} for its last path
    component, {//} for its folder, {/.} for both; {1} for the first of several values, {name} for
    that of a column, {1/.} and {name.} likewise; {#} for the number of the command, and {%} for its
    slot.  Without any, {} is appended.  A value is one argument, whatever is in it.  TEMPLATE is
    run without a shell, unless it is a single word with shell syntax, such as 'gzip -c {} > {}.gz';
    the shell gets the values as parameters, not as a part of its script.

    Ctrl-C stops all commands; a second Ctrl-C kills them.  The exit status is 0 if all succeeded,
    or the number of failures, 101 for more than 100; 2 if nothing could be started.

    Example: currant map -j 8 --joblog log --resume convert {} {.}.png ::: *.jpg
    """
    return run_map(words, options)
