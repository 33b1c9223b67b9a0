"""Run the jobs of `currant map`: signals, output, logs and reports, and the exit status."""

from __future__ import annotations

import os
import sys
from contextlib import AsyncExitStack, closing
from time import monotonic
from typing import TYPE_CHECKING

import anyio

from currant._batch.map import Map
from currant._batch.work import Work
from currant._supervisor.failure import unwrapped
from currant._synchronization import KillBarrier, task_group_beside
from currant._values.errors import CurrantError
from currant._values.printable import printable
from currant.cli._ci.annotations import Annotations, is_on_github
from currant.cli._ci.step_summary import add_to_summary
from currant.cli._errors import (
    OutputError,
    report_error,
    showing_warnings,
    status_without_output,
)
from currant.cli._map.arguments import split_arguments
from currant.cli._map.command_options import is_folded
from currant.cli._map.ended import Ended
from currant.cli._map.exit_status import OTHER_ERROR, exit_status
from currant.cli._map.json_lines import json_line
from currant.cli._map.option_rules import check_files
from currant.cli._map.output import Output
from currant.cli._map.plan import prepare
from currant.cli._map.progress import CI_INTERVAL, INTERVAL, MapProgress
from currant.cli._map.results_writer import ResultsWriter
from currant.cli._map.settings import settings_of
from currant.cli._map.summary import Summary, skipped_text
from currant.cli._output_pipe import is_pipe, wait_reader_gone
from currant.cli._program import STATUS_BROKEN_PIPE
from currant.cli._run import first_stop_signal, forward_signals, pause_and_resume
from currant.cli._signals import (
    FORWARDED_SIGNALS,
    PAUSE_SIGNALS,
    STOP_SIGNALS,
    receive_signals,
)
from currant.sinks._live import is_in_ci, is_live

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from signal import Signals

    from currant._batch.work import EndedItem
    from currant._values.command import Command
    from currant._values.results import Result
    from currant.cli._ci.junit import JUnitFile
    from currant.cli._map.job import Job
    from currant.cli._map.options import MapOptions
    from currant.cli._map.output import Mode
    from currant.cli._map.plan import Plan
    from currant.cli._map.results_folder import ResultsFolder

__all__ = ["run_map"]

STDOUT, STDERR = 1, 2


def run_map(words: Sequence[str], options: MapOptions) -> int:
    """Run what a command line asks for, and return the exit status."""
    try:
        with showing_warnings():
            return anyio.run(_main, words, options)
    except (CurrantError, ValueError) as error:
        return report_error(error)
    except OSError as error:
        return status_without_output(error)


async def _main(words: Sequence[str], options: MapOptions) -> int:
    check_files(split_arguments(words, options["arg_file"])[1], options)
    if options["junit"] is not None and not options["dry_run"]:
        from currant.cli._ci.junit import remove_report  # noqa: PLC0415 - for --junit alone

        remove_report(options["junit"])  # Reading the input may fail, or take long.
    async with AsyncExitStack() as stack:
        plan = await prepare(words, options, stack)
        if options["dry_run"]:
            await _show_commands(plan)
            return 0
        return await _Run(plan, options, stack).run()
    raise AssertionError  # for type checkers, which assume that a stack swallows errors


async def _show_commands(plan: Plan) -> None:
    """Write the commands to stdout, and start none."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="surrogateescape")  # A value need not be UTF-8.
    async for job in plan.jobs:
        plan.make(job, job.number, 1)  # Fails if the values do not fit into the template.
        print(plan.line(job))


class _Run:
    """One run of `currant map`.

    Args:
        plan: the jobs.
        options: the options.
        stack: closes what is opened here.
    """

    def __init__(self, plan: Plan, options: MapOptions, stack: AsyncExitStack) -> None:
        self._plan, self._options = plan, options
        self._jobs: dict[int, Job] = {}  # by number; those whose output has not been shown
        self._to_look_up = plan.program
        self._reasons: list[int] = []
        self._summary = Summary()
        self._began = monotonic()
        self._annotations = Annotations("currant map", "job") if is_on_github(os.environ) else None
        self._junit = _open_junit(options, plan.text, stack)
        self._results = ResultsWriter(_open_folder(options), plan.log)
        self._output = Output(_mode(options), self._jobs, options["color"], self._results)
        self._output.is_folded = is_folded(options)
        barrier = KillBarrier()
        settings = settings_of(plan, options)
        self._work: Work[Job] = Work(
            self._make, plan.jobs, settings, barrier, self._output, self._keep
        )
        self._map = Map(self._work, barrier)
        colors = self._output.color_system
        self._progress = MapProgress(self._work, self._total, self._line_of, colors)
        self._writing = anyio.CancelScope()

    async def run(self) -> int:
        """Run all jobs, and return the exit status."""
        try:
            with (
                receive_signals(STOP_SIGNALS) as stops,
                receive_signals(FORWARDED_SIGNALS) as forwarded,
            ):
                # To the very end: the last output may take minutes, or be stuck.
                async with anyio.create_task_group() as serving:
                    serving.start_soon(self._stop_on_signal, stops)
                    serving.start_soon(self._pause_and_resume)
                    serving.start_soon(forward_signals, self._map, forwarded)
                    await self._run_and_keep()
                    serving.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            return self._status_of(unwrapped(group))
        return self._reasons[0] if self._reasons else self._status()

    async def _run_and_keep(self) -> None:
        """Run all jobs and write all output; keep the results also if the output ends early."""
        async with task_group_beside() as keeping:
            keeping.start_soon(self._results.run)
            try:
                with self._writing:
                    await self._run_and_write()
            finally:
                self._results.close()

    async def _run_and_write(self) -> None:
        """Run all jobs, and write their output and the reports."""
        async with anyio.create_task_group() as writing:
            writing.start_soon(self._output.run)
            async with anyio.create_task_group() as beside:
                beside.start_soon(self._show_progress)
                if is_pipe(STDOUT):
                    beside.start_soon(self._stop_without_reader)
                await self._take_all()
                beside.cancel_scope.cancel()
            await self._report()
            self._output.close()

    async def _take_all(self) -> None:
        """Take the jobs as they end, and show and report each; return when all have ended."""
        async with self._map:
            await self._show_each()

    async def _show_each(self) -> None:
        async for job, result in self._map:
            ended = self._as_ended(job, result)
            if self._junit is not None:
                self._junit.add(ended.line, result)
            if self._annotations is not None:
                name = f"job {ended.number}"
                await self._output.note(self._annotations.add(name, ended.line, result))
            if self._options["json"]:
                await self._output.write(json_line(ended))
            if self._total() == 1:
                self._output.is_folded = False
            await self._output.finish(ended)

    async def _report(self) -> None:
        """Write what comes at the end."""
        seconds = monotonic() - self._began
        if self._plan.log is not None:  # There may have been no job at all.
            self._plan.log.begin()
        if self._junit is not None:
            self._junit.finish(seconds)
        if self._annotations is not None:
            await self._output.note(self._annotations.finish())
            add_to_summary(os.environ, self._summary.markdown(seconds, self._plan.skipped))
        if self._options["quiet"]:
            return
        if self._summary.is_wanted(on_terminal=is_live(os.environ, STDERR)):
            await self._output.note(self._summary.text(seconds, self._plan.skipped))
        if self._plan.skipped_failed:
            await self._output.note(skipped_text(self._plan.skipped, self._plan.skipped_failed))

    # ---- jobs ----

    def _make(self, job: Job, turn: int, slot: int) -> Command:
        program, self._to_look_up = self._to_look_up, None
        if program is not None:  # The first call is for the look-up alone.
            # The first job that an earlier run has left may be one whose values do not fit.
            return program if self._plan.goes_on else self._plan.make(job, turn, slot)
        command = self._plan.make(job, turn, slot)
        if self._plan.log is not None:
            self._plan.log.begin()
        self._jobs[job.number] = job
        return command

    def _as_ended(self, job: Job, result: Result) -> Ended:
        return Ended(job, result, self._plan.line, self._output.received(job.number))

    async def _keep(self, done: EndedItem[Job]) -> None:
        """Count a job and write its results when it ends, before its turn to be shown comes."""
        ended = self._as_ended(done.item, done.result)
        self._summary.add(ended)
        # Without a command there is nothing that --retry-failed could run.
        await self._results.end(ended, is_logged=done.command is not None)

    def _total(self) -> int | None:
        """Return how many jobs there are to run; None while that is not known."""
        if self._work.source.has_ended:
            return self._work.source.taken
        total = self._plan.total()
        return None if total is None else total - self._plan.skipped

    def _line_of(self, turn: int) -> str:
        """Return the command of a job that runs, by the number of its turn."""
        running = self._work.running.get(turn)
        return "" if running is None else printable(self._plan.line(running.item))

    # ---- beside the jobs ----

    async def _stop_on_signal(self, received: AsyncIterator[Signals]) -> None:
        """Stop all jobs at the first signal, and kill them at the second."""
        signal = await first_stop_signal(received, self._reasons)
        self._map.kill(f"received {signal.name}")
        signal = await anext(received)
        self._map.kill(f"received {signal.name}")
        # Do not wait for a terminal or pipe that accepts no output.
        self._writing.cancel()
        self._results.give_up_reader()

    async def _pause_and_resume(self) -> None:
        """Pause the jobs with Ctrl-Z; when all have ended, Ctrl-Z pauses currant alone."""
        with receive_signals(PAUSE_SIGNALS) as received:
            async with anyio.create_task_group() as pausing:
                pausing.start_soon(pause_and_resume, self._map, received)
                await self._work.over.wait()
                pausing.cancel_scope.cancel()

    async def _stop_without_reader(self) -> None:
        """Stop all jobs when the reader of stdout, a pipe, is gone."""
        await wait_reader_gone(STDOUT)
        self._reasons.append(STATUS_BROKEN_PIPE)
        # `Map.kill` would cut the grace short if a signal has already called `kill`.
        self._map.barrier.throw("the reader of the output is gone")

    async def _show_progress(self) -> None:
        wanted, live = self._options["progress"], is_live(os.environ, STDERR)
        if wanted is None:  # A line of progress would be mixed with what a person types.
            wanted = (live or is_in_ci(os.environ)) and not self._plan.is_typed
        if not wanted:
            return
        if live and self._output.show_progress(self._progress):
            while True:
                await anyio.sleep(INTERVAL)
                await self._output.refresh()
        while True:
            await anyio.sleep(CI_INTERVAL)
            await self._output.note(f"currant: {self._progress.text()}\n")

    # ---- the end ----

    def _status(self) -> int:
        halt, by = self._options["halt"], self._work.halted_by
        if halt is None or by is None:
            return exit_status(self._summary.failed)
        is_enough = isinstance(halt.after, int) and (halt.after == 1 or halt.of == "successes")
        return exit_status(self._summary.failed, by.result if is_enough else None)

    def _status_of(self, error: BaseException) -> int:
        """Report an error that has ended the run, and return the exit status.

        Raises:
            BaseException: the error is no mistake of the user, nor of a file.
        """
        match error:
            case CurrantError() | OSError() if self._reasons:
                return self._reasons[0]  # The error came after that.
            case OutputError(__cause__=BrokenPipeError()):
                return STATUS_BROKEN_PIPE
            case CurrantError():
                status = report_error(error)
                return OTHER_ERROR if self._work.has_started else status
            case OSError():
                return status_without_output(error)
            case _:
                raise error


def _mode(options: MapOptions) -> Mode:
    if options["json"]:
        return "hidden"
    if options["raw"]:
        return "raw"
    lines: Mode = "tagged lines" if options["tag"] else "lines"
    groups: Mode = "tagged groups" if options["tag"] else "groups"
    return lines if options["line"] else groups


def _open_junit(options: MapOptions, name: str, stack: AsyncExitStack) -> JUnitFile | None:
    if options["junit"] is None:
        return None
    from currant.cli._ci.junit import JUnitFile  # noqa: PLC0415 - for --junit alone

    return stack.enter_context(closing(JUnitFile(options["junit"], name)))


def _open_folder(options: MapOptions) -> ResultsFolder | None:
    if options["results"] is None:
        return None
    from currant.cli._map.results_folder import ResultsFolder  # noqa: PLC0415 - for --results alone

    resumes = options["resume"] or options["resume_failed"]
    return ResultsFolder(options["results"], resumes=resumes)
