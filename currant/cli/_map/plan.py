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
from currant._values.limits import Limits
from currant._values.shell_syntax import why_shell, with_exec
from currant.cli._ci.groups import folds_blocks
from currant.cli._env import output_variables
from currant.cli._hosts import chosen_hosts, way_to_hosts
from currant.cli._map.arguments import split_arguments
from currant.cli._map.blocks import BlockReader
from currant.cli._map.chunks import ChunkReader
from currant.cli._map.from_parallel import check_no_perl, remark_on_words
from currant.cli._map.inputs import open_inputs
from currant.cli._map.job import Job, job_name
from currant.cli._map.job_log import JobLog, create_job_log, reopen_job_log
from currant.cli._map.pace import Pace, paced
from currant.cli._map.parsing import Form, Format
from currant.cli._run import print_error
from currant.config._env_files import read_env_files
from currant.sinks._files import is_same_place

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        AsyncIterable,
        AsyncIterator,
        Callable,
        Iterable,
        Mapping,
        Sequence,
    )
    from contextlib import AsyncExitStack

    from currant._values.command import CommandOptions
    from currant.cli._map.arguments import Group
    from currant.cli._map.logged_jobs import LoggedJobs
    from currant.cli._map.options import MapOptions
    from currant.hosts import Hosts

__all__ = ["Plan", "is_folded", "prepare"]

STDIN, STDOUT, STDERR = 0, 1, 2

UNQUOTED = re.compile(r"[$`*?\[~]")
"""Signs of a variable, a substitution, a pattern or a home folder: such a line needs a shell."""

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
        has_program: whether all jobs run the same program, which can be looked up first.
        skipped: how many jobs were left out so far, because the job log has them.
    """

    jobs: AsyncIterable[Job]
    make: Callable[[Job, int, int], Command]
    line: Callable[[Job], str]
    total: Callable[[], int | None]
    log: JobLog | None
    launcher: Hosts | None
    text: str
    has_program: bool
    skipped: int = 0


async def prepare(words: Sequence[str], options: MapOptions, stack: AsyncExitStack) -> Plan:
    """Return what the command line asks for; `stack` closes the files that it has opened.

    Raises:
        CommandError: the command line, a file of values or a job log is wrong.
    """
    _check(options)
    template_words, groups = split_arguments(words, options["arg_file"])
    check_no_perl(template_words)
    if not options["shell"] and (remark := remark_on_words(template_words)):
        print_error(remark)
    log = _open_log(options)
    if log is not None:
        stack.enter_context(log)
    if options["retry_failed"] is not None:
        if words:
            raise CommandError("--retry-failed runs the commands of a job log, and takes no other")
        plan = _plan_of_failed(options, log)
    else:
        if options["stdin"]:
            plan = _plan_of_blocks(template_words, groups, options, log)
        else:
            plan = await _plan_of_values(template_words, groups, options, log, stack)
        await _leave_out_logged(plan, redo_failed=options["resume_failed"])
    plan.jobs = _paced(plan.jobs, options)
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
        size=options["block"],
        record_end=options["recend"],
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
    if not groups and os.isatty(STDIN):
        print_error("reading the values from the terminal, one in a line, until Ctrl-D")
    inputs = await stack.enter_async_context(open_inputs(groups, _form(options)))
    jobs = _jobs_of_rows(inputs)
    if not words:
        if inputs.names is not None:
            raise CommandError(NO_COMMAND)
        return _plan_of_lines(jobs, options, log, lambda: inputs.total)
    if inputs.is_empty:  # No name of a column can be known, so the template cannot be checked.
        template = Template(["true"], options=_command_options(options))
    else:
        template = _template(words, options, names=inputs.names, columns=inputs.columns)
    return _plan_of_template(jobs, template, options, log, lambda: inputs.total)


EXCLUSIVE = (
    ("csv", "tsv"),
    ("csv", "jsonl"),
    ("tsv", "jsonl"),
    ("null", "csv"),
    ("null", "tsv"),
    ("null", "jsonl"),
    ("colsep", "csv"),
    ("colsep", "tsv"),
    ("colsep", "jsonl"),
    ("raw", "line"),
    ("raw", "tag"),
    ("keep_order", "line"),
    ("keep_order", "raw"),
    ("resume", "resume_failed"),
    ("retry_failed", "joblog"),
    ("retry_failed", "resume"),
    ("retry_failed", "resume_failed"),
    ("retry_failed", "stdin"),
)
"""The options that cannot be combined."""

NEEDED: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("resume", "resume_failed"), ("joblog",)),
    **dict.fromkeys(("per_host", "forward_env", "ssh", "python"), ("hosts", "hosts_file")),
}
"""The options that need one of these others."""


def _check(options: MapOptions) -> None:
    """Check that the options go together.

    Raises:
        CommandError: they do not.
    """
    given = {name for name, value in options.items() if value}
    for pair in EXCLUSIVE:
        if given.issuperset(pair):
            raise CommandError(f"{_flag(pair[0])} and {_flag(pair[1])} cannot be combined")
    for name, others in NEEDED.items():
        if name in given and given.isdisjoint(others):
            raise CommandError(f"{_flag(name)} requires {' or '.join(map(_flag, others))}")


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


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
    given = _command_options(options)
    line = words[0] if len(words) == 1 else None
    if line is not None:
        shell = options["shell"] or bool(why_shell(line) or UNQUOTED.search(line))
        return Template(line, names=names, columns=columns, shell=shell, options=given)
    return Template(words, names=names, columns=columns, shell=options["shell"], options=given)


def _command_options(options: MapOptions) -> CommandOptions:
    given = read_env_files(options["env_file"])
    shown = output_variables(given, options["color"], shown=not options["json"], columns=None)
    limits = Limits(
        memory=options["limit_memory"],
        cpu_time=options["limit_cpu_time"],
        file_size=options["limit_file_size"],
        open_files=options["limit_open_files"],
        processes=options["limit_processes"],
        core=options["limit_core"],
    )
    chosen: CommandOptions = {"env": {**shown, **given}}
    if limits != Limits():
        chosen["limits"] = limits
    if options["cwd"] is not None:
        chosen["cwd"] = options["cwd"]
    if options["timeout"] is not None:
        chosen["timeout"] = options["timeout"]
    if options["raw"]:
        chosen["flush_after"] = 0.0
    is_split = options["json"] or options["junit"] is not None or options["results"] is not None
    if not is_split and (is_folded(options) or is_same_place(STDOUT, STDERR)):
        chosen["stderr"] = "stdout"  # One pipe keeps the order of the lines.
    return chosen


def is_folded(options: MapOptions) -> bool:
    """Return whether a CI folds the output of each job.

    It does if ``--group`` is given: by default, another program may read the output.
    """
    is_given = options["line"] is False and not (options["raw"] or options["json"])
    return is_given and folds_blocks(os.environ)


def _open_log(options: MapOptions) -> JobLog | None:
    """Open the job log; None if there is none, or if a dry run would create or empty it."""
    if options["retry_failed"] is not None:
        return reopen_job_log(options["retry_failed"], must_exist=True)
    path = options["joblog"]
    resumes = options["resume"] or options["resume_failed"]
    if path is None or (options["dry_run"] and not (resumes and os.path.exists(path))):
        return None
    return reopen_job_log(path) if resumes else create_job_log(path)


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
    return Plan(jobs, make, line, total, log, launcher, template.text, template.has_program)


def _plan_of_lines(
    jobs: AsyncIterator[Job],
    options: MapOptions,
    log: JobLog | None,
    total: Callable[[], int | None],
) -> Plan:
    """Return the plan of jobs that are lines for a shell."""
    base = Command(["/bin/sh"], **_command_options(options))

    def make(job: Job, turn: int, slot: int) -> Command:
        del turn, slot
        words = ("/bin/sh", "-c", with_exec(job.row.text))
        return with_words(base, words, job_name("sh", job.number))

    def line(job: Job) -> str:
        return job.row.text

    return Plan(jobs, make, line, total, log, _launcher(options), "sh", has_program=True)


async def _leave_out_logged(plan: Plan, *, redo_failed: bool) -> None:
    """Take the jobs out of `plan` that the log of an earlier run has.

    Raises:
        JobLogError: the log is of another command.
    """
    if plan.log is not None and plan.log.logged is not None:
        jobs = await _checked(plan, plan.log.logged)
        plan.jobs = _not_logged(plan, jobs, plan.log.logged, redo_failed=redo_failed)


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


async def _not_logged(
    plan: Plan, jobs: AsyncIterable[Job], logged: LoggedJobs, *, redo_failed: bool
) -> AsyncGenerator[Job]:
    """Yield the jobs that still have to run, and count the others in `plan.skipped`."""
    is_done = logged.has_success if redo_failed else logged.has
    async for job in jobs:
        if is_done(job.number, plan.line(job)):
            plan.skipped += 1
        else:
            yield job


async def _checked(plan: Plan, logged: LoggedJobs) -> AsyncIterable[Job]:
    """Compare the first job in the log with the same job of `plan`, and return all jobs of `plan`.

    So a log of another command is an error before any job starts.

    Raises:
        JobLogError: the log is of another command.
    """
    jobs, early = aiter(plan.jobs), list[Job]()
    first = logged.first
    while first is not None and (job := await anext(jobs, None)) is not None:
        early.append(job)
        if job.number == first:
            logged.has(first, plan.line(job))  # Raises if the command differs.
            break

    async def all_jobs() -> AsyncGenerator[Job]:
        for job in early:
            yield job
        async for job in jobs:
            yield job

    return all_jobs()


def _paced(jobs: AsyncIterable[Job], options: MapOptions) -> AsyncIterable[Job]:
    pace = Pace(options["delay"], options["max_load"], options["memfree"])
    return jobs if pace == Pace() else paced(jobs, pace)


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
