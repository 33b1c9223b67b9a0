"""`Reports`: what the report of a test says about its processes."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import pytest

from currant._values.escape_sequences import ESCAPE_SEQUENCE
from currant._values.printable import printable

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from currant._values.lines import Line
    from currant.blocking import Job
    from currant.pytest_plugin._processes import Processes

__all__ = ["Reports", "show_processes"]

PROCESS = "process "
"""What the titles of sections, and the names of properties in JUnit XML, begin with."""

DEATHS = "currant"
"""The title of the section, and the name of the property, about processes that have died."""


class _Source(Protocol):
    """Knows which processes of a fixture have died."""

    def take_deaths(self) -> Iterator[tuple[Job, str]]:
        """Return the processes that have died since the last call, and how."""
        ...


class _Fixture(NamedTuple):
    """The processes of a fixture."""

    processes: Processes
    scope: str
    sources: Sequence[_Source]


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
        self._pid = os.getpid()
        self._open: list[_Fixture] = []
        self._closed: list[_Fixture] = []  # since the test began
        self._used: set[Job] = set()  # by the test
        self._properties: list[tuple[str, object]] = []  # of the test, for its last report
        self._has_failed = False  # the test, in an earlier phase
        self._fixtures: list[str] = []  # that are being set up, the outermost first
        self._users: dict[Job, set[str]] = {}  # the fixtures that have asked for a process

    @contextmanager
    def telling_of(
        self, processes: Processes, scope: str, sources: Sequence[_Source]
    ) -> Generator[None]:
        """Report on these processes until the block ends, and in the phase in which it ends.

        Args:
            processes: the processes of a fixture.
            scope: the scope of the fixture.
            sources: know which of these processes have died.
        """
        fixture = _Fixture(processes, scope, sources)
        self._open.append(fixture)
        try:
            yield
        finally:
            self._open.remove(fixture)
            self._closed.append(fixture)

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
        if os.getpid() == self._pid:  # A fork has none of the processes.
            self._add(item, report)
        return report

    def _add(self, item: pytest.Item, report: pytest.TestReport) -> None:
        if report.when != "setup" or report.failed:
            self._tell_deaths(report)
        is_last = report.when == "teardown"
        shows_passed = is_last and self._show == "always" and not self._has_failed
        if report.failed or shows_passed:
            self._tell_processes(item, report)
        self._has_failed |= report.failed
        if is_last:
            report.user_properties = [*item.user_properties, *self._properties]
            self._has_failed = False
            self._properties.clear()
            self._used.clear()
            self._forget_closed()

    def _forget_closed(self) -> None:
        """Forget the processes that have been stopped, and their output."""
        for fixture in self._closed:
            for job in fixture.processes.jobs.values():
                self._users.pop(job, None)
        self._closed.clear()

    def _tell_deaths(self, report: pytest.TestReport) -> None:
        """Say which processes have died, and fail the test if they should not have."""
        texts: list[str] = []
        is_wrong = False
        for job, how, scope in self._deaths():
            self._used.add(job)
            is_wrong |= self._strict in ("always", scope)
            texts.append(f"process {job.name!r} died while this test ran: {how}")
        if not texts:
            return
        text = "\n".join(texts)
        self._properties += [(DEATHS, each) for each in texts]
        if is_wrong and not report.failed and not hasattr(report, "wasxfail"):
            report.outcome = "failed"
            report.longrepr = text
        else:
            report.sections.append((DEATHS, text))

    def _deaths(self) -> Iterator[tuple[Job, str, str]]:
        """Return the processes that have died, how, and the scopes of their fixtures."""
        for fixture in (*self._open, *self._closed):
            for source in fixture.sources:
                for job, how in source.take_deaths():
                    yield job, how, fixture.scope

    def _tell_processes(self, item: pytest.Item, report: pytest.TestReport) -> None:
        """Add a section and a property for each process that a test has used."""
        told = {name for name, _ in self._properties}
        for processes, job in self._of_test(item):
            title, state = f"{PROCESS}{job.name}", _state(job)
            if self._show != "never":
                report.sections.append((title, _text(processes, job, state)))
            if title not in told:
                self._properties.append((title, state))

    def _of_test(self, item: pytest.Item) -> Iterator[tuple[Processes, Job]]:
        """Return the processes that a test has used, itself or through its fixtures."""
        fixtures = set(getattr(item, "fixturenames", ()))
        for processes, _, _ in (*self._open, *self._closed):
            for job in processes.jobs.values():
                if job in self._used or self._users.get(job, set()) & fixtures:
                    yield processes, job


def show_processes(reporter: pytest.TerminalReporter) -> None:
    """Write the sections of the tests that have not failed, in this process or in a worker."""
    reports = [
        report
        for report in reporter.getreports("")  # phases that have passed and are not counted
        if report.when == "teardown" and any(map(_is_of_process, report.sections))
    ]
    if reports:
        reporter.write_sep("=", "PROCESSES")
    for report in reports:
        reporter.write_sep("_", report.head_line or report.nodeid)
        for title, text in report.sections:
            if _is_of_process((title, text)):
                reporter.write_sep("-", title)
                reporter.write_line(text)


def _is_of_process(section: tuple[str, str]) -> bool:
    title, _ = section
    return title.startswith(PROCESS) or title == DEATHS


def _text(processes: Processes, job: Job, state: str) -> str:
    """Return the section about a process."""
    lines = [state, *map(_shown, job.tail)]
    log = processes.log(job.name)
    if log.exists():  # It has been started.
        lines.append(f"(all output: {log})")
    return "\n".join(lines)


def _shown(line: Line) -> str:
    """Return a line without escape sequences and other characters that a terminal would obey."""
    text = ESCAPE_SEQUENCE.sub(b"", line.data).decode(errors="replace")
    return "".join(map(printable, text.expandtabs()))


def _state(job: Job) -> str:
    """Return what a process does, or how it has ended."""
    result = job.result
    if result is None:
        return f"{job.state} (pid {job.pid})" if job.pid is not None else job.state
    if result.exit is not None and result.exit.stopped:
        return str(result.exit)
    return f"{result.status}: {result.error or result.exit}"
