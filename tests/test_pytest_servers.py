"""The pytest plugin with real servers: redis, HTTP, and servers that do not stop as they should."""

from __future__ import annotations

import shutil
from importlib.util import find_spec

import pytest

from tests.suites import outcome_of, write_servers

pytest_plugins = ["pytester"]

pytestmark = pytest.mark.slow  # Each test starts Python several times.

WORKERS = """
import pytest
from currant import ready
from redis import ConnectionError, Redis


@pytest.fixture(scope="session")
def redis(session_processes):
    port = session_processes.free_port()
    session_processes.start(
        ["redis-server", "--port", str(port), "--save", ""],
        cwd=session_processes.folder("redis"),
        ready=ready.line("Ready to accept connections"),
        name="redis",
    )
    with Redis(port=port) as client:
        yield client


@pytest.mark.parametrize("number", range(40))
def test_counts(redis, number):
    assert redis.get(f"seen {number}") is None
    redis.set(f"seen {number}", 1)
    assert redis.client_list()[0]["id"]


def test_down(redis, session_processes):
    with session_processes.stopped("redis"), pytest.raises(ConnectionError):
        redis.ping()
    assert redis.ping()
"""

ALL_KINDS = """
import signal
import urllib.request

import pytest
from currant import PIPE, NotReadyError, ready
from servers import is_alive, server

SEEN = {}


def test_http(processes, free_port):
    url = f"http://127.0.0.1:{free_port}/"
    processes.folder("web").joinpath("file").write_text("text")
    command = ["python3", "-m", "http.server", str(free_port), "--bind", "127.0.0.1"]
    processes.start(command, cwd=processes.folder("web"), ready=ready.http(url))
    assert urllib.request.urlopen(f"{url}file").read() == b"text"


def test_server_that_ignores_sigterm(processes):
    job = processes.start(server(script="trap '' TERM", grace=0.01))
    job.kill()
    assert job.wait().exit.forced
    SEEN["stubborn"] = processes.start(server("more", "trap '' TERM", grace=0.01)).pid


def test_stubborn_server_is_gone():
    assert not is_alive(SEEN["stubborn"])


def test_server_that_becomes_a_daemon(processes, tmp_path):
    script = "setsid sh -c 'echo $$ > pid; exec sleep 9999' & while [ ! -s pid ]; do :; done"
    with pytest.raises(NotReadyError, match="exit code 0"):
        processes.start(["sh", "-c", script], cwd=tmp_path, ready=ready.line("never"), name="it")
    SEEN["daemon"] = int((tmp_path / "pid").read_text())


def test_daemon_is_gone():
    assert not is_alive(SEEN["daemon"])


def test_children_of_a_server(processes, tmp_path):
    processes.start(server(script="sleep 9999 & echo $! > child", cwd=tmp_path))
    SEEN["child"] = int((tmp_path / "child").read_text())


def test_children_are_gone():
    assert not is_alive(SEEN["child"])


def test_own_stop_signal_and_exit_code(processes):
    script = "trap 'echo bye; exit 4' INT; echo up; while :; do sleep 0.01; done"
    job = processes.start(
        ["sh", "-c", script], ready=ready.line("up"), stop_signal=signal.SIGINT, name="polite"
    )
    job.kill()
    result = job.wait()
    assert result.status == "stopped"
    assert result.exit.code == 4
    assert "bye" in [line.text for line in job.tail]


def test_talk(processes):
    job = processes.start("cat", stdin=b"hello\\n")
    assert [line.text for line in job.lines()] == ["hello"]
    job = processes.start(["sh", "-c", "read name; echo hi $name; exec sleep 9999"], stdin=PIPE)
    job.send(b"you\\n")
    assert job.expect("hi (.*)")[1] == b"you"


def test_much_output_blocks_nobody(processes):
    job = processes.start(["sh", "-c", "seq 300000; exec sleep 9999"], name="loud")
    job.expect("300000")
    assert job.state == "running"


def test_restart(processes):
    job = processes.start(server())
    pid = job.pid
    job.restart()
    job.ready()
    assert job.pid != pid


def test_server_of_another_process_does_not_count(processes, free_port):
    address = ["--bind", "127.0.0.1"]
    command = ["python3", "-m", "http.server", str(free_port), *address]
    probe = ready.tcp("127.0.0.1", free_port)
    processes.start(command, ready=probe, name="first")
    with pytest.raises(NotReadyError):
        processes.start("sleep 9999", ready=ready.tcp("127.0.0.1", free_port, timeout=0.1))
"""


@pytest.fixture(autouse=True)
def servers(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each suite has the module `servers`."""
    write_servers(pytester, monkeypatch)


@pytest.mark.skipif(
    shutil.which("redis-server") is None or find_spec("redis") is None,
    reason="redis is not installed: apt-get install redis-server; pip install redis",
)
def test_each_worker_has_a_redis_of_its_own(pytester: pytest.Pytester) -> None:
    """Four workers start four servers, on ports that do not clash."""
    pytester.makepyfile(test_it=WORKERS)
    outcome = outcome_of(pytester, "-p", "xdist", "-n4")
    assert outcome.code == 0, outcome.text
    assert len(outcome.tests) == 41


def test_servers_of_all_kinds(pytester: pytest.Pytester) -> None:
    """What the suites of other plugins ask of a server, in one suite."""
    pytester.makepyfile(test_it=ALL_KINDS)
    outcome = outcome_of(pytester)
    assert outcome.code == 0, outcome.text
