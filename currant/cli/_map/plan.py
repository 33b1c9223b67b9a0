"""From the options of `currant map` to the jobs and how they are run.

Everything that can be wrong is found here, before the first job starts.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from currant._batch.rows import Row
from currant._batch.template import Template
from currant._values.command import Command, with_stdin, with_words
from currant._values.errors import CommandError
from currant._values.shell_syntax import join_lines, why_shell, with_exec
from currant.cli._errors import print_error
from currant.cli._map.arguments import split_arguments
from currant.cli._map.blocks import BlockReader
from currant.cli._map.chunks import ChunkReader
from currant.cli._map.command_options import command_options
from currant.cli._map.from_parallel import check_no_perl, remark_on_words
from currant.cli._map.inputs import open_inputs
from currant.cli._map.job import Job, job_name
from currant.cli._map.job_log import JobLog, create_job_log, reopen_job_log
from currant.cli._map.option_rules import check_options
from currant.cli._map.pace import Pace, Pacer
from currant.cli._map.parsing import Form, Format
from currant.cli._map.resume import jobs_not_logged
from currant.cli._prepare.hosts import chosen_hosts, way_to_hosts

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        AsyncIterable,
        AsyncIterator,
        Callable,
        Iterable,
        Sequence,
    )
    from contextlib import AsyncExitStack

    from currant.cli._map.arguments import Group
    from currant.cli._map.options import MapOptions
    from currant.hosts import Hosts

__all__ = ["Plan", "prepare"]

STDIN = 0

BLOCK_SIZE = 1 << 20
"""Bytes of a block of stdin by default."""

UNQUOTED = re.compile(r"[$`*?\[~\n] | (?: ^ | \s ) \#", re.VERBOSE)
"""Signs of a variable, a substitution, a pattern, a home folder, a second line or a comment: such a
template needs a shell."""

NO_COMMAND = "give a command, such as: currant map gzip {} ::: FILE..."


@dataclass
class Plan:
    """What `currant map` has to do.

    Attributes:
        jobs: the jobs, one by one, as they may start.
        make: builds the command of a job, from the number of its turn and its slot.
        line: returns the command of a job as it is typed in a shell; the values of the job if they
            do not fit into the template.
        total: returns the number of jobs; None while it is not known.
        log: the job log, if there is one.
        launcher: runs the commands on hosts; None: on this machine.
        text: the template as one line, or ``"sh"`` if each job is a line for a shell.
        program: the command without values, to look its program up; None if the jobs run several.
        pacer: lets each process start in its turn; None: at once.
        skipped: how many jobs were left out so far, because the job log has them.
        skipped_failed: how many of these have failed, according to the job log.
        is_typed: whether a person types the values at the terminal.
    """

    jobs: AsyncIterable[Job]
    make: Callable[[Job, int, int], Command]
    line: Callable[[Job], str]
    total: Callable[[], int | None]
    log: JobLog | None
    launcher: Hosts | None
    text: str
    program: Command | None
    pacer: Pacer | None = None
    skipped: int = 0
    skipped_failed: int = 0
    is_typed: bool = False

    @property
    def goes_on(self) -> bool:
        """Whether the job log has jobs of an earlier run."""
        logged = None if self.log is None else self.log.logged
        return logged is not None and logged.first is not None

    def note_skipped(self, job: Job) -> None:
        """Count a job that was left out."""
        assert self.log is not None
        assert self.log.logged is not None
        self.skipped += 1
        self.skipped_failed += self.log.logged.has_failure(job.number)


async def prepare(words: Sequence[str], options: MapOptions, stack: AsyncExitStack) -> Plan:
    """Return what the command line asks for; `stack` closes the files that this opens.

    Raises:
        CommandError: the command line, a file of values or a job log is wrong.
    """
    check_options(options)
    template_words, groups = split_arguments(words, options["arg_file"])
    check_no_perl(template_words)
    if not options["shell"] and (remark := remark_on_words(template_words)):
        print_error(remark)
    log = _open_log(options)
    if log is not None:
        stack.callback(log.close)
    if options["retry_failed"] is not None:
        if words:
            raise CommandError("--retry-failed runs the commands of a job log, and takes no other")
        plan = _plan_of_failed(options, log)
    else:
        if options["stdin"]:
            plan = _plan_of_blocks(template_words, groups, options, log)
        else:
            plan = await _plan_of_values(template_words, groups, options, log, stack)
            plan.is_typed = _is_typed(groups)
        if log is not None and log.logged is not None:
            plan.jobs = await jobs_not_logged(
                plan.jobs,
                plan.line,
                log.logged,
                redo_failed=options["resume_failed"],
                on_skip=plan.note_skipped,
            )
    pace = Pace(options["delay"], options["max_load"], options["memfree"])
    if pace != Pace() and not options["dry_run"]:
        plan.pacer = Pacer(pace)
        plan.jobs = plan.pacer.paced(plan.jobs)
    return plan


def _plan_of_failed(options: MapOptions, log: JobLog | None) -> Plan:
    """Return the plan of the jobs that have failed according to the job log."""
    assert log is not None
    assert log.logged is not None
    failed = list(log.logged.failed())
    return _plan_of_lines(_jobs_of_lines(failed), options, log, lambda: len(failed))


def _plan_of_blocks(
    words: Sequence[str], groups: Sequence[Group], options: MapOptions, log: JobLog | None
) -> Plan:
    """Return the plan of jobs that read blocks of stdin."""
    if groups:
        raise CommandError("with --stdin the input is stdin, so no ::: can follow")
    blocks = BlockReader(
        ChunkReader("stdin", STDIN),
        size=options["block"] or BLOCK_SIZE,
        record_end=b"\n" if options["recend"] is None else options["recend"],
        records=options["per_job"],
    )
    template = _template(words, options, names=None, columns=0)
    return _plan_of_template(_jobs_of_blocks(blocks), template, options, log, lambda: None)


async def _plan_of_values(
    words: Sequence[str],
    groups: Sequence[Group],
    options: MapOptions,
    log: JobLog | None,
    stack: AsyncExitStack,
) -> Plan:
    """Return the plan of jobs with values; without a template, each value is a line for a shell."""
    if _is_typed(groups):
        print_error("reading the values from the terminal, one in a line, until Ctrl-D")
    inputs = await stack.enter_async_context(open_inputs(groups, _form(options)))
    jobs = _jobs_of_rows(inputs)
    if not words:
        if inputs.names is not None:
            raise CommandError(NO_COMMAND)
        return _plan_of_lines(jobs, options, log, lambda: inputs.total)
    if inputs.is_empty:  # No name of a column can be known, so the template cannot be checked.
        template = Template(["true"], options=command_options(options))
    else:
        template = _template(words, options, names=inputs.names, columns=inputs.columns)
    return _plan_of_template(jobs, template, options, log, lambda: inputs.total)


def _is_typed(groups: Sequence[Group]) -> bool:
    """Return whether a person types the values."""
    files = [path for group in groups if group.are_files for path in group.words]
    return (not groups or "-" in files) and os.isatty(STDIN)


def _form(options: MapOptions) -> Form:
    given = next((name for name in ("csv", "tsv", "jsonl") if options[name]), "lines")
    return Form(
        format=cast("Format", given),
        null=options["null"],
        header=options["header"],
        colsep=options["colsep"],
        per_job=options["per_job"] or 1,
    )


def _template(
    words: Sequence[str],
    options: MapOptions,
    *,
    names: Sequence[str] | None,
    columns: int | None,
) -> Template:
    """Return the template of the command line."""
    if not words:
        raise CommandError(NO_COMMAND)
    given = command_options(options)
    line = words[0] if len(words) == 1 else None
    if line is not None:
        shell = options["shell"] or bool(why_shell(line) or UNQUOTED.search(join_lines(line)))
        return Template(line, names=names, columns=columns, shell=shell, options=given)
    return Template(words, names=names, columns=columns, shell=options["shell"], options=given)


def _open_log(options: MapOptions) -> JobLog | None:
    """Open the job log; None if there is none, or if a dry run would create or empty it."""
    is_dry = options["dry_run"]
    if options["retry_failed"] is not None:
        return reopen_job_log(options["retry_failed"], must_exist=True, read_only=is_dry)
    path = options["joblog"]
    resumes = options["resume"] or options["resume_failed"]
    if path is None or (is_dry and not (resumes and os.path.exists(path))):
        return None
    return reopen_job_log(path, read_only=is_dry) if resumes else create_job_log(path)


def _plan_of_template(
    jobs: AsyncIterator[Job],
    template: Template,
    options: MapOptions,
    log: JobLog | None,
    total: Callable[[], int | None],
) -> Plan:
    """Return the plan of jobs that fill a template."""

    def make(job: Job, turn: int, slot: int) -> Command:
        del turn
        name = job_name(template.base.name, job.number)
        command = template.command(job.row, job.number, slot, name)
        return command if job.block is None else with_stdin(command, job.block)

    def line(job: Job) -> str:
        try:
            return template.line(job.row, job.number, 1)
        except CommandError:  # The values do not fit into the template, so the job fails.
            return job.row.text

    launcher = _launcher(options)
    program = template.base if template.has_program else None
    return Plan(jobs, make, line, total, log, launcher, template.text, program)


def _plan_of_lines(
    jobs: AsyncIterator[Job],
    options: MapOptions,
    log: JobLog | None,
    total: Callable[[], int | None],
) -> Plan:
    """Return the plan of jobs that are lines for a shell."""
    base = Command(["/bin/sh"], **command_options(options))

    def make(job: Job, turn: int, slot: int) -> Command:
        del turn, slot
        words = ("/bin/sh", "-c", with_exec(job.row.text))
        return with_words(base, words, job_name("sh", job.number))

    def line(job: Job) -> str:
        return job.row.text

    return Plan(jobs, make, line, total, log, _launcher(options), "sh", base)


async def _jobs_of_lines(lines: Iterable[tuple[int, str]]) -> AsyncGenerator[Job]:
    for number, line in lines:
        yield Job(number, Row((line,)))


async def _jobs_of_rows(rows: AsyncIterable[Row]) -> AsyncGenerator[Job]:
    number = 0
    async for row in rows:
        number += 1
        yield Job(number, row)


async def _jobs_of_blocks(blocks: AsyncIterable[bytes]) -> AsyncGenerator[Job]:
    number = 0
    async for block in blocks:
        number += 1
        yield Job(number, Row(()), block)


def _launcher(options: MapOptions) -> Hosts | None:
    hosts = chosen_hosts(options)
    if not hosts:
        return None
    from currant.hosts import Hosts  # noqa: PLC0415 - most runs have no hosts

    return Hosts(
        hosts,
        connect=way_to_hosts(options),
        per_host="cpus" if options["per_host"] is None else options["per_host"],
        forward_env=options["forward_env"],
        retry_elsewhere=True,
    )
