"""The pytest plugin: what the reports of tests say about processes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.suites import outcome_of, write_servers

if TYPE_CHECKING:
    from pathlib import Path

pytest_plugins = ["pytester"]

pytestmark = pytest.mark.slow  # Each test starts Python several times.

FAILURES = """
import pytest
from servers import server


@pytest.fixture(scope="session")
def database(session_processes):
    return session_processes.start(server("database"))


@pytest.fixture(scope="session")
def queue(session_processes):
    return session_processes.start(server("queue"))


def test_uses_the_queue(queue, request):
    request.node.user_properties.append(("own", "value"))


def test_fails(database, processes):
    processes.start(server("mine", "echo out; echo err >&2; echo '\\\\033[1mred\\\\033[m'"))
    processes.run("echo a tool")
    assert not "failed"


def test_asks_for_a_running_process(session_processes):
    session_processes.ensure("queue")
    assert not "failed"


def test_uses_none():
    assert not "failed"


@pytest.fixture
def broken(processes):
    processes.start(server("half"))
    raise ZeroDivisionError


def test_setup_fails(broken):
    pass


@pytest.fixture
def breaks(processes):
    yield processes.start(server("late"))
    raise ZeroDivisionError


def test_teardown_fails(breaks):
    pass


@pytest.mark.xfail(reason="known", strict=True)
def test_xfails(database):
    assert not "failed"


def test_skips(database):
    pytest.skip("no")
"""


@pytest.fixture(autouse=True)
def servers(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each suite has the module `servers`."""
    write_servers(pytester, monkeypatch)


def test_failure_shows_the_processes_that_the_test_has_used(pytester: pytest.Pytester) -> None:
    """State, exit and last lines of each, in the report and in the JUnit XML, and no others."""
    pytester.makepyfile(test_it=FAILURES)
    outcome = outcome_of(pytester)
    assert outcome.tests == {
        "test_uses_the_queue": "passed",
        "test_fails": "failed",
        "test_asks_for_a_running_process": "failed",
        "test_uses_none": "failed",
        "test_setup_fails": "error",
        "test_teardown_fails": "error",
        "test_xfails": "skipped",
        "test_skips": "skipped",
    }
    state, *lines, log = outcome.section("test_fails", "process mine").splitlines()
    assert re.fullmatch(r"running \(pid \d+\)", state)
    assert sorted(lines) == ["err", "out", "ready", "red"]
    assert lines.index("out") < lines.index("red") < lines.index("ready")
    assert re.fullmatch(r"\(all output: .*/test_fails0/processes/mine.log\)", log)
    assert "running" in outcome.section("test_fails", "process database")
    assert "running" in outcome.section("test_asks_for_a_running_process", "process queue")
    assert "running" in outcome.section("ERROR at setup of test_setup_fails", "process half")
    late = outcome.section("ERROR at teardown of test_teardown_fails", "process late")
    assert "stopped (SIGTERM)" in late or "running" in late
    assert outcome.text.count("- process ") == 5
    names = {test: [name for name, _ in pairs] for test, pairs in outcome.properties.items()}
    assert names == {
        "test_uses_the_queue": ["own"],
        "test_fails": ["process database", "process mine"],
        "test_asks_for_a_running_process": ["process queue"],
        "test_uses_none": [],
        "test_setup_fails": ["process half"],
        "test_teardown_fails": ["process late"],
        "test_xfails": [],
        "test_skips": [],
    }


RERUN = """
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item, nextitem):
    for _ in range(2):
        runtestprotocol(item, nextitem=nextitem)
    return True
"""


def test_report_of_a_rerun_says_nothing_of_the_run_before(pytester: pytest.Pytester) -> None:
    """Plugins that run a failed test again run the same item twice."""
    pytester.makeconftest(RERUN)
    pytester.makepyfile("""
        CODES = [4, 3]

        def test_it(processes):
            processes.start(f"sh -c 'exit {CODES.pop()}'").wait()
            assert not "failed"
    """)
    outcome = outcome_of(pytester)
    assert outcome.properties["test_it"] == [
        ("currant", "process 'sh' died while this test ran: exit code 4"),
        ("process sh", "failed: exit code 4"),
    ]


DEATHS = """
import pytest
from currant import Command, NotReadyError, ready
from servers import die, server


@pytest.fixture(scope="session")
def database(session_processes):
    return session_processes.ensure("database", server())


def test_kills_it(database):
    die(database)


def test_notices_it(session_processes, database):
    assert session_processes["database"].state == "ended"
    session_processes.ensure("database")


def test_fails_as_it_dies(session_processes):
    die(session_processes["database"])
    assert not "failed"


@pytest.fixture
def dies_in_teardown(session_processes):
    yield session_processes.ensure("database")
    die(session_processes["database"])


def test_teardown(dies_in_teardown):
    pass


@pytest.fixture
def dies_in_setup(session_processes):
    die(session_processes.ensure("database"))


def test_setup(dies_in_setup):
    pass


@pytest.fixture
def fails_in_setup(session_processes):
    die(session_processes.ensure("database"))
    raise ZeroDivisionError


def test_setup_fails(fails_in_setup):
    pass


@pytest.mark.xfail
def test_xfails(session_processes):
    die(session_processes.ensure("database"))
    assert not "failed"


def test_skips(session_processes):
    die(session_processes.ensure("database"))
    pytest.skip("no")


def test_restarts(session_processes):
    job = session_processes.start(server("again", restart="always"))
    die(job)


def test_restarted(session_processes):
    assert session_processes.ensure("again").restarts == 1


def test_of_its_own(processes):
    die(processes.start(server("own")))


def test_exit_code(processes):
    processes.start(["sh", "-c", "exit 3"], name="ends").wait()


def test_what_is_no_death(processes, session_processes):
    processes.start("true").wait()
    with pytest.raises(NotReadyError):
        session_processes.start("false", ready=ready.line("never"))
    job = session_processes.ensure("database")
    job.kill()
    job.wait()
    job = session_processes.start(["sh", "-c", "exit 3"], success_codes=[3])
    job.wait()
    with session_processes.stopped(session_processes.ensure("database")):
        pass
    session_processes["database"].restart()
"""

KILLED = ["kills_it", "fails_as_it_dies", "teardown", "setup", "setup_fails", "xfails", "skips"]
"""The tests of `DEATHS` in which the database of the session dies."""

NORMAL = {
    "test_kills_it": "passed",
    "test_notices_it": "passed",
    "test_fails_as_it_dies": "failed",
    "test_teardown": "passed",
    "test_setup": "passed",
    "test_setup_fails": "error",
    "test_xfails": "skipped",
    "test_skips": "skipped",
    "test_restarts": "passed",
    "test_restarted": "passed",
    "test_of_its_own": "passed",
    "test_exit_code": "passed",
    "test_what_is_no_death": "passed",
}
"""How the tests of `DEATHS` end if a death fails no test."""

STRICT = {
    "test_kills_it": "failed",
    "test_teardown": "error",
    "test_setup": "failed",
    "test_skips": "failed",
    "test_restarts": "failed",
}
"""How some of them end if the death of a session's process fails the test."""


@pytest.mark.parametrize(
    ("strict", "changes"),
    [
        ("session", STRICT),
        ("never", {}),
        ("always", STRICT | {"test_of_its_own": "failed", "test_exit_code": "failed"}),
    ],
)
def test_death_is_told_by_the_test_that_ran(
    strict: str, changes: dict[str, str], pytester: pytest.Pytester
) -> None:
    """The report of that test says so, and fails with `currant_strict`; no other test is blamed."""
    pytester.makeini(f"[pytest]\ncurrant_strict = {strict}")
    pytester.makepyfile(test_it=DEATHS)
    outcome = outcome_of(pytester)
    assert outcome.tests == NORMAL | changes, outcome.text
    dead = {
        test: [value for name, value in pairs if name == "currant"]
        for test, pairs in outcome.properties.items()
    }
    said = "process '{}' died while this test ran: {}"
    assert dead == {
        **{test: [] for test in NORMAL},
        **{f"test_{name}": [said.format("database", "SIGKILL")] for name in KILLED},
        "test_restarts": [said.format("again", "SIGKILL")],
        "test_of_its_own": [said.format("own", "SIGKILL")],
        "test_exit_code": [said.format("ends", "exit code 3")],
    }
    assert "SIGKILL" in outcome.section("test_fails_as_it_dies", "currant")


SHOWN = """
import pytest
from servers import server

@pytest.fixture(scope="module")
def shared(module_processes):
    return module_processes.ensure("shared", server("shared"))

def test_passes(shared, processes):
    processes.start(server("mine", "echo hello"))

def test_passes_alone(): pass

def test_fails(shared):
    assert not "failed"

@pytest.mark.xfail
def test_xfails(processes):
    processes.start(server("other"))
    assert not "failed"
"""


@pytest.mark.parametrize("workers", [0, 2])
def test_processes_are_shown_always_if_asked_for(workers: int, pytester: pytest.Pytester) -> None:
    """The terminal has one section for each process of each test, also from workers of xdist."""
    pytester.makepyfile(test_it=SHOWN)
    outcome = outcome_of(pytester, *distributed(workers), "--currant-show=always")
    assert outcome.tests["test_fails"] == "failed"
    assert "running" in outcome.section("test_fails", "process shared")
    shown = outcome.text.partition("= PROCESSES =")[2]
    assert shown
    assert shown.count("- process ") == 3
    assert "\nhello\n" in outcome.section("test_passes", "process mine")
    assert "stopped (SIGTERM)" in outcome.section("test_xfails", "process other")
    assert [name for name, _ in outcome.properties["test_passes"]] == [
        "process shared",
        "process mine",
    ]


def distributed(workers: int) -> list[str]:
    """Return the options of pytest for that many workers; none for 0."""
    return ["-p", "xdist", f"-n{workers}"] if workers else []


def test_processes_are_never_shown_if_not_wanted(pytester: pytest.Pytester) -> None:
    """A failed test has the state of its processes in the JUnit XML alone."""
    pytester.makepyfile(test_it=SHOWN)
    outcome = outcome_of(pytester, "--currant-show=never")
    assert "- process " not in outcome.text
    assert [name for name, _ in outcome.properties["test_fails"]] == ["process shared"]


LOGGED = """
import pytest
from servers import server

@pytest.fixture
def all_of_them(processes, module_processes, session_processes):
    each = {"function": processes, "module": module_processes, "session": session_processes}
    for scope, started in each.items():
        started.ensure("it", server(script=f"echo {scope}"))

@pytest.mark.parametrize("text", ["a/b", "a_b", "a b", "x" * 300])
def test_it(all_of_them, text): pass

class TestClass:
    def test_it(self, all_of_them): pass
"""


@pytest.mark.parametrize("workers", [0, 2])
def test_logs_are_in_a_folder_of_choice(
    workers: int, pytester: pytest.Pytester, tmp_path: Path
) -> None:
    """No two tests and no two workers share a file, and each has all of the output."""
    pytester.mkdir("sub").joinpath("test_it.py").write_text(LOGGED)
    outcome = outcome_of(pytester, *distributed(workers), "--currant-logs=logs")
    assert outcome.code == 0, outcome.text
    logs = pytester.path / "logs"
    files = sorted(str(path.relative_to(logs)) for path in logs.rglob("*.log"))
    functions = [name for name in files if "test_it.py/test_it" in name]
    assert len(functions) == 4
    assert "sub/test_it.py/TestClass/test_it/it.log" in files
    wide = ["session", "sub/test_it.py/module"]
    endings = [f"-gw{number}" for number in range(workers)] or [""]
    assert set(files) - set(functions) == {
        "sub/test_it.py/TestClass/test_it/it.log",
        *(f"{name}{ending}/it.log" for name in wide for ending in endings),
    }
    for name in files:
        scope = next((each for each in ("session", "module") if f"{each}" in name), "function")
        assert (logs / name).read_text() == f"{scope}\nready\n"


def test_log_that_cannot_be_written_is_a_warning(pytester: pytest.Pytester) -> None:
    """The processes go on, and the warning names the file."""
    pytester.path.joinpath("logs").write_text("no folder")
    pytester.makepyfile("""
        from servers import server

        def test_it(processes):
            assert processes.start(server()).is_ready
            assert processes.start(server("other")).is_ready
    """)
    outcome = outcome_of(pytester, "--currant-logs=logs/it", "-W", "default")
    assert outcome.code == 0, outcome.text
    assert "SinkWarning: the log of 'server' lacks output: " in outcome.text
