"""What does the pytest plugin cost a test?

The time of a test is that of all tests of a suite but the first and the last, divided by their
number.  Each suite runs in a pytest that loads no other plugin.

*One redis for all tests*: each test sets a key.  The overhead is the whole time of that suite minus
the time of the same suite with a fixture of `subprocess.Popen`, divided by the number of tests.  So
it has a share of the import of currant and of the start of its event loop, which happen once.

*A process for each test*: the process is `sleep`.  The time is that of a test beyond that of an
empty test with a `tmp_path`.  The peers start and stop the same process, each in a Runner of its
own: a blocking one, in an event loop that is there already, and an async one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from time import perf_counter
from typing import TYPE_CHECKING

import anyio
from anyio.from_thread import start_blocking_portal

from benchmarks._measure import PlainSide, Question, Row, Sample, Setting, Trial
from currant import Runner, blocking

if TYPE_CHECKING:
    from pathlib import Path

TIMES = """
import time

times = []

def pytest_runtest_logfinish(nodeid, location):
    times.append(time.perf_counter())

def pytest_unconfigure():
    print("ms:", (times[-2] - times[0]) / (len(times) - 2) * 1e3)
"""
"""A conftest that prints the milliseconds that a test has taken."""

REDIS = """
import subprocess

import pytest
from redis import Redis

@pytest.fixture(scope="session")
def port({argument}):
{body}

@pytest.fixture(scope="session")
def client(port):
    with Redis(port=port) as client:
        yield client

@pytest.mark.parametrize("number", range({count}))
def test_it(client, number):
    client.set("key", number)
"""

WITH_PLUGIN = """
    from currant import ready
    port = session_processes.free_port()
    redis = ["redis-server", "--port", str(port), "--save", ""]
    session_processes.start(redis, ready=ready.line("Ready to accept"))
    return port
"""

WITH_POPEN = """
    import socket
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    redis = ["redis-server", "--port", str(port), "--save", ""]
    with subprocess.Popen(redis, stdout=subprocess.PIPE) as process:
        while b"Ready to accept" not in process.stdout.readline():
            pass
        yield port
        process.terminate()
"""

EACH = """
import pytest

@pytest.mark.parametrize("number", range({count}))
def test_it({fixture}, number):
    {body}
"""


def _count(setting: Setting) -> int:
    return 20 if setting.quick else 200


def _suite(folder: Path, name: str, text: str, *plugins: str) -> tuple[float, float]:
    """Run a suite of one file; return the seconds of all, and the milliseconds of a test."""
    place = folder / name
    place.mkdir(exist_ok=True)
    (place / "conftest.py").write_text(TIMES)
    (place / "test_it.py").write_text(text)
    env = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    options = ("-q", "-s", "-p", "no:cacheprovider", *plugins)
    began = perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, f"--rootdir={place}", str(place)],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return perf_counter() - began, float(done.stdout.partition("ms:")[2].split()[0])


def shared(setting: Setting) -> Sample:
    """Run the suite with one redis, with the plugin and without, in turn."""
    count = _count(setting)
    ours = REDIS.format(count=count, argument="session_processes", body=WITH_PLUGIN)
    plain = REDIS.format(count=count, argument="", body=WITH_POPEN)
    total, each = _suite(setting.folder, "plugin", ours, "-p", "currant")
    total_of_popen, each_of_popen = _suite(setting.folder, "popen", plain)
    return {
        "overhead": (total - total_of_popen) / count * 1e3,
        "each": each - each_of_popen,
    }


def each(setting: Setting) -> Sample:
    """Run a suite that starts a process in each test, and one of empty tests."""
    count, start = _count(setting), 'processes.start(["sleep", "9999"])'
    ours = EACH.format(count=count, fixture="processes", body=start)
    empty = EACH.format(count=count, fixture="tmp_path", body="pass")
    _, time = _suite(setting.folder, "each", ours, "-p", "currant")
    _, time_of_empty = _suite(setting.folder, "empty", empty)
    return {"time": time - time_of_empty}


def blocking_runner(setting: Setting) -> Sample:
    """Start and stop the process in one blocking Runner after another."""
    count = _count(setting)
    with start_blocking_portal() as portal:
        began = perf_counter()
        for _ in range(count):
            with blocking.Runner(on_exit="stop", portal=portal) as runner:
                runner.start(["sleep", "9999"])
        return {"time": (perf_counter() - began) / count * 1e3}


def async_runner(setting: Setting) -> Sample:
    """Start and stop the process in one Runner after another."""
    count = _count(setting)

    async def run() -> float:
        began = perf_counter()
        for _ in range(count):
            async with Runner(on_exit="stop") as runner:
                await runner.start(["sleep", "9999"])
        return (perf_counter() - began) / count * 1e3

    return {"time": anyio.run(run)}


def _shared_rows(setting: Setting) -> list[Row]:
    what = f"one redis for {_count(setting)} tests, overhead of a test"
    return [
        Row(what, "ms", "overhead", limit=2),
        Row(f"{what}, without the first and the last", "ms", "each", limit=2),
    ]


def _each_rows(_setting: Setting) -> list[Row]:
    what = "start and stop a process for each test"
    return [
        Row(what, "ms", "time", "blocking", "a blocking Runner for each", at_most=1.3),
        Row(what, "ms", "time", "async", "an async Runner for each"),
    ]


SHARED_SIDES = {"currant": PlainSide(shared, "redis-server")}
EACH_SIDES = {
    "currant": PlainSide(each),
    "blocking": PlainSide(blocking_runner),
    "async": PlainSide(async_runner),
}
QUESTION = Question(
    "pytest_plugin",
    [Trial("shared", 5, SHARED_SIDES, _shared_rows), Trial("each", 5, EACH_SIDES, _each_rows)],
)
