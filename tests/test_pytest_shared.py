"""Processes that all workers of xdist share, and processes that go on until the next run."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from currant.blocking import Job
from currant.pytest_plugin._shared_job import SharedJob
from currant.pytest_plugin._shared_stack import folder_locked
from tests.ports import free_port
from tests.suites import PYTHON
from tests.system import needs_proc
from tests.test_forks import exit_code, fork
from tests.waiting import LIMIT, is_alive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import TypeAlias

    from tests.lifeline import Lifeline

    Suite: TypeAlias = Callable[..., pytest.RunResult]

pytest_plugins = ["pytester"]

pytestmark = [
    pytest.mark.slow,  # Each test starts Python several times.
    pytest.mark.skipif(
        shutil.which("redis-server") is None,
        reason="redis-server is not installed: apt-get install redis-server, or brew install redis",
    ),
]

OPTIONS = ("-W", "error", "-p", "currant", "-p", "no:cacheprovider")

EACH = ("-p", "xdist", "--dist", "each", "-n")
"""Options with which each worker runs all tests."""

REDIS = '''
import os, signal, socket, subprocess, sys, time
from pathlib import Path

import pytest
from currant import Command, ready

WORKER = os.environ.get("PYTEST_XDIST_WORKER")


def redis_at(port, folder, hold="true"):
    """A real server, which holds the lifeline of the test if it is told to."""
    line = f'{hold}; exec redis-server --port {port} --save "" --dir {folder}'
    return Command(
        ["sh", "-c", line],
        name="redis",
        env={"PORT": str(port)},
        ready=ready.line("Ready to accept connections"),
    )


def ping(job):
    with socket.create_connection(("127.0.0.1", int(job.command.env["PORT"]))) as connection:
        connection.sendall(b"PING\\r\\n")
        assert connection.recv(7) == b"+PONG\\r\\n"


def parent_of(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def wait_for_end(pid):
    """Wait until a process has ended that is no child of this one."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    import select
    assert select.select([fd], [], [], 30)[0]
    os.close(fd)


def note(*words):
    """Write a line for the outer test."""
    with open("notes", "a") as file:
        print(*words, file=file, flush=True)


def wait_for_notes(count):
    """Wait until so many lines are written: a slow worker would find that all others have left."""
    while len(Path("notes").read_text().splitlines()) < count:
        time.sleep(0.01)
'''

SHARED_REDIS = """
@pytest.fixture(scope="session")
def redis(session_processes):
    folder = session_processes.folder("redis", shared=True)
    port = session_processes.free_port()
    return session_processes.start(redis_at(port, folder, HOLD), shared=True)
"""


@pytest.fixture
def suite(
    pytester: pytest.Pytester, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Suite]:
    """Run a test suite in a process of its own: its conftest.py, its tests, and options."""
    for name in [name for name in os.environ if name.startswith("PYTEST_XDIST")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "yes")
    monkeypatch.setenv("XDG_STATE_HOME", str(pytester.path / "state"))

    def run(tests: str, *options: str, conftest: str) -> pytest.RunResult:
        write(pytester, conftest, tests)
        return pytester.run(PYTHON, "-m", "pytest", *OPTIONS, *options, timeout=100)

    yield run
    shutil.rmtree(pytester.path, ignore_errors=True)


def write(pytester: pytest.Pytester, conftest: str, tests: str) -> None:
    """Write the files of a suite."""
    pytester.makepyfile(inner=REDIS)
    pytester.makeconftest(f"from inner import *\n\n{conftest}")
    pytester.makepyfile(test_inner=f"from inner import *\n\n{tests}")


def holding(lifeline: Lifeline | None, conftest: str) -> str:
    """Return a conftest.py whose redis holds the lifeline."""
    return f"HOLD = {'true' if lifeline is None else lifeline.hold('redis')!r}\n{conftest}"


def notes(pytester: pytest.Pytester) -> list[list[str]]:
    """Return the words of the lines that the inner tests have noted."""
    return [line.split() for line in (pytester.path / "notes").read_text().splitlines()]


def test_four_workers_share_one_server(
    pytester: pytest.Pytester, suite: Suite, lifeline: Lifeline
) -> None:
    """The first worker starts it, the others learn its port, and after the run it has ended."""
    tests = """
def test_it(redis, session_processes):
    ping(redis)
    assert session_processes["redis"] is redis is session_processes.ensure("redis")
    assert (redis.state, redis.is_ready, redis.result) == ("running", True, None)
    redis.ready()
    folder = session_processes.folder("redis", shared=True)
    assert redis.command.argv[-1].endswith(str(folder))
    log = session_processes.log("redis")
    assert log.parent == folder.parent
    assert b"Redis is starting" in log.read_bytes()
    assert any(b"Redis is starting" in line.data for line in redis.tail)
    note(WORKER, redis.pid, redis.command.env["PORT"])
    wait_for_notes(4)
"""
    suite(tests, *EACH, "4", conftest=holding(lifeline, SHARED_REDIS)).assert_outcomes(passed=4)
    workers, pids, ports = zip(*notes(pytester), strict=True)
    assert sorted(workers) == ["gw0", "gw1", "gw2", "gw3"]
    assert len(set(pids)) == len(set(ports)) == 1
    assert lifeline.ended() == {"redis"}


@needs_proc
def test_two_commands_of_one_worker_have_one_keeper(
    pytester: pytest.Pytester, suite: Suite
) -> None:
    """One may wait for the other; they have the variables of the worker, and end before it."""
    conftest = """
@pytest.fixture(scope="session")
def web(session_processes):
    port = session_processes.free_port()
    redis = session_processes.start(
        redis_at(port, session_processes.folder("redis", shared=True)), shared=True
    )
    web = Command(
        ["python3", "-u", "-m", "http.server", "0"],
        name="web",
        ready=ready.line("Serving"),
        after="redis",
    )
    return session_processes.start(web, shared=True, env={"REDIS": str(port)})

def pytest_unconfigure():
    for line in Path("notes").read_text().split():
        note("left" if os.path.exists(f"/proc/{line}") else "gone")
"""
    tests = """
def test_it(web, session_processes):
    redis = session_processes["redis"]
    assert parent_of(web.pid) == parent_of(redis.pid) != os.getpid()
    variables = Path(f"/proc/{web.pid}/environ").read_bytes().split(b"\\0")
    assert f"REDIS={redis.command.env['PORT']}".encode() in variables
    assert not [each for each in variables if each.startswith(b"PYTEST_")]
    assert os.path.realpath(f"/proc/{web.pid}/cwd") == os.getcwd()
    note(web.pid)
    note(redis.pid)
"""
    suite(tests, conftest=conftest).assert_outcomes(passed=1)
    assert notes(pytester)[2:] == [["gone"], ["gone"]]


def test_killed_worker_takes_nothing_from_the_others(
    pytester: pytest.Pytester, suite: Suite, lifeline: Lifeline
) -> None:
    """The worker that replaces it finds the same process."""
    tests = """
def test_death(redis):
    note(WORKER, redis.pid)
    if WORKER == "gw0":
        open("both", "w").close()  # gw1 has it, too.
        os.kill(os.getpid(), signal.SIGKILL)
    if WORKER == "gw1":
        open("both").close()

def test_after(redis):
    ping(redis)
    note(WORKER, redis.pid)
    if WORKER == "gw2":
        open("replaced", "w").close()
    if WORKER == "gw1":
        open("replaced").close()
"""
    os.mkfifo(pytester.path / "both")
    os.mkfifo(pytester.path / "replaced")
    result = suite(tests, *EACH, "2", conftest=holding(lifeline, SHARED_REDIS))
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["*worker 'gw0' crashed*"])
    workers, pids = zip(*notes(pytester), strict=True)
    assert set(workers) == {"gw0", "gw1", "gw2"}
    assert len(set(pids)) == 1
    assert lifeline.ended() == {"redis"}


def test_worker_killed_during_the_start_leaves_no_lock(
    pytester: pytest.Pytester, suite: Suite, lifeline: Lifeline
) -> None:
    """The next worker waits until the keeper has stopped the process, and starts it anew."""
    conftest = f"""
from threading import Thread

def die():
    with open("begun") as pipe:
        pipe.read()
        os.kill(os.getpid(), signal.SIGKILL)

@pytest.fixture(scope="session")
def server(session_processes):
    line = {lifeline.hold("server")!r} + "; "
    if WORKER == "gw0":
        Thread(target=die, daemon=True).start()
        line += "echo > begun; exec sleep 9999"
    else:
        line += "echo serving; exec sleep 9999"
    command = Command(["sh", "-c", line], name="server", ready=ready.line("serving"))
    return session_processes.start(command, shared=True)
"""
    os.mkfifo(pytester.path / "begun")
    tests = """
def test_first(server):
    pass

def test_second(server):
    note(WORKER, server.pid)
"""
    result = suite(tests, *EACH, "1", conftest=conftest)
    result.assert_outcomes(passed=1, failed=1)
    assert [worker for worker, _ in notes(pytester)] == ["gw1"]
    assert lifeline.ended() == {"server"}


@pytest.mark.parametrize(
    ("signal_number", "victim"),
    [
        (signal.SIGKILL, "workers"),
        (signal.SIGKILL, "controller"),
        (signal.SIGINT, "all"),
    ],
    ids=["workers", "controller", "ctrl-c"],
)
def test_end_of_the_run_leaves_nothing(
    pytester: pytest.Pytester,
    suite: Suite,
    lifeline: Lifeline,
    signal_number: signal.Signals,
    victim: str,
) -> None:
    """The server ends if all workers are killed, or the controller, and on Ctrl-C."""
    os.mkfifo(pytester.path / "running")
    tests = """
def test_it(redis):
    note(os.getpid())
    open("running", "w").close()
    signal.pause()
"""
    write(pytester, holding(lifeline, SHARED_REDIS), tests)
    arguments = (*OPTIONS, "-p", "xdist", "-n", "2", "--dist", "each", "--max-worker-restart=0")
    with subprocess.Popen(
        (PYTHON, "-m", "pytest", *arguments),
        cwd=pytester.path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as run:
        try:
            while len(open_notes(pytester)) < 2:
                (pytester.path / "running").read_bytes()
            lifeline.wait_for("redis")
            if victim == "all":
                os.killpg(run.pid, signal_number)
            elif victim == "controller":
                run.send_signal(signal_number)
            else:
                for worker in open_notes(pytester):
                    os.kill(int(worker), signal_number)
            run.wait(LIMIT)
            lifeline.wait_for_end()
        finally:
            run.kill()


def open_notes(pytester: pytest.Pytester) -> list[str]:
    """Return the lines noted so far."""
    path = pytester.path / "notes"
    return path.read_text().split() if path.exists() else []


@needs_proc
def test_killed_keeper_takes_the_process_with_it(pytester: pytest.Pytester, suite: Suite) -> None:
    """Its guard stops the process, the test is told, and `ensure` starts both again."""
    tests = """
def test_kill(redis):
    note(redis.pid)
    os.kill(parent_of(redis.pid), signal.SIGKILL)
    wait_for_end(redis.pid or int(Path("notes").read_text()))

def test_gone(redis, session_processes):
    assert (redis.state, redis.pid, redis.is_ready, redis.tail) == ("ended", None, False, ())
    assert redis.result.status == "failed"

def test_again(redis, session_processes):
    assert session_processes.ensure("redis") is redis
    ping(redis)
    note(redis.pid)
"""
    result = suite(tests, conftest=holding(None, SHARED_REDIS))
    result.assert_outcomes(passed=2, failed=1)
    first, second = (words[0] for words in notes(pytester))
    assert first != second
    result.stdout.fnmatch_lines(
        [f"process 'redis' died while this test ran: pid {first} is gone, and *"]
    )


def test_death_fails_the_test_that_runs(pytester: pytest.Pytester, suite: Suite) -> None:
    """The report has the state and the last lines; the next user starts the process again."""
    tests = """
from currant import DuplicateNameError

def test_kill(redis):
    os.kill(redis.pid, signal.SIGKILL)

def test_innocent(redis):
    assert redis.state == "ended"

def test_again(redis, session_processes):
    session_processes.ensure("redis")
    ping(redis)

def test_kill_and_ensure(redis, session_processes):
    before = redis.pid
    os.kill(before, signal.SIGKILL)
    session_processes.ensure("redis")
    assert redis.pid != before
    ping(redis)

def test_twice(redis, session_processes):
    with pytest.raises(DuplicateNameError, match="two commands are named 'redis'"):
        session_processes.start(redis.command, shared=True)
"""
    result = suite(tests, conftest=holding(None, SHARED_REDIS))
    result.assert_outcomes(passed=3, failed=2)
    result.stdout.fnmatch_lines(
        [
            "*_ test_kill _*",
            "process 'redis' died while this test ran: SIGKILL",
            "*process redis*",
            "failed: SIGKILL",
            "*Ready to accept connections*",
            "(all output: *redis.log)",
            "*_ test_kill_and_ensure _*",
            "process 'redis' died while this test ran: SIGKILL",
        ]
    )


def test_each_worker_tells_why_the_start_failed(suite: Suite) -> None:
    """The error has the last lines of the command."""
    conftest = """
@pytest.fixture(scope="session")
def broken(session_processes):
    line = "echo no configuration >&2; exit 3"
    return session_processes.start(
        Command(["sh", "-c", line], name="broken", ready=ready.line("never")), shared=True
    )

@pytest.fixture(scope="session")
def missing(session_processes):
    return session_processes.start(["no-such-program"], shared=True)

@pytest.fixture(scope="session")
def slow(session_processes):
    command = Command(["sleep", "9999"], name="slow", ready=ready.line("never"))
    return session_processes.start(command, shared=True, timeout=0.1)
"""
    tests = """
def test_broken(broken):
    pass

def test_missing(missing):
    pass

def test_slow(slow):
    pass
"""
    result = suite(tests, *EACH, "2", conftest=conftest)
    result.assert_outcomes(errors=6)
    text = result.stdout.str()
    assert len(re.findall("RequestError: 'broken' is not ready: .*code 3", text)) >= 2
    assert len(re.findall("^E .*no configuration", text, re.MULTILINE)) == 2
    assert len(re.findall("^E .*no-such-program", text, re.MULTILINE)) >= 2
    assert len(re.findall("^E .*'slow' is not ready after 0.1 s", text, re.MULTILINE)) == 2


def test_wrong_uses_have_one_clear_error(suite: Suite) -> None:
    """A process of another scope is not shared; a worker does not disturb the others."""
    tests = """
from currant import CommandError, DuplicateNameError

def test_scopes(processes, module_processes):
    for each in (processes, module_processes):
        with pytest.raises(CommandError, match="shared=True is for session_processes"):
            each.start(["sleep", "9999"], shared=True)
        with pytest.raises(CommandError, match="shared=True is for session_processes"):
            each.folder("x", shared=True)

def test_refused(redis, session_processes):
    for name in ("kill", "restart", "close_stdin", "lines", "expect", "until", "since"):
        with pytest.raises(CommandError, match=f"{name}: 'redis' is shared with others; "):
            getattr(redis, name)()
    with pytest.raises(CommandError, match="before: 'redis' is shared"):
        redis.before
    with pytest.raises(CommandError, match="kill: 'redis' is shared"):
        with session_processes.stopped("redis"):
            pass
    ping(redis)

def test_definitions(session_processes, redis, tmp_path):
    with open(tmp_path / "file", "w") as file:
        command = Command(["true"], name="open", stdout=file)
        with pytest.raises(CommandError, match="'open' cannot be shared, because it cannot be"):
            session_processes.start(command, shared=True)
    needy = Command(["true"], name="needy", after="absent")
    with pytest.raises(CommandError, match="'needy' waits for 'absent', which is not shared"):
        session_processes.start(needy, shared=True)
    for shared in (True, False):
        with pytest.raises(DuplicateNameError):
            session_processes.start(["true"], name="redis", shared=shared)
    session_processes.start(["sleep", "9999"], name="own")
    with pytest.raises(DuplicateNameError):
        session_processes.start(["true"], name="own", shared=True)
"""
    conftest = holding(None, SHARED_REDIS)
    suite(tests, conftest=conftest).assert_outcomes(passed=3)


@needs_proc
def test_next_run_removes_the_files_of_a_killed_keeper(
    pytester: pytest.Pytester, suite: Suite, runtime: Path
) -> None:
    """The files of a stack that was killed in a project stay: that has its folder again."""
    project = str(pytester.mkdir("project"))
    claim = "from currant.stack._folder import Claim; import os, sys; c = Claim(sys.argv[1])"
    killed = f"{claim}; c.describe(None); os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", killed, project], check=False).returncode == -9
    of_project = set(runtime.iterdir())
    assert len(of_project) == 2
    tests = """
def test_kill(redis):
    os.kill(parent_of(redis.pid), signal.SIGKILL)
    wait_for_end(redis.pid)
"""
    suite(tests, conftest=holding(None, SHARED_REDIS))
    assert len(set(runtime.iterdir()) - of_project) >= 2
    suite("def test_it(redis): ping(redis)", conftest=holding(None, SHARED_REDIS))
    assert set(runtime.iterdir()) == of_project


def test_another_run_at_the_same_time_has_its_own_process(
    pytester: pytest.Pytester, suite: Suite
) -> None:
    """The folder that the workers share is one of the run."""
    tests = """
def test_it(redis):
    note(redis.pid)
    if "INNER" not in os.environ:
        arguments = [sys.executable, "-m", "pytest", "-p", "currant", "-p", "no:cacheprovider"]
        subprocess.run(arguments, env={**os.environ, "INNER": "yes"}, check=True)
"""
    suite(tests, conftest=holding(None, SHARED_REDIS)).assert_outcomes(passed=1)
    (first,), (second,) = notes(pytester)
    assert first != second


def test_shared_job_has_every_method_of_a_job() -> None:
    """No method of `Job` is left that looks for a Runner in this process."""
    public = {name for name in vars(Job) if not name.startswith("_")}
    assert public <= vars(SharedJob).keys()


@pytest.mark.parametrize("method", ["kill", "restart", "send", "send_signal", "lines", "expect"])
def test_refused_method_of_a_shared_job_never_returns(method: str) -> None:
    """So type checkers report the code after such a call."""
    assert vars(SharedJob)[method].__annotations__["return"] == "NoReturn"


# ---- kept for the next run ----

CONFIG = """
[commands.redis]
command = ["sh", "-c", "exec redis-server --port $PORT --save ''"]
ready = "line:Ready to accept connections"
env = { PORT = "%d" }
"""

KEPT_REDIS = """
@pytest.fixture(scope="session")
def redis(session_processes):
    return session_processes.start("redis")
"""

KEPT_TEST = """
def test_kept(redis):
    ping(redis)
    note(redis.pid)
"""


@pytest.fixture
def currant(pytester: pytest.Pytester, suite: Suite) -> Iterator[Callable[..., str]]:
    """Make the folder a project with a redis; the value runs ``currant`` there."""

    def run(*arguments: str) -> str:
        return subprocess.run(
            (sys.executable, "-m", "currant", *arguments),
            cwd=pytester.path,
            check=False,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout

    with free_port() as port:
        (pytester.path / "currant.toml").write_text(CONFIG % port)
        yield run
        run("down", "--now")


@pytest.mark.parametrize("workers", [(), (*EACH, "2")], ids=["alone", "xdist"])
def test_kept_process_is_found_by_the_next_run(
    pytester: pytest.Pytester,
    suite: Suite,
    currant: Callable[..., str],
    workers: tuple[str, ...],
) -> None:
    """It runs in the stack of the project until `currant down`; the summary says so."""
    for _ in range(2):
        result = suite(KEPT_TEST, "--currant-keep", *workers, conftest=KEPT_REDIS)
        result.assert_outcomes(passed=2 if workers else 1)
        pid = notes(pytester)[0][0]
        result.stdout.fnmatch_lines(
            [
                "*currant: --currant-keep*",
                f"left running: redis (pid {pid})",
                "'currant down' in the project's folder ends the stack",
            ]
        )
        result.stdout.no_fnmatch_line("stopped, because*")
        result.stdout.no_fnmatch_line("older than*")
    assert [words[0] for words in notes(pytester)] == [pid] * (4 if workers else 2)
    with (pytester.path / "currant.toml").open("a") as file:
        file.write("grace = 3\n")
    result = suite(KEPT_TEST, "--currant-keep", conftest=KEPT_REDIS)
    result.stdout.fnmatch_lines(["older than their definitions, until 'currant reload': redis"])
    assert pid in currant("ps")
    currant("down")
    assert not is_alive(int(pid))
    suite(KEPT_TEST, conftest=KEPT_REDIS).assert_outcomes(passed=1)
    assert not is_alive(int(notes(pytester)[-1][0]))


def test_kept_process_that_died_is_started_by_the_next_run(
    pytester: pytest.Pytester, suite: Suite, currant: Callable[..., str]
) -> None:
    """A death in a test fails that test, and a death between two runs is found."""
    tests = """
def test_kill(redis):
    note(redis.pid)
    os.kill(redis.pid, signal.SIGKILL)

def test_kill_and_ensure(redis, session_processes):
    session_processes.ensure("redis")
    ping(redis)
    before = redis.pid
    os.kill(before, signal.SIGKILL)
    session_processes.ensure("redis")
    assert redis.pid != before
    ping(redis)

def test_last(redis):
    os.kill(redis.pid, signal.SIGKILL)
"""
    result = suite(tests, "--currant-keep", conftest=KEPT_REDIS)
    result.assert_outcomes(failed=3)
    for name in ("test_kill", "test_kill_and_ensure", "test_last"):
        lines = [
            f"*_ {name} _*",
            "process 'redis' died while this test ran: *",
            "(all output: *.log)",
        ]
        result.stdout.fnmatch_lines(lines)
    result.stdout.no_fnmatch_line("left running*")
    suite(KEPT_TEST, "--currant-keep", conftest=KEPT_REDIS).assert_outcomes(passed=1)
    os.kill(int(notes(pytester)[-1][0]), signal.SIGKILL)
    suite(KEPT_TEST, "--currant-keep", conftest=KEPT_REDIS).assert_outcomes(passed=1)
    assert len({words[0] for words in notes(pytester)}) == 3


def test_stack_that_runs_gets_the_command_too(
    pytester: pytest.Pytester, suite: Suite, currant: Callable[..., str]
) -> None:
    """Only commands that are started by name alone are kept; the summary names the others."""
    with (pytester.path / "currant.toml").open("a") as file:
        file.write('[commands.other]\ncommand = "sleep 9999"\n')
    currant("start", "-d", "other")
    tests = """
def test_kept(redis, session_processes, processes, module_processes):
    assert session_processes.ensure("redis") is redis
    assert "redis.log" not in str(session_processes.log("redis"))
    own = session_processes.start("other", variables={"MODE": "test"})
    own.kill()
    own.wait()
    session_processes.start(["sleep", "9999"], name="adhoc", shared=True)
    processes.start("other")
    module_processes.start("other")

def test_restart_is_no_death(redis):
    before = redis.pid
    subprocess.run([sys.executable, "-m", "currant", "restart", "redis"], check=True)
    assert redis.pid != before and redis.restarts == 1
    note(redis.pid)

def test_death(redis):
    os.kill(redis.pid, signal.SIGKILL)
"""
    conftest = KEPT_REDIS.replace('"redis")', '"redis", shared=True)')
    result = suite(tests, "--currant-keep", conftest=conftest)
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        [
            "process 'redis' died while this test ran: SIGKILL",
            "failed: SIGKILL",
            "(all output: *.log)",
            "left running: other (pid *)",
            "stopped, because *: adhoc, other",
        ]
    )


def test_command_that_cannot_be_kept_has_a_clear_error(
    pytester: pytest.Pytester, suite: Suite, currant: Callable[..., str]
) -> None:
    """The error has what `currant start` says, and nothing is left."""
    text = '[commands.redis]\ncommand = "sh -c \'echo no such folder; exit 4\'"\nready = "line:x"\n'
    (pytester.path / "currant.toml").write_text(text)
    result = suite(KEPT_TEST, "--currant-keep", conftest=KEPT_REDIS)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["E *RequestError: 'currant start -d redis' has failed:", "E *no such folder*"]
    )
    result.stdout.no_fnmatch_line("left running*")


def test_a_fork_does_not_hold_the_lock_of_a_folder(tmp_path: Path) -> None:
    """Otherwise a process that a test has forked would hold up the next start of a process."""
    reader, writer = os.pipe()

    def live_on() -> None:
        os.close(writer)
        os.read(reader, 1)

    with folder_locked(tmp_path):
        child = fork(live_on)
    folder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)  # as soon as the fork runs
    for fd in (folder, reader, writer):
        os.close(fd)
    assert exit_code(child) == 0
