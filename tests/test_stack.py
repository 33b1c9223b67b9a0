"""Test the stack of examples/stack: real servers crash one after the other and stop.

Each step waits for a line of the log, or for the end of a process.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.clis import ROOT, Cli, environment
from tests.conftest import BACKENDS
from tests.waiting import LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPT = ROOT / "examples" / "stack" / "stack.py"
PROGRAMS = [*sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:], *os.get_exec_path()]
PATH = os.pathsep.join(map(str, PROGRAMS))
PARTS = ("postgres", "redis", "api", "worker.1", "worker.2")

IN_A_LOOP = """
import sys, anyio
from pathlib import Path
sys.path.insert(0, sys.argv.pop(1))
import stack
options = {"backend": sys.argv[2], "backend_options": eval(sys.argv[3])}
sys.exit(not anyio.run(stack.main, Path(sys.argv[1]), **options))
"""
"""Run the script's `main` on an event loop that is not the default."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(shutil.which(name, path=PATH) for name in ("initdb", "postgres", "psql")),
        reason="PostgreSQL is not installed: apt-get install postgresql, "
        "or brew install postgresql",
    ),
    pytest.mark.skipif(
        shutil.which("redis-server") is None,
        reason="redis-server is not installed: apt-get install redis-server, or brew install redis",
    ),
    pytest.mark.skipif(
        find_spec("redis") is None, reason="not installed: pip install -e '.[test]' (redis)"
    ),
]


class Stack(Cli):
    """The script in a process of its own, with its log."""

    @property
    def log(self) -> str:
        """All that was read so far."""
        return self.written("stdout").decode()

    def wait_for(self, *texts: str, since: int = 0) -> None:
        """Read until each of `texts` is in the log, from the place `since` on."""
        deadline = time.monotonic() + LIMIT
        while not all(text in self.log[since:] for text in texts):
            assert self._open, f"ended before {texts}:\n{self.log[since:]}"
            self._read(deadline, f"waiting for {texts}")

    def started(self, since: int = 0) -> dict[str, int]:
        """Return the processes that were started from the place `since` on, the last of each."""
        found = re.findall(r"^currant: (\S+): process (\d+)$", self.log[since:], re.MULTILINE)
        return {name: int(pid) for name, pid in found}

    def is_told_in_this_order(self, *texts: str, since: int = 0) -> bool:
        """Tell whether `texts` come one after the other in the log, each for the first time."""
        places = [self.log.index(text, since) for text in texts]
        return places == sorted(places)

    def reverse(self, name: str, text: str) -> str:
        """Have the stack reverse a text; return what it has made of it."""
        since = len(self.log)
        self.request(f"/{name}", text.encode())
        self.wait_for(f"| done: /{name}\n", since=since)
        return self.request(f"/{name}")

    def request(self, path: str, body: bytes | None = None) -> str:
        """Return the API's answer."""
        (address, *_) = re.findall(r"Serving on (http://127\.0\.0\.1:\d+)", self.log)
        with urllib.request.urlopen(address + path, body, timeout=LIMIT) as answer:
            text: str = answer.read().decode()
        return text


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    """The event loop that the script runs on: each of the three."""
    backend: tuple[str, dict[str, object]] = request.param
    return backend


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for the stack, with a short path that the user of the database may enter, too."""
    with tempfile.TemporaryDirectory(prefix="stack-", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        folder.chmod(0o711)
        yield folder


@pytest.fixture
def processes_of_stack(folder: Path) -> Iterator[ExitStack]:
    """End the processes that a failed test has left."""
    with ExitStack() as stack:
        yield stack
    left = processes_in(folder)
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert not left


def start(
    processes: ExitStack, folder: Path, backend: str = "asyncio", options: object = None
) -> Stack:
    """Start the script in `folder`, and return when all of it is ready."""
    argv = [sys.executable, str(SCRIPT), str(folder)]
    if options is not None:
        how = (str(SCRIPT.parent), str(folder), backend, repr(options))
        argv = [sys.executable, "-c", IN_A_LOOP, *how]
    # This currant comes first, also where another one is installed.
    modules = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=folder,
        env=environment({"PYTHONPATH": modules}),
    )
    assert process.stdout is not None
    source = os.dup(process.stdout.fileno())
    process.stdout.close()
    stack = processes.enter_context(Stack(process, {"stdout": source}))
    stack.wait_for(*(f"currant: {name}: ready" for name in PARTS))
    return stack


def processes_in(folder: Path) -> list[int]:
    """Return the processes that work in `folder`, or below it; none where there is no ``/proc``.

    Those of PostgreSQL hide their environment, so they are known by nothing else.
    """
    found: list[int] = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with suppress(OSError):
            if link.readlink().is_relative_to(folder):
                found.append(int(link.parent.name))
    return found


def test_each_crashed_part_restarts(
    processes_of_stack: ExitStack, folder: Path, backend: tuple[str, dict[str, object]]
) -> None:
    """After a crash, dependent parts continue or restart, and no stored data is lost."""
    stack = start(processes_of_stack, folder, *backend)
    assert stack.is_told_in_this_order(
        "currant: initdb: process",
        "currant: initdb: exit code 0",
        "currant: postgres: process",
        "currant: postgres: ready",
        "currant: migrate: process",
        "currant: migrate: exit code 0",
        "currant: api: process",
        "currant: api: ready",
        "currant: worker.",
    )
    assert stack.is_told_in_this_order("currant: redis: ready", "currant: api: process")
    assert stack.reverse("greeting", "hello") == "olleh"

    for name in PARTS:
        since, pid = len(stack.log), stack.started()[name]
        # A worker that has lost its queue ends, and is started again.
        again = {name, "worker.1", "worker.2"} if name == "redis" else {name}
        os.kill(pid, signal.SIGKILL)
        stack.wait_for(f"currant: {name}: SIGKILL\n", since=since)
        stack.wait_for(*(f"currant: {each}: ready" for each in again), since=since)
        assert stack.request("/greeting") == "olleh"
        assert stack.reverse(f"after-{name}", "crash") == "hsarc"
        assert stack.started(since).keys() == again
        assert stack.started()[name] != pid
    assert "database system was not properly shut down; automatic recovery" in stack.log

    since = len(stack.log)
    stack.signal(signal.SIGTERM)
    assert stack.end().status == 0
    for worker in ("worker.1", "worker.2"):
        assert stack.is_told_in_this_order(
            f"{worker} | asked to stop", "api      | asked to stop", since=since
        )
    for asked in ("received fast shutdown request", "Received SIGTERM scheduling shutdown"):
        assert stack.is_told_in_this_order("api      | asked to stop", asked, since=since)
    assert stack.log.endswith(
        "initdb succeeded\npostgres stopped\nredis stopped\nmigrate succeeded\n"
        "api stopped\nworker.1 stopped\nworker.2 stopped\n"
    )
    assert processes_in(folder) == []


def test_second_run_after_ctrl_c_finds_the_data(
    processes_of_stack: ExitStack, folder: Path
) -> None:
    """On a second run, the first command keeps the existing database."""
    first = start(processes_of_stack, folder)
    assert first.reverse("greeting", "hello") == "olleh"
    first.signal(signal.SIGINT)
    assert first.end().status == 0
    second = start(processes_of_stack, folder)
    assert second.request("/greeting") == "olleh"
    second.signal(signal.SIGINT)
    assert second.end().status == 0
    assert processes_in(folder) == []


@pytest.mark.skipif(
    not hasattr(os, "pidfd_open") or not os.path.isdir("/proc"),
    reason="the end of a process that is no child can be waited for on Linux only",
)
def test_killed_script_leaves_no_process(processes_of_stack: ExitStack, folder: Path) -> None:
    """A killed script leaves no process behind, and the database shuts down cleanly."""
    stack = start(processes_of_stack, folder)
    with ExitStack() as descriptors:
        ends = select.poll()
        left: set[int] = set()
        for pid in processes_in(folder):
            with suppress(ProcessLookupError):
                descriptors.callback(os.close, descriptor := os.pidfd_open(pid))
                ends.register(descriptor, select.POLLIN)
                left.add(descriptor)
        assert len(left) > len(PARTS)
        stack.signal(signal.SIGKILL)
        deadline = time.monotonic() + LIMIT
        while left:
            ended = ends.poll(max(0.0, deadline - time.monotonic()) * 1000)
            assert ended, f"processes left: {processes_in(folder)}"
            for descriptor, _ in ended:
                ends.unregister(descriptor)
                left.remove(descriptor)
    assert stack.end().status == 128 + signal.SIGKILL
    assert processes_in(folder) == []
    look = ["pg_controldata", str(folder / "postgres" / "data")]
    told = subprocess.run(
        look, capture_output=True, check=True, env={"PATH": PATH, "LC_ALL": "C"}, text=True
    )
    assert re.search(r"cluster state: +shut down\n", told.stdout)
