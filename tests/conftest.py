"""What all tests share: the event loops they run on, and the check that each leaves nothing over.

Tests start real processes, so a broken kill path would otherwise show as a slow machine and nothing
else.  After each test there must be no open file, no child and no descendant of this process that
was not there before.  Descendants that escaped from their parents are known by a variable in their
environment.  What ends by itself (a process that asyncio's thread is about to reap) has time to do
so, as much as a busy machine may take; what has not is killed and fails the test.

Processes are found in ``/proc``; where there is none (macOS), only files are checked.
"""

from __future__ import annotations

import gc
import inspect
import os
import signal
import time
from collections import Counter
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGKILL, SIGQUIT
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import HealthCheck, settings

from tests.clis import start_on_terminal, start_with_pipes
from tests.kills import Kills
from tests.lifeline import Gate, Lifeline

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from _pytest.mark import ParameterSet

    from tests.clis import Ended, Run, Start

# New in each process, so that neither an ancestor nor a test run beside this one carries it.
RUN_ID = os.environ["CURRANT_TEST"] = str(uuid4())

TIME_TO_SETTLE = 20.0
"""Seconds that what is just ending has until it counts as left over; only a leftover takes them."""

T = TypeVar("T")

# Below `nohup` or a shell's `&` some signals are ignored, and all commands would ignore them, too.
for _number in (SIGHUP, SIGINT, SIGQUIT):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == SIGINT else signal.SIG_DFL)

# How long an example takes says nothing on a busy machine.
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
    """The event loop of a test that is marked with ``pytest.mark.anyio``: each of the three."""
    return request.param


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--backend``."""
    parser.addoption(
        "--backend",
        action="append",
        choices=[backend.id for backend in BACKENDS],
        help="run async tests on this event loop only; may be repeated (default: on all)",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests on event loops that were not asked for, chosen by the test or not."""
    wanted = config.getoption("--backend")
    if wanted:
        unwanted = [item for item in items if _backend_of(item) not in (None, *wanted)]
        config.hook.pytest_deselected(items=unwanted)
        items[:] = [item for item in items if item not in unwanted]


def _backend_of(item: pytest.Item) -> str | None:
    params: dict[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
    match params.get("anyio_backend"):
        case (str(), {"use_uvloop": True}):
            return "uvloop"
        case str(name) | (str(name), _):
            return name
    return None


# ---- nothing is left over ----


class Processes:
    """Tells which processes this one has started, however indirectly, and that still exist."""

    def __init__(self) -> None:
        self._last_pid = ""

    def left(self) -> dict[int, str]:
        """Return them by their number; zombies that nobody but this process can reap among them."""
        last_pid = _last_pid()
        # Nothing was there last time and nothing was started since: the walk is saved.
        if last_pid == self._last_pid:
            return {}
        found = dict(filter(None, map(_ours, filter(str.isdecimal, os.listdir("/proc")))))
        self._last_pid = "" if found else last_pid
        return found


def _last_pid() -> str:
    """Return the number that the kernel gave to a process last; "" where it does not tell."""
    number = Path("/proc/loadavg").read_text().split()[-1]
    return number if number != "0" else f"unknown {uuid4()}"


def _ours(pid: str) -> tuple[int, str] | None:
    try:
        # "pid (name) state ppid …"; the name may hold blanks and parentheses.
        name, _, rest = Path("/proc", pid, "stat").read_bytes().rpartition(b")")
        state, parent = rest.split(None, 2)[:2]
        is_child = int(parent) == os.getpid()
        if not is_child and RUN_ID.encode() not in Path("/proc", pid, "environ").read_bytes():
            return None
    except OSError:  # it has ended, or is not ours to look at
        return None
    if int(pid) == os.getpid():
        return None
    return int(pid), f"{name.decode()}) in state {state.decode()}, child of {parent.decode()}"


def _end(pid: int) -> None:
    try:
        os.kill(pid, SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass  # it was quicker, or is not our child


def _open_files() -> Counter[str]:
    """Count this process's open files by what they are, such as ``pipe:[4711]`` or a path."""
    folder = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"
    return Counter(filter(None, (_target(folder, name) for name in os.listdir(folder))))


def _target(folder: str, name: str) -> str | None:
    try:
        os.fstat(int(name))
    except OSError:
        return None  # the folder that is being listed
    try:
        return os.readlink(f"{folder}/{name}")
    except OSError:
        return f"file descriptor {name}"  # macOS does not tell


def _settled(look: Callable[[], T]) -> T:
    """Return what `look` finds, after it has had time to find nothing."""
    deadline = time.monotonic() + TIME_TO_SETTLE
    while (found := look()) and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.01)
    return found


@pytest.fixture(scope="session")
def processes() -> Processes | None:
    """What finds leftover processes; None where there is no ``/proc``."""
    return Processes() if os.path.exists("/proc/loadavg") else None


@pytest.fixture(scope="session")
def libuv_signal_pipe() -> None:
    """Have libuv open the pipe that it keeps from its first loop on, if it is there."""
    if find_spec("uvloop") is not None:
        anyio.run(checkpoint, backend_options={"use_uvloop": True})


@pytest.fixture(autouse=True)
def nothing_left_over(processes: Processes | None, libuv_signal_pipe: None) -> Iterator[None]:
    """Fail a test that leaves an open file or a process behind, and end the process."""
    files = _open_files()
    yield
    problems = []
    if processes is not None and (left := _settled(processes.left)):
        problems += [f"process left: {what}" for what in left.values()]
        for pid in left:
            _end(pid)
    leaked = _settled(lambda: _open_files() - files)
    problems += [f"open file left: {what}" for what in leaked.elements()]
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)


@pytest.fixture(autouse=True)
def no_stray_tasks(request: pytest.FixtureRequest, nothing_left_over: None) -> None:
    """Fail an async test that leaves a task running."""
    # After `nothing_left_over`, so that the event loop is closed when files are counted.
    function = getattr(request, "function", None)
    if "anyio_backend" in request.fixturenames and inspect.iscoroutinefunction(function):
        request.getfixturevalue("stray_task_check")


@pytest.fixture
def kills(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kills]:
    """All signals to process groups from here on; one to a group that is gone fails the test."""
    kills = Kills(monkeypatch)
    yield kills
    assert kills.astray == []


@pytest.fixture
def lifeline(tmp_path: Path) -> Iterator[Lifeline]:
    """What all commands of a test hold open."""
    with Lifeline(tmp_path / "lifeline") as lifeline:
        yield lifeline


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """What holds one command up."""
    with Gate(tmp_path / "gate") as gate:
        yield gate


@pytest.fixture
async def stray_task_check(anyio_backend: object) -> AsyncIterator[None]:
    """Compare the tasks of the event loop before and after the test."""
    # Kept, so that no later task's coroutine can have the same id.
    before = anyio.get_running_tasks()
    known = {id(task.coro) for task in before}
    yield
    strays: list[anyio.TaskInfo] = []
    for _ in range(10):  # what only has to return gets its turn
        strays = [
            task
            for task in anyio.get_running_tasks()
            if id(task.coro) not in known
            # On asyncio the runner makes one for each call.
            and getattr(task.coro, "__name__", "") != "_call_in_runner_task"
        ]
        if not strays:
            return
        await checkpoint()
    pytest.fail("\n".join(f"task left: {task}" for task in strays), pytrace=False)


# ---- the command line ----


@pytest.fixture
def processes_of_currant() -> Iterator[ExitStack]:
    """What ends the processes that a failed test has left."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def start(processes_of_currant: ExitStack) -> Start:
    """Start currant with pipes for what it writes."""
    return partial(start_with_pipes, processes_of_currant)


@pytest.fixture
def run(start: Start) -> Run:
    """Run currant to its end with pipes for what it writes."""

    def run(*arguments: str | bytes, **options: Any) -> Ended:
        return start(*arguments, **options).end()

    return run


@pytest.fixture
def on_terminal(processes_of_currant: ExitStack) -> Start:
    """Start currant on a terminal of its own, whose keyboard is what `type_on` writes to."""
    return partial(start_on_terminal, processes_of_currant)
