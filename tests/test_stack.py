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
"""A program that runs the script's `main` on a given event loop."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.alone,
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
    """The running script, and its log."""

    @property
    def log(self) -> str:
        """All output read so far."""
        return self.written("stdout").decode()

    def wait_for(self, *texts: str, since: int = 0) -> None:
        """Read until each of `texts` is in the log after the position `since`."""
        deadline = time.monotonic() + LIMIT
        while not all(text in self.log[since:] for text in texts):
            assert self._open, f"exited before it wrote {texts}:\n{self.log[since:]}"
            self._read(deadline, f"waiting for {texts}")

    def started(self, since: int = 0) -> dict[str, int]:
        """Return the last PID of each part that was started after the position `since`."""
        found = re.findall(r"^currant: (\S+): process (\d+)$", self.log[since:], re.MULTILINE)
        return {name: int(pid) for name, pid in found}

    def has_in_order(self, *texts: str, since: int = 0) -> bool:
        """Return whether the first occurrences of `texts` after `since` come in this order."""
        positions = [self.log.index(text, since) for text in texts]
        return positions == sorted(positions)

    def reverse(self, name: str, text: str) -> str:
        """Have the stack reverse `text`; return the result."""
        since = len(self.log)
        self.request(f"/{name}", text.encode())
        self.wait_for(f"| done: /{name}\n", since=since)
        return self.request(f"/{name}")

    def request(self, path: str, body: bytes | None = None) -> str:
        """Send a request to the API; return its answer."""
        (address, *_) = re.findall(r"Serving on (http://127\.0\.0\.1:\d+)", self.log)
        with urllib.request.urlopen(address + path, body, timeout=LIMIT) as answer:
            text: str = answer.read().decode()
        return text


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    """Run the script on each of the three event loops."""
    backend: tuple[str, dict[str, object]] = request.param
    return backend


@pytest.fixture
def folder() -> Iterator[Path]:
    """Create a folder with a short path, which the user of the database may enter too."""
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
    """Start the script in `folder`; return when each part is ready."""
    argv = [sys.executable, str(SCRIPT), str(folder)]
    if options is not None:
        arguments = (str(SCRIPT.parent), str(folder), backend, repr(options))
        argv = [sys.executable, "-c", IN_A_LOOP, *arguments]
    # The script must import this currant, even if another version is installed.
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
    """Return the processes whose working directory is in `folder`; none without ``/proc``.

    The processes of PostgreSQL hide their environment, so only the directory identifies them.
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
    assert stack.has_in_order(
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
    assert stack.has_in_order("currant: redis: ready", "currant: api: process")
    assert stack.reverse("greeting", "hello") == "olleh"

    for name in PARTS:
        since, pid = len(stack.log), stack.started()[name]
        # A worker that loses its queue exits, and currant restarts it.
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
        assert stack.has_in_order(
            f"{worker} | asked to stop", "api      | asked to stop", since=since
        )
    for asked in ("received fast shutdown request", "Received SIGTERM scheduling shutdown"):
        assert stack.has_in_order("api      | asked to stop", asked, since=since)
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
    reason="only Linux can wait for the exit of a process that is not a child",
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
    command = ["pg_controldata", str(folder / "postgres" / "data")]
    control = subprocess.run(
        command, capture_output=True, check=True, env={"PATH": PATH, "LC_ALL": "C"}, text=True
    )
    assert re.search(r"cluster state: +shut down\n", control.stdout)
