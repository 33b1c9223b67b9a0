"""Test the examples as a user runs them, with real servers and requests."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
import urllib.request
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.clis import ROOT, plain
from tests.ports import free_port
from tests.waiting import LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.clis import Cli, Start

MISSING = [name for name in ("fastapi", "uvicorn", "redis") if find_spec(name) is None]

pytestmark = [
    pytest.mark.skipif(
        bool(MISSING), reason=f"not installed: pip install -e '.[test]' ({', '.join(MISSING)})"
    ),
    pytest.mark.skipif(
        shutil.which("redis-server") is None,
        reason="redis-server is not installed: apt-get install redis-server, or brew install redis",
    ),
]


@pytest.fixture
def application(start: Start, tmp_path: Path) -> Iterator[Cli]:
    """Start the app in a copy of examples/fastapi, and wait until the app is ready."""
    folder = tmp_path / "app"
    shutil.copytree(ROOT / "examples" / "fastapi", folder)
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    with free_port() as port:
        arguments = ("-p", str(port), "--summary", "--grace", str(LIMIT))
        cli = start(*arguments, subcommand="start", cwd=folder, env={"PATH": path})
        cli.read_until(b"Uvicorn running on", b"worker.1 | ready\n", b"ready to accept connections")
        yield cli


def request(cli: Cli, path: str, method: str = "GET") -> object:
    """Return the web server's answer."""
    shown = cli.written("stderr").decode()
    (address,) = re.findall(r"Uvicorn running on (http://127\.0\.0\.1:\d+)", shown)
    asked = urllib.request.Request(address + path, method=method)
    with urllib.request.urlopen(asked, timeout=LIMIT) as answer:
        return json.load(answer)


def test_web_app_runs_with_its_worker_and_database(application: Cli) -> None:
    """A request passes through all three processes, and Ctrl-C shuts each down gracefully."""
    request(application, "/texts/greeting?text=hello", "POST")
    application.read_until(b"worker.1 | done: greeting\n")
    assert request(application, "/texts/greeting") == "olleh"
    application.signal(signal.SIGINT)
    status, out, err = application.end()
    assert status == 130
    assert b"Redis is now ready to exit" in out
    assert b"web.1    | INFO:     Application shutdown complete." in plain(err)
    table = [line.split()[:3] for line in err.decode().splitlines()[-3:]]
    assert table == [[f"{name}.1", "stopped", "stopped"] for name in ("web", "worker", "redis")]


def test_crash_of_one_process_stops_the_others(application: Cli) -> None:
    """The exit status is that of the crashed process."""
    (pid,) = re.findall(rb"worker\.1 started \(pid (\d+)\)", application.written("stderr"))
    os.killpg(int(pid), signal.SIGKILL)
    status, out, err = application.end()
    assert status == 128 + signal.SIGKILL
    assert b"Redis is now ready to exit" in out
    assert b"currant: worker.1: SIGKILL\n" in err
    assert b"currant: web.1: stopped (SIGTERM)\n" in err
