"""The pytest plugin: its fixtures, markers and settings, in suites of their own."""

from __future__ import annotations

import pytest

from currant.pytest_plugin import Processes
from tests.suites import PYTHON, outcome_of, write_servers
from tests.waiting import LIMIT

pytest_plugins = ["pytester"]

FIXTURES = """
import gc
import socket
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from currant import CommandFailed, DuplicateNameError, NotReadyError, ready
from currant.blocking import Job
from servers import die, is_alive, server

PIDS = {}


def test_start_returns_a_ready_process(processes):
    job = processes.start(server())
    assert job.is_ready
    assert [line.text for line in job.tail] == ["ready"]
    assert processes["server"] is job is processes.jobs["server"]
    PIDS["function"] = job.pid


def test_process_of_a_test_ends_with_the_test():
    assert not is_alive(PIDS["function"])


@pytest.fixture
def short(processes):
    return processes.start(server("short"))


@pytest.mark.parametrize("number", range(3))
def test_process_of_a_test_is_forgotten_after_the_test(short, number):
    gc.collect()
    jobs = [each for each in gc.get_objects() if type(each) is Job]
    assert [job.name for job in jobs].count("short") == 1


def test_command_may_be_a_line_or_words(processes):
    assert processes.start("sleep 9999", name="line", env={"A": "1"}).command.env == {"A": "1"}
    assert processes.start(["sleep", "9999"]).name == "sleep"


def test_threads_start_processes_at_the_same_time(processes):
    together = Barrier(4)

    def start(name):
        together.wait()
        return processes.start(server(name))

    with ThreadPoolExecutor(4) as threads:
        jobs = list(threads.map(start, "abcd"))
    assert all(job.is_ready for job in jobs)


def test_two_processes_of_one_name(processes):
    processes.start(server())
    with pytest.raises(DuplicateNameError, match="server"):
        processes.start(server())
    assert processes.start("sleep 9999").name == "sleep"
    assert processes.start("sleep 9998").name == "sleep#2"


def test_variables_are_in_the_environment(processes):
    job = processes.start(
        ["sh", "-c", "echo $PORT $HOST; exec sleep 9999"],
        ready=ready.line("81 here"),
        variables={"PORT": 80, "HOST": "here"},
        env={"PORT": "81"},
    )
    assert job.is_ready


def test_each_process_has_a_folder_and_a_log(processes, tmp_path):
    processes.start(server("a/b", "echo out; echo err >&2"))
    folder = processes.folder("a/b")
    assert folder.is_dir() and tmp_path in folder.parents
    log = processes.log("a/b")
    assert tmp_path in log.parents
    PIDS["log"] = log


def test_log_is_complete_after_the_test():
    assert sorted(PIDS["log"].read_text().split()) == ["err", "out", "ready"]


def test_ensure_starts_once(processes):
    job = processes.ensure("it", server())
    pid = job.pid
    assert processes.ensure("it", server()) is processes.ensure("it") is job
    assert job.pid == pid


@pytest.mark.parametrize("end", [die, lambda job: job.kill()])
def test_ensure_starts_a_process_again_that_has_ended(processes, end):
    pid = processes.ensure("it", server()).pid
    end(processes["it"])
    job = processes.ensure("it")
    assert job.is_ready
    assert job.pid != pid
    end(job)
    other = processes.ensure("it", server(env={"A": "1"}))
    assert other.command.env == {"A": "1"}


def test_ensure_waits_for_a_restart_by_policy(processes):
    pid = processes.ensure("it", server(restart="always")).pid
    die(processes["it"])
    job = processes.ensure("it")
    assert job.is_ready
    assert job.pid != pid


@pytest.mark.parametrize("by_name", [True, False])
def test_stopped_process_is_down_in_the_block(processes, by_name):
    job = processes.start(server())
    pid = job.pid
    with processes.stopped("server" if by_name else job):
        assert not is_alive(pid)
        assert job.state == "ended"
    assert job.is_ready
    assert job.pid != pid


def test_stopped_process_runs_again_after_an_exception(processes):
    job = processes.start(server())
    with pytest.raises(ZeroDivisionError), processes.stopped(job):
        1 / 0
    assert job.is_ready


def test_clock_of_the_processes_goes_on_if_a_test_freezes_its_own(processes, monkeypatch):
    deaf = processes.start(server(script="trap '' TERM", grace=0.01))
    with monkeypatch.context() as frozen:
        frozen.setattr(time, "monotonic", lambda: 0.0)
        deaf.kill()
        assert deaf.wait().exit.forced


def test_unknown_name(processes, pytestconfig):
    with pytest.raises(KeyError, match="there is no command 'nobody'"):
        processes["nobody"]
    with pytest.raises(KeyError, match=f"no currant.toml in {pytestconfig.rootpath} or above"):
        processes.ensure("nobody")
    with pytest.raises(KeyError, match="nobody"), processes.stopped("nobody"):
        pass


def test_run(processes):
    result = processes.run(["tr", "a-z", "A-Z"], input=b"text")
    assert result.stdout == b"TEXT"
    assert processes.run("false", check=False).exit.code == 1
    with pytest.raises(CommandFailed):
        processes.run("false")
    with pytest.raises(CommandFailed, match="0.01 s"):
        processes.run("sleep 9999", timeout=0.01)


def test_ports_are_held_and_a_server_can_take_them(processes, free_port, free_ports):
    ports = [free_port, processes.free_port(), *free_ports(3)]
    assert len(set(ports)) == 5
    for port in ports:
        with socket.socket() as other, pytest.raises(OSError):
            other.bind(("127.0.0.1", port))
        with socket.create_server(("127.0.0.1", port)):
            pass


def test_path_for_a_socket_is_short(unix_socket_path, processes):
    assert len(processes.socket_path()) < 40
    assert len(unix_socket_path) < 40
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(unix_socket_path)
    assert stat.S_IMODE(Path(unix_socket_path).parent.stat().st_mode) == 0o700
    PIDS["socket"] = Path(unix_socket_path)


def test_folder_of_a_socket_is_removed():
    assert not PIDS["socket"].parent.exists()


def test_process_that_ends_too_soon_or_is_not_ready_in_time(processes):
    with pytest.raises(NotReadyError, match="exit code 3"):
        processes.start(["sh", "-c", "exit 3"], ready=ready.line("x"), name="short")
    with pytest.raises(TimeoutError, match="late"):
        processes.start("sleep 9999", name="late", ready=ready.line("x"), timeout=0.01)
    assert processes["late"].state == "ended"


def test_scopes(processes, module_processes, session_processes):
    for each, scope in (processes, "function"), (module_processes, "module"):
        assert repr(each) == f"<Processes of the {scope}: none>"
    assert repr(session_processes).startswith("<Processes of the session: ")
    PIDS["module"] = module_processes.start(server()).pid
    PIDS["session"] = session_processes.start(server()).pid


def test_wider_scopes_last(module_processes, session_processes):
    assert module_processes["server"].pid == PIDS["module"]
    assert session_processes["server"].pid == PIDS["session"]
    assert is_alive(PIDS["module"])
"""

LATER = """
import unittest

import pytest
from servers import die, is_alive, server
from test_fixtures import PIDS


def test_process_of_a_module_ends_with_the_module(session_processes):
    assert not is_alive(PIDS["module"])
    assert session_processes["server"].pid == PIDS["session"]


class TestCase(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def server(self, processes):
        self.job = processes.start(server())

    def test_with_unittest(self):
        assert self.job.is_ready
"""


@pytest.fixture(autouse=True)
def servers(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each suite has the module `servers`."""
    write_servers(pytester, monkeypatch)


def test_fixtures_do_what_they_promise(pytester: pytest.Pytester) -> None:
    """All fixtures, in one suite of two modules."""
    pytester.makepyfile(test_fixtures=FIXTURES, test_later=LATER)
    outcome = outcome_of(pytester, "-q", "--tb=short")
    assert outcome.code == 0, outcome.text
    assert len(outcome.tests) == 29


def test_plugin_costs_a_suite_without_processes_nothing(pytester: pytest.Pytester) -> None:
    """No fixture is used without being asked for, and no other module of currant is imported."""
    pytester.makepyfile("""
        import sys

        def test_it(request):
            assert request.fixturenames == ["request"]
            loaded = {name for name in sys.modules if name.startswith(("currant.", "anyio"))}
            loaded.remove("currant._first_use")  # the stub of the package
            plugin = "currant.pytest_plugin"
            assert loaded == {plugin, f"{plugin}._plain_imports", f"{plugin}._settings"}
    """)
    outcome = outcome_of(pytester)
    assert outcome.code == 0, outcome.text


def test_modules_of_currant_are_imported_without_rewriting(pytester: pytest.Pytester) -> None:
    """pytest rewrites the asserts of the suite, and only of those modules that load the plugin."""
    pytester.makeconftest("from currant import Command, ready")
    pytester.makepyfile("""
        import sys

        from currant.pytest_plugin import Processes

        def test_it(processes):
            processes.start("sleep 9999")
            hook = "AssertionRewritingHook"
            loaders = {name: type(module.__spec__.loader).__name__
                       for name, module in sys.modules.items()
                       if name.startswith("currant.") or name == __name__}
            assert loaders.pop(__name__) == hook
            assert len(loaders) > 50
            assert {name for name, loader in loaders.items() if loader == hook} <= {
                "currant._first_use", "currant.pytest_plugin",
                "currant.pytest_plugin._plain_imports", "currant.pytest_plugin._settings",
            }
    """)
    outcome = outcome_of(pytester)
    assert outcome.code == 0, outcome.text


def test_processes_have_no_other_public_names_than_the_documented_ones() -> None:
    """Editors list them all."""
    public = {name for name in vars(Processes) if not name.startswith("_")}
    assert public == {
        *("ensure", "folder", "free_port", "jobs", "log"),
        *("run", "socket_path", "start", "stopped"),
    }


def test_plugin_leaves_no_finder_of_modules(pytester: pytest.Pytester) -> None:
    """After a run inside another program, Python imports as before."""
    pytester.makepyfile(
        test_it="def test_it(processes): processes.start('sleep 9999')",
        program="""
            import sys, pytest
            before = list(sys.meta_path)
            assert pytest.main(["-p", "currant", "-p", "no:cacheprovider", "test_it.py"]) == 0
            assert sys.meta_path == before
        """,
    )
    assert pytester.run(PYTHON, "program.py", timeout=LIMIT).ret == 0


def test_plugin_is_loaded_by_its_entry_point_and_can_be_turned_off(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`-p no:currant` leaves neither a fixture nor an option."""
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    pytester.makepyfile("def test_it(processes): pass")
    plain = [PYTHON, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:asyncio"]
    assert pytester.run(*plain, timeout=LIMIT).ret == 0
    off = pytester.run(*plain, "-p", "no:currant", timeout=LIMIT)
    off.stdout.fnmatch_lines("*fixture 'processes' not found")
    option = pytester.run(*plain, "-p", "no:currant", "--currant-show=always", timeout=LIMIT)
    assert option.ret == pytest.ExitCode.USAGE_ERROR


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("currant_timeout = soon", "currant_timeout must be a number of seconds, not 'soon'"),
        ("currant_grace = -1", "currant_grace must be a number of seconds, not '-1'"),
        ("currant_grace = nan", "currant_grace must be a number of seconds, not 'nan'"),
        ("currant_strict = yes", "currant_strict must be session, always or never, not 'yes'"),
    ],
)
def test_wrong_setting_is_an_error_of_usage(
    setting: str, complaint: str, pytester: pytest.Pytester
) -> None:
    """A wrong ini setting ends the run before the first test, with one sentence."""
    pytester.makeini(f"[pytest]\n{setting}")
    pytester.makepyfile("def test_it(): pass")
    outcome = outcome_of(pytester)
    assert outcome.code == pytest.ExitCode.USAGE_ERROR
    assert f"ERROR: {complaint}" in outcome.text
    assert "Traceback" not in outcome.text


def test_settings_are_the_defaults_of_the_calls(pytester: pytest.Pytester) -> None:
    """`currant_timeout` limits the start, and `currant_grace` the stop."""
    pytester.makeini("[pytest]\ncurrant_timeout = 0.01\ncurrant_grace = 0.02")
    pytester.makepyfile("""
        import pytest
        from servers import server
        from currant import ready

        def test_timeout(processes):
            with pytest.raises(TimeoutError, match="0.01 s"):
                processes.start("sleep 9999", ready=ready.line("x"))

        def test_grace(processes):
            job = processes.start(server(script="trap '' TERM"), timeout=60)
            job.kill()
            assert job.wait().exit.forced
    """)
    outcome = outcome_of(pytester)
    assert outcome.code == 0, outcome.text


CONFIG = """
[commands.db]
command = ["sh", "-c", "echo $NAME; exec sleep 9999"]
ready = { line = "^${NAME:-yours}$" }
env = { A = "${NAME:-yours}", NAME = "${NAME:-yours}" }

[commands.api]
command = ["sh", "-c", "echo up; exec sleep 9999"]
ready = { line = "up" }
after = "db"
"""

CONFIGURED = """
import pytest
from servers import die, is_alive

PIDS = {}


def test_definition_with_variables(processes):
    job = processes.start("db", variables={"NAME": "mine"})
    assert job.is_ready
    assert job.command.env["A"] == "mine"
    assert job.command.grace == 7


def test_definition_with_other_options(processes):
    assert processes.start("db", grace=8, name="other").command.grace == 8


def test_dependencies_start_first_and_once(processes):
    processes.start("api")
    db = processes["db"]
    assert db.is_ready
    pid = db.pid
    processes["api"].kill()
    assert processes.ensure("api").is_ready
    assert processes["db"].pid == pid


def test_dependencies_that_have_ended_start_again(processes):
    def stop_for_a_moment(name):
        with processes.stopped(name):
            pass

    processes.start("api")
    for start_again in (processes.ensure, stop_for_a_moment):
        pid = processes["db"].pid
        die(processes["api"])
        die(processes["db"])
        start_again("api")
        assert processes["api"].is_ready
        assert processes["db"].is_ready
        assert processes["db"].pid != pid


def test_any_other_text_is_a_command(processes):
    assert processes.start("sleep 9999").state == "running"


def test_ensure_takes_the_definition(processes):
    assert processes.ensure("db") is processes.ensure("db")


@pytest.fixture
def client(session_processes):
    return session_processes["db"].pid


@pytest.mark.processes("db")
def test_marker_starts_before_the_fixtures(client, session_processes):
    PIDS["db"] = client
    assert session_processes["db"].is_ready


@pytest.mark.processes("db")
class TestClass:
    @pytest.mark.processes("api", scope="function")
    def test_markers_add_up(self, processes, session_processes):
        assert session_processes["db"].pid == PIDS["db"]
        assert processes["api"].is_ready

    @pytest.mark.processes("db", scope="module")
    def test_scope(self, module_processes):
        PIDS["module"] = module_processes["db"].pid


@pytest.mark.processes("db")
@pytest.mark.parametrize("case", range(2))
def test_marker_counts_once_for_all_cases(case, request):
    assert request.fixturenames.count("_marked_processes") == 1


def test_marked_processes_go_on():
    assert is_alive(PIDS["db"])
    assert is_alive(PIDS["module"])
"""

ERRORS = """
import pytest

pytestmark = pytest.mark.processes("db")

@pytest.mark.processes("dbb")
def test_unknown_name(): pass

@pytest.mark.processes("db", scope="class")
def test_unknown_scope(): pass

@pytest.mark.processes("db", scop="module")
def test_unknown_argument(): pass

def test_fine(): pass
"""


def test_commands_come_from_the_configuration(pytester: pytest.Pytester) -> None:
    """Definitions, dependencies, variables, policies and markers, of a file of another name."""
    folder = pytester.mkdir("etc")
    (folder / "it.toml").write_text(f"grace = 7\n{CONFIG}")
    pytester.makeini("[pytest]\ncurrant_config = etc/it.toml")
    pytester.makepyfile(test_it=CONFIGURED)
    outcome = outcome_of(pytester, "-q", "--strict-markers")
    assert outcome.code == 0, outcome.text


def test_modules_may_be_imported_again(pytester: pytest.Pytester) -> None:
    """The fixture `pytester` takes back the imports of its test."""
    pytester.makeconftest('pytest_plugins = "pytester"')
    pytester.makepyfile("""
        def test_first(pytester, processes): processes.start("sleep 9999")
        def test_then(processes): processes.start("sleep 9999")
    """)
    outcome = outcome_of(pytester)
    assert outcome.code == 0, outcome.text


def test_errors_of_markers_name_what_is_wrong(pytester: pytest.Pytester) -> None:
    """Each is an error of its test, without the frames of the plugin."""
    pytester.path.joinpath("currant.toml").write_text(CONFIG)
    pytester.makepyfile(test_it=ERRORS)
    outcome = outcome_of(pytester)
    names = ["unknown_name", "unknown_scope", "unknown_argument"]
    assert outcome.tests == {f"test_{name}": "error" for name in names} | {"test_fine": "passed"}
    assert "there is no command 'dbb' in currant.toml; did you mean 'db'?" in outcome.text
    assert "not {'scope': 'class'}" in outcome.text
    assert "not {'scop': 'module'}" in outcome.text
    assert "pytest_plugin" not in outcome.text


def test_mistakes_in_the_configuration_are_listed(pytester: pytest.Pytester) -> None:
    """The error names the line, for a call and for a marker, without the frames of the plugin."""
    pytester.path.joinpath("currant.toml").write_text('[commands.db]\ncommand = "x"\nsize = 1\n')
    pytester.makepyfile("""
        import pytest

        def test_call(processes):
            processes.start("db")

        @pytest.mark.processes("db")
        def test_marker(): pass
    """)
    outcome = outcome_of(pytester)
    assert outcome.tests == {"test_call": "failed", "test_marker": "error"}
    assert outcome.text.count("currant.toml:3") >= 2
    assert "currant/pytest_plugin" not in outcome.text


def test_missing_extra_is_named(pytester: pytest.Pytester) -> None:
    """Without pydantic, a configuration cannot be read, and all else works."""
    pytester.path.joinpath("currant.toml").write_text(CONFIG)
    pytester.makeconftest("import sys; sys.modules['pydantic_core'] = None")
    pytester.makepyfile("""
        from servers import server

        def test_name(processes):
            processes.start("db")

        def test_command(processes):
            processes.start(server())
            processes.start(["sleep", "9999"])
    """)
    outcome = outcome_of(pytester)
    assert outcome.tests == {"test_name": "failed", "test_command": "passed"}
    assert "pip install 'currant[config]'" in outcome.text


def test_program_that_does_not_exist_is_named_in_a_few_lines(pytester: pytest.Pytester) -> None:
    """The report shows the line of the test and the reason, and no frames below."""
    pytester.makepyfile("""
        def test_it(processes):
            processes.start(["no-such-program"])
    """)
    outcome = outcome_of(pytester)
    assert "LaunchError: cannot start 'no-such-program': there is no program" in outcome.text
    assert "subprocess.py" not in outcome.text
    assert "direct cause" not in outcome.text
