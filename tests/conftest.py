"""Fixtures of all tests: the event loops to run on, and the checks that no test leaks anything.

Tests start real processes.  A broken kill path would leave processes behind, and the only symptom
would be a slow machine.  So two fixtures run around every test, without being asked for:

- `no_stray_tasks` compares the event loop's tasks before and after an async test;
- `nothing_left_over` runs last, when the event loop is closed.  It looks for leftover processes and
  compares the open files and the ignored signals of this process before and after the test.

A process counts as leftover if it is a child of this process (running or a zombie), or if its
environment has the variable ``CURRANT_TEST`` with the value of this run.  Descendants inherit that
variable, so the search finds an escaped descendant too.

A file or process that is about to go (such as a zombie that asyncio's thread is about to reap) has
`TIME_TO_SETTLE` to do so.  After that, each leftover process is killed, and the test fails.

Processes are found in ``/proc``.  On a system without it (macOS), only files and tasks are checked.
"""

from __future__ import annotations

import gc
import inspect
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from signal import SIG_IGN, SIGHUP, SIGINT, SIGKILL, SIGQUIT
from typing import TYPE_CHECKING, Any, TypeVar, cast
from uuid import uuid4

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import HealthCheck, settings

from currant._process.guard import SCRIPT
from tests.cgroups import own_place
from tests.clis import start_on_terminal, start_with_pipes
from tests.kills import Kills
from tests.lifeline import Gate, Lifeline
from tests.maps import preloaded_currant
from tests.sshd import namespaces, on_loopback

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from _pytest.mark import ParameterSet

    from tests.clis import Ended, Run, Start
    from tests.sshd import Server

# The value is new in each process, so neither an ancestor nor a concurrent test run carries it.
RUN_ID = os.environ["CURRANT_TEST"] = str(uuid4())

TIME_TO_SETTLE = 20.0
"""Seconds until a file or process counts as leftover.

Long enough for a busy machine; a test waits that long only if it fails.
"""

T = TypeVar("T")

# If pytest was started by `nohup` or a shell's `&`, it ignores some signals, and every command that
# a test starts would inherit that.
for _number in (SIGHUP, SIGINT, SIGQUIT):
    if signal.getsignal(_number) == SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == SIGINT else signal.SIG_DFL)

# Hypothesis must not judge how long an example takes: the machine may be busy.
settings.register_profile("currant", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("currant")


# ---- event loops ----


def _backend(name: str, backend: str, options: dict[str, object]) -> ParameterSet:
    missing = find_spec(name) is None
    reason = f"{name} is not installed: 'pip install {name}'"
    return pytest.param(
        (backend, options), id=name, marks=pytest.mark.skipif(missing, reason=reason)
    )


BACKENDS = (
    _backend("asyncio", "asyncio", {}),
    _backend("uvloop", "asyncio", {"use_uvloop": True}),
    _backend("trio", "trio", {"restrict_keyboard_interrupt_to_checkpoints": True}),
)


@pytest.fixture(scope="module", params=BACKENDS)
def anyio_backend(request: pytest.FixtureRequest) -> object:
    """Run a test that is marked with ``pytest.mark.anyio`` on each of the three event loops."""
    return request.param


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--backend``."""
    parser.addoption(
        "--backend",
        action="append",
        choices=[backend.id for backend in BACKENDS],
        help="run async tests on this event loop only; may be repeated (default: on all)",
    )


def pytest_collection_finish() -> None:
    """Leave the collected tests out of later collections of garbage, which tests wait for.

    With 12,000 tests, each collection would take a fifth of a second.
    """
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect tests on other event loops than ``--backend`` and the marker ``backends`` name."""
    named = config.getoption("--backend")
    unwanted = {item for item in items if not _is_wanted(item, named)}
    if unwanted:
        config.hook.pytest_deselected(items=list(unwanted))
        items[:] = [item for item in items if item not in unwanted]


def _is_wanted(item: pytest.Item, named: list[str] | None) -> bool:
    backend = _backend_of(item)
    if backend is None or (named and backend not in named):
        return backend is None
    return all(backend in marker.args for marker in item.iter_markers("backends"))


def _backend_of(item: pytest.Item) -> str | None:
    """Return the event loop that a test runs on; None if the test is synchronous."""
    params: dict[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
    match params.get("anyio_backend"):
        case (str(), {"use_uvloop": True}):
            return "uvloop"
        case str(name) | (str(name), _):
            return name
    return None


# ---- leak checks: processes and files ----


class Processes:
    """Finds the processes that this process started, directly or indirectly."""

    def __init__(self) -> None:
        self._last_pid = ""
        self._began = _stat(os.getpid())[3]

    def left(self) -> dict[int, str]:
        """Return a description of each process that still exists, by PID.

        Zombies are included if they are children of this process: no other process can reap them.
        """
        last_pid = _last_pid()
        # The last search found no process, and none was started since: skip the walk over /proc.
        if last_pid == self._last_pid:
            return {}
        found = dict(filter(None, map(self._ours, filter(str.isdecimal, os.listdir("/proc")))))
        self._last_pid = "" if found else last_pid
        return found

    def _ours(self, pid: str) -> tuple[int, str] | None:
        """Return a process's PID and a description; None unless this process started it."""
        try:
            name, state, parent, began = _stat(pid)
            if began < self._began:  # No descendant is older than this process.
                return None
            is_child = parent == os.getpid()
            if not is_child and RUN_ID.encode() not in _contents(f"/proc/{pid}/environ"):
                return None
        except OSError:  # The process has ended, or belongs to another user.
            return None
        if int(pid) == os.getpid():
            return None
        return int(pid), f"{name}) in state {state}, child of {parent}"


def _last_pid() -> str:
    """Return the PID that the kernel assigned last; a unique text if the kernel hides it."""
    number = Path("/proc/loadavg").read_text().split()[-1]
    return number if number != "0" else f"unknown {uuid4()}"


def _stat(pid: str | int) -> tuple[str, str, int, int]:
    """Return "PID (NAME" of a process, its state, the PID of its parent, and when it began."""
    # The format is "pid (name) state ppid …"; the name may contain blanks and parentheses.
    name, _, rest = _contents(f"/proc/{pid}/stat").rpartition(b")")
    fields, shown = rest.split(), name.decode(errors="backslashreplace")
    return shown, fields[0].decode(), int(fields[1]), int(fields[19])


def _contents(path: str) -> bytes:
    """Return the bytes of a file; without a buffer, which would take half of the time here."""
    with open(path, "rb", buffering=0) as file:
        return file.read()


def _kill(pid: int) -> None:
    """Kill a process, and reap it if it is a child."""
    try:
        os.kill(pid, SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass  # The process has ended by itself, or is not a child of this process.


def _open_files() -> Counter[str]:
    """Count the open files of this process by their target, such as ``pipe:[4711]`` or a path."""
    folder = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"
    return Counter(filter(None, (_target(folder, name) for name in os.listdir(folder))))


def _target(folder: str, name: str) -> str | None:
    """Return the target of a file descriptor; None if it has been closed."""
    try:
        os.fstat(int(name))
    except OSError:
        return None  # This was the descriptor that `os.listdir` used for the folder itself.
    try:
        return os.readlink(f"{folder}/{name}")
    except OSError:
        return f"file descriptor {name}"  # macOS does not show the target.


def _ignored_signals() -> set[int]:
    """Return the signals that this process ignores, and so each command that it starts."""
    return {number for number in signal.valid_signals() if signal.getsignal(number) == SIG_IGN}


def _settled(find: Callable[[], T]) -> T:
    """Call `find` until it finds nothing or the time is up; return the last result."""
    deadline = time.monotonic() + TIME_TO_SETTLE
    while (found := find()) and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.01)
    return found


@pytest.fixture(scope="session")
def processes_of_run() -> Processes | None:
    """Return the finder of leftover processes; None on a system without ``/proc``."""
    return Processes() if os.path.exists("/proc/loadavg") else None


@pytest.fixture(scope="session")
def libuv_signal_pipe() -> None:
    """Start uvloop once: libuv opens a pipe for its first loop and never closes it."""
    if find_spec("uvloop") is not None:
        anyio.run(checkpoint, backend_options={"use_uvloop": True})


@pytest.fixture(scope="session")
def preloaded() -> Iterator[None]:
    """Let `run_map` run forks of one `currant`, which start in a tenth of the time."""
    with preloaded_currant():
        yield


@pytest.fixture(autouse=True)
def nothing_left_over(
    processes_of_run: Processes | None, libuv_signal_pipe: None
) -> Iterator[None]:
    """Fail a test that leaves a process, an open file or an ignored signal behind; repair that."""
    files, ignored = _open_files(), _ignored_signals()
    yield
    problems = []
    for number in _ignored_signals() - ignored:
        problems.append(f"signal still ignored: {number!r}")
        signal.signal(number, signal.SIG_DFL)
    if processes_of_run is not None and (left := _settled(processes_of_run.left)):
        problems += [f"process left: {process}" for process in left.values()]
        for pid in left:
            _kill(pid)
    leaked = _settled(lambda: _open_files() - files)
    problems += [f"open file left: {file}" for file in leaked.elements()]
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)


# ---- leak checks: tasks ----


@pytest.fixture(autouse=True)
def no_stray_tasks(request: pytest.FixtureRequest, nothing_left_over: None) -> None:
    """Fail an async test that leaves a task running."""
    # This fixture requests `nothing_left_over`, so pytest tears that one down later: files are
    # counted once the event loop is closed.
    function = getattr(request, "function", None)
    if "anyio_backend" in request.fixturenames and inspect.iscoroutinefunction(function):
        request.getfixturevalue("stray_task_check")


@pytest.fixture
async def stray_task_check(anyio_backend: object) -> AsyncIterator[None]:
    """Compare the tasks of the event loop before and after the test."""
    # The list keeps the coroutines alive, so no later coroutine can have the same id.
    before = anyio.get_running_tasks()
    known = {id(task.coro) for task in before}
    yield
    strays: list[anyio.TaskInfo] = []
    for _ in range(10):  # A task that only has to return gets the time to do so.
        strays = [
            task
            for task in anyio.get_running_tasks()
            if id(task.coro) not in known
            # On asyncio, anyio's test runner itself starts a task for each call.
            and getattr(task.coro, "__name__", "") != "_call_in_runner_task"
        ]
        if not strays:
            return
        await checkpoint()
    pytest.fail("\n".join(f"task left: {task}" for task in strays), pytrace=False)


# ---- tools for tests ----


@pytest.fixture
def kills(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kills]:
    """Record all signals to process groups; a signal to a group that is gone fails the test."""
    kills = Kills(monkeypatch)
    yield kills
    assert kills.astray == []


@pytest.fixture
def lifeline(tmp_path: Path) -> Iterator[Lifeline]:
    """Return a pipe that commands hold open, so that its end proves that all have ended."""
    with Lifeline(tmp_path / "lifeline") as lifeline:
        yield lifeline


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """Return a pipe at which one command waits until the test opens it."""
    with Gate(tmp_path / "gate") as gate:
        yield gate


@pytest.fixture
def place() -> Iterator[Path]:
    """Return a real control group; a process or group that a test leaves in it fails the test."""
    with own_place() as place:
        yield place


# ---- hosts ----


@pytest.fixture(scope="session")
def ssh_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of ssh on this machine, the host n1; skip the test if it is not installed."""
    with on_loopback(tmp_path_factory.mktemp("ssh")) as server:
        yield server


@pytest.fixture(scope="session")
def ssh_network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two servers of ssh, n1 and n2, each in a network of its own; skip the test without root."""
    with namespaces(tmp_path_factory.mktemp("net"), 2) as server:
        yield server


# ---- stacks ----


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a test a folder of its own for the sockets of stacks, and return its path.

    The path of a socket has room for 100 bytes, so the folder is not below pytest's own.
    """
    with tempfile.TemporaryDirectory(prefix="run-") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield Path(folder, "currant")


# ---- blocking Runners ----


@pytest.fixture
def loop(
    anyio_backend_name: str, anyio_backend_options: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """The arguments with which a blocking Runner runs on the event loop of the test.

    A thread that such a Runner leaves behind fails the test.
    """
    yield {"backend": anyio_backend_name, "backend_options": anyio_backend_options}
    left = [thread for thread in threading.enumerate() if thread.name == "currant"]
    assert left == []


# ---- the command line ----


@pytest.fixture
def guards(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """The orphan guards that are started from here on."""
    started: list[subprocess.Popen[bytes]] = []
    popen = cast("Callable[..., subprocess.Popen[bytes]]", subprocess.Popen)

    def start(argv: list[str], **options: Any) -> subprocess.Popen[bytes]:
        process = popen(argv, **options)
        if SCRIPT.read_text() in argv:
            started.append(process)
        return process

    monkeypatch.setattr(subprocess, "Popen", start)
    return started


@pytest.fixture
def processes_of_currant() -> Iterator[ExitStack]:
    """Collect the processes of a test; end those that a failed test has not ended."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def start(processes_of_currant: ExitStack) -> Start:
    """Start ``currant`` with pipes as its stdout and stderr."""
    return partial(start_with_pipes, processes_of_currant)


@pytest.fixture
def run(start: Start) -> Run:
    """Run ``currant`` until it exits, with pipes as its stdout and stderr."""

    def run(*arguments: str | bytes, **options: Any) -> Ended:
        return start(*arguments, **options).end()

    return run


@pytest.fixture
def on_terminal(processes_of_currant: ExitStack) -> Start:
    """Start ``currant`` on a new terminal; `type_on` writes to its keyboard."""
    return partial(start_on_terminal, processes_of_currant)
