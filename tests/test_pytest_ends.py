"""The pytest plugin: no process is left, however a run ends, and async tests work, too."""

from __future__ import annotations

import signal
import subprocess
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from tests.suites import PYTHON, outcome_of, pytest_line, write_servers
from tests.waiting import LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.lifeline import Lifeline

    StartSuite = Callable[..., subprocess.Popen[str]]

pytest_plugins = ["pytester"]

pytestmark = pytest.mark.slow  # Each test starts Python several times.

INTERRUPTED = """
import os
import pytest
from servers import server

HOLD = os.environ["HOLD"]
SAY = os.environ["SAY"]


@pytest.fixture(scope="session", autouse=True)
def wide(session_processes):
    session_processes.start(server("wide", HOLD))


def wait(phase, processes):
    if os.environ["PHASE"] == phase:
        processes.run(["sh", "-c", f"{HOLD}; {SAY}; exec sleep 9999"])


@pytest.fixture
def mine(processes):
    processes.start(server("mine", HOLD))
    wait("setup", processes)
    yield
    wait("teardown", processes)


def test_it(mine, processes):
    wait("call", processes)


def test_next():
    pass
"""


@pytest.fixture(autouse=True)
def servers(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each suite has the module `servers`."""
    write_servers(pytester, monkeypatch)


@pytest.fixture
def start_suite(
    pytester: pytest.Pytester, lifeline: Lifeline, monkeypatch: pytest.MonkeyPatch
) -> Iterator[StartSuite]:
    """Return a function that starts a suite, whose processes hold the lifeline."""
    started: list[subprocess.Popen[str]] = []
    monkeypatch.setenv("HOLD", lifeline.hold("began"))
    monkeypatch.setenv("SAY", lifeline.say("waits"))

    def start(*options: str, phase: str = "call") -> subprocess.Popen[str]:
        monkeypatch.setenv("PHASE", phase)
        process = subprocess.Popen(
            pytest_line(*options), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("phase", ["setup", "call", "teardown"])
def test_interrupt_ends_the_run_and_all_processes(
    phase: str, start_suite: StartSuite, pytester: pytest.Pytester, lifeline: Lifeline
) -> None:
    """Ctrl-C while a fixture or a test waits for a process, in each phase of a test."""
    pytester.makepyfile(test_it=INTERRUPTED)
    suite = start_suite(phase=phase)
    lifeline.wait_for("waits")
    suite.send_signal(signal.SIGINT)
    text, _ = suite.communicate(timeout=LIMIT)
    assert "!! KeyboardInterrupt !!" in text
    if phase != "setup":  # Then the end of `tmp_path` fails, in each suite that uses it.
        assert suite.returncode == pytest.ExitCode.INTERRUPTED, text
    lifeline.wait_for_end()


@pytest.mark.parametrize("options", [[], ["-p", "xdist", "-n1"]])
def test_processes_die_with_a_killed_run(
    options: list[str], start_suite: StartSuite, pytester: pytest.Pytester, lifeline: Lifeline
) -> None:
    """After a SIGKILL of pytest, the orphan guard ends all processes."""
    pytester.makepyfile(test_it=INTERRUPTED)
    suite = start_suite(*options)
    lifeline.wait_for("waits")
    suite.kill()
    suite.wait(LIMIT)
    lifeline.wait_for_end()


def test_run_that_stops_at_the_first_failure_leaves_nothing(pytester: pytest.Pytester) -> None:
    """With `-x`, the death of a session's process ends the run."""
    pytester.makepyfile("""
        import pytest
        from servers import die, server

        @pytest.fixture(scope="session", autouse=True)
        def wide(session_processes):
            return session_processes.start(server())

        def test_dies(wide): die(wide)
        def test_next(): pass
    """)
    outcome = outcome_of(pytester, "-x")
    assert outcome.tests == {"test_dies": "failed"}


FORKED = """
import os
from servers import server

def test_fork_is_left_alone(processes, session_processes, request):
    session_processes.start(server("wide"))
    processes.start(server("mine"))
    if child := os.fork():
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert processes["mine"].is_ready
        return
    try:
        item = request.node
        call = pytest.CallInfo.from_call(lambda: 1 / 0, "call")
        report = item.ihook.pytest_runtest_makereport(item=item, call=call)
        os._exit(not (report.failed and report.sections == []))
    finally:
        os._exit(3)
"""


def test_report_in_a_fork_does_not_wait_for_processes(pytester: pytest.Pytester) -> None:
    """A fork has no event loop, so its reports say nothing of processes."""
    pytester.makepyfile(test_it=f"import pytest\n{FORKED}")
    outcome = outcome_of(pytester)
    assert outcome.code == 0, outcome.text


def test_fork_that_leaves_its_test_ends(pytester: pytest.Pytester) -> None:
    """It has no event loop to wait for, and ends as it does without processes."""
    pytester.makepyfile("""
        import os
        from servers import server

        def test_it(processes, session_processes):
            session_processes.start(server("wide"))
            processes.start(server("mine"))
            child = os.fork()
            assert child, "This is the fork."
            status = os.waitpid(child, 0)[1]
            assert os.waitstatus_to_exitcode(status) == 1  # a test has failed
            assert processes["mine"].is_ready
    """)
    outcome = outcome_of(pytester)
    assert outcome.code == 0, outcome.text


ISOLATED = """
import os
import pytest
from _pytest.runner import runtestprotocol


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item):
    \"\"\"Run each test in a fork.\"\"\"
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    reader, writer = os.pipe()
    if not os.fork():
        reports = runtestprotocol(item, log=False)
        os.write(writer, "".join(report.outcome[0] for report in reports).encode())
        os._exit(0)
    os.close(writer)
    os.wait()
    assert os.read(reader, 10) == b"ppp", item
    os.close(reader)
    return True
"""


def test_each_test_may_run_in_a_fork_of_its_own(pytester: pytest.Pytester) -> None:
    """The fork sets up all fixtures, and leaves no process when its test ends."""
    pytester.makeconftest(ISOLATED)
    pytester.makepyfile("""
        from servers import server

        def test_one(processes, session_processes):
            session_processes.start(server())
            assert processes.start(server()).is_ready

        def test_two(processes, session_processes):
            session_processes.start(server())
            assert processes.start(server()).is_ready
    """)
    assert outcome_of(pytester).code == 0


ASYNC = """
import asyncio
import anyio
import anyio.to_thread
import pytest
from servers import server

@pytest.fixture
def job(processes):
    return processes.start(server())
"""

WITH_ANYIO = """
@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param

@pytest.fixture
async def later(processes, anyio_backend):
    yield processes.start(server("later"))

@pytest.mark.anyio
async def test_anyio(job, later):
    assert job.is_ready
    later.kill()
    assert (await anyio.to_thread.run_sync(later.wait)).status == "stopped"
"""

WITH_ASYNCIO = """
import pytest_asyncio

@pytest_asyncio.fixture
async def later(processes):
    yield await asyncio.to_thread(processes.start, server("later"))

@pytest.mark.asyncio
async def test_asyncio(job, later):
    assert job.is_ready
    later.kill()
    assert (await asyncio.to_thread(later.wait)).status == "stopped"
"""

WITH_TRIO = """
import trio

async def test_trio(job, nursery):
    job.kill()
    assert (await trio.to_thread.run_sync(job.wait)).status == "stopped"
"""


@pytest.mark.skipif(sys.executable != PYTHON, reason="another Python may lack the plugins")
@pytest.mark.parametrize(
    ("plugin", "code", "ini", "count"),
    [
        ("anyio", WITH_ANYIO, "", 2),
        ("asyncio", WITH_ASYNCIO, "asyncio_default_fixture_loop_scope = function", 1),
        ("trio", WITH_TRIO, "trio_mode = true", 1),
    ],
)
def test_async_tests_have_processes_too(
    plugin: str, code: str, ini: str, count: int, pytester: pytest.Pytester
) -> None:
    """An async test or fixture gets a process from a fixture, or starts one itself."""
    if plugin == "trio" and find_spec("pytest_trio") is None:
        pytest.skip("pytest-trio is not installed")
    pytester.makeini(f"[pytest]\n{ini}")
    pytester.makepyfile(test_it=ASYNC + code)
    outcome = outcome_of(pytester, "-p", plugin)
    assert outcome.code == 0, outcome.text
    assert outcome.text.count(f"{count} passed") == 1
