"""`Reports`: what the report of a test says about its processes."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from currant._values.printable import printable

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from currant._values.messages import Exited
    from currant.blocking import Job
    from currant.pytest_plugin._processes import Processes

__all__ = ["Reports"]

TITLE = "process {}"
"""The title of a section, and the name of a property in JUnit XML."""


class Reports:
    """Hooks of pytest that add the processes to the reports of tests.

    They are registered when a test first asks for `Processes`.

    Args:
        strict: whose death fails a test: ``"session"``, ``"always"`` or ``"never"``.
        show: when the last lines are shown: ``"always"``, ``"failed"`` or ``"never"``.
    """

    def __init__(self, strict: str, show: str) -> None:
        self._strict = strict
        self._show = show
        self._open: list[Processes] = []
        self._closed: list[Processes] = []  # since the test began
        self._used: set[Job] = set()  # by the test
        self._fixtures: list[str] = []  # that are being set up, the outermost first
        self._users: dict[Job, set[str]] = {}  # the fixtures that have asked for a process

    @contextmanager
    def telling_of(self, processes: Processes) -> Generator[None]:
        """Tell of these processes until the end of the block, and in the report of that end."""
        self._open.append(processes)
        try:
            yield
        finally:
            self._open.remove(processes)
            self._closed.append(processes)

    def note_use(self, job: Job) -> None:
        """Note that the test, or the fixture that is being set up, uses a process."""
        self._used.add(job)
        if self._fixtures:
            self._users.setdefault(job, set()).add(self._fixtures[-1])

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, Any, Any]:
        """Note which fixture is being set up."""
        self._fixtures.append(fixturedef.argname)
        try:
            return (yield)
        finally:
            self._fixtures.pop()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Add to the report of a phase of a test."""
        report = yield
        if report.when != "setup":
            self._tell_deaths(item, report)
        if self._show == "always" or (self._show == "failed" and report.failed):
            for processes, job in self._of_test(item):
                report.sections.append((TITLE.format(job.name), _text(processes, job)))
        if report.failed:
            for _, job in self._of_test(item):
                item.user_properties.append((TITLE.format(job.name), _state(job)))
        if report.when == "teardown":
            self._used.clear()
            self._closed.clear()
        return report

    def _tell_deaths(self, item: pytest.Item, report: pytest.TestReport) -> None:
        """Say which processes have died, and fail the test if they should not have."""
        texts: list[str] = []
        is_wrong = False
        for processes in (*self._open, *self._closed):
            for end in processes.deaths.take():
                job = processes.jobs[end.command]
                if _is_death(job, end):
                    self._used.add(job)
                    is_wrong |= self._strict in ("always", processes.scope)
                    texts.append(f"process {job.name!r} died while this test ran: {end.exit}")
        if not texts:
            return
        item.user_properties += [("currant", text) for text in texts]
        report.sections.append(("currant", "\n".join(texts)))
        if is_wrong and report.passed and not hasattr(report, "wasxfail"):
            report.outcome = "failed"
            report.longrepr = "\n".join(texts)

    def _of_test(self, item: pytest.Item) -> Iterator[tuple[Processes, Job]]:
        """Return the processes that a test has used, itself or through its fixtures."""
        fixtures = set(getattr(item, "fixturenames", ()))
        for processes in (*self._open, *self._closed):
            for job in processes.jobs.values():
                if job in self._used or self._users.get(job, set()) & fixtures:
                    yield processes, job


def _is_death(job: Job, end: Exited) -> bool:
    """Return whether a process was meant to go on: a server does, and so does what has failed."""
    command = job.command
    return command.ready is not None or end.exit.code not in command.success_codes


def _text(processes: Processes, job: Job) -> str:
    """Return the section about a process."""
    lines = [printable(line.text) for line in job.tail]
    return "\n".join([_state(job), *lines, f"(all output: {processes.log(job.name)})"])


def _state(job: Job) -> str:
    """Return what a process does, or how it has ended."""
    result = job.result
    if result is None:
        return f"{job.state} (pid {job.pid})" if job.pid is not None else job.state
    return f"{result.status}: {result.error or result.exit}"
