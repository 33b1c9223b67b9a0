"""`MetricsSink`: numbers about commands, as Prometheus reads them."""

from __future__ import annotations

import gc
import sys
from socket import socket
from typing import TYPE_CHECKING, Any
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest
from anyio import fail_after, to_thread
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from currant import (
    Command,
    CommandError,
    CommandNotFoundError,
    MissingExtraError,
    RestartPolicy,
    Runner,
    ready,
)
from currant.sinks import MetricsSink
from tests.system import needs_proc
from tests.waiting import EXEC_FOREVER, LIMIT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.clis import Run

pytestmark = pytest.mark.anyio

OPEN_METRICS = "application/openmetrics-text; version=1.0.0"
"""The format that Prometheus asks for first."""


def values(sink: MetricsSink) -> Mapping[str, float]:
    """Return all samples, with their labels behind the name."""
    read: Any = text_string_to_metric_families
    write: Any = generate_latest  # both without types
    families = read(write(sink.registry).decode())
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in families
        for sample in family.samples
    }


async def test_starts_exits_restarts_and_output_are_counted() -> None:
    """Each end counts once, under its status."""
    sink = MetricsSink()
    again = RestartPolicy("on-failure", max_restarts=2, delay=0.0)
    commands = [
        Command.shell("echo out; echo err >&2", name="good"),
        Command.shell("exit 3", name="bad", restart=again),
        Command(["true"], name="never", after={"bad": "succeeded"}),
    ]
    async with Runner(commands, sinks=[sink]) as runner:
        await runner.join()
    found = values(sink)
    assert found["currant_starts_total good"] == 1
    assert found["currant_starts_total bad"] == 3
    assert found["currant_restarts_total bad"] == 2
    assert found["currant_exits_total good succeeded"] == 1
    assert found["currant_exits_total bad failed"] == 3
    assert found["currant_exits_total never skipped"] == 1
    assert found["currant_output_bytes_total good stdout"] == 4
    assert found["currant_output_bytes_total good stderr"] == 4
    assert found["currant_running good"] == 0


@needs_proc
async def test_a_running_command_is_served_with_its_memory() -> None:
    """The server listens on loopback, and ends with the Runner."""
    sink = MetricsSink(port=0)
    url = sink.url
    assert url is not None
    server = Command.shell(f"echo up; {EXEC_FOREVER}", name="web", ready=ready.line("up"))

    def fetch() -> str:
        with urlopen(Request(url, headers={"Accept": OPEN_METRICS})) as answer:
            assert answer.headers["Content-Type"].startswith(OPEN_METRICS)
            return str(answer.read().decode())

    async with Runner(sinks=[sink], on_exit="stop") as runner:
        await runner.start(server)
        with fail_after(LIMIT):
            text = await to_thread.run_sync(fetch)
            while 'currant_ready_seconds_count{command="web"} 1.0' not in text:
                text = await to_thread.run_sync(fetch)  # The sink may be behind.
    assert 'currant_running{command="web"} 1.0' in text
    assert 'currant_memory_bytes{command="web"}' in text
    assert 'currant_cpu_seconds_total{command="web"}' in text
    assert text.endswith("# EOF\n")
    with pytest.raises(URLError):
        await to_thread.run_sync(fetch)


async def test_a_runner_that_cannot_begin_frees_the_port() -> None:
    """The sink was built for that Runner; the next try may use the same port."""

    async def port_of_a_sink(port: int) -> int:
        sink = MetricsSink(port=port)
        assert sink.url is not None
        with pytest.raises(CommandNotFoundError):
            async with Runner(["no-such-program"], sinks=[sink]):
                pass
        return urlsplit(sink.url).port or 0

    port = await port_of_a_sink(0)
    gc.collect()
    assert await port_of_a_sink(port) == port


async def test_the_registry_of_an_app() -> None:
    """The metrics stand beside those of the app."""
    registry = CollectorRegistry()
    sink = MetricsSink(registry)
    async with Runner(["true"], sinks=[sink]):
        pass
    assert registry.get_sample_value("currant_starts_total", {"command": "true"}) == 1


@pytest.mark.parametrize(
    ("arguments", "message"), [({"port": -1}, "port"), ({"registry": 3}, "registry")]
)
async def test_wrong_arguments(arguments: dict[str, object], message: str) -> None:
    """The error names the argument."""
    with pytest.raises(CommandError, match=message):
        MetricsSink(**arguments)  # type: ignore[arg-type]


async def test_the_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the extra that brings it."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(MissingExtraError, match=r"currant\[metrics\]"):
        MetricsSink()


FETCH = """
import sys, urllib.request
text = ""
while 'currant_starts_total{command="fetch"} 1.0' not in text:  # The sink may be behind.
    text = urllib.request.urlopen(sys.argv[1]).read().decode()
print("found")
"""


def test_command_line_serves_metrics(run: Run, tmp_path: Path) -> None:
    """`currant start --metrics PORT` serves them while it runs; a port must be free."""
    (tmp_path / "fetch.py").write_text(FETCH)
    with socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        taken.listen()
        command = f"{sys.executable} fetch.py http://127.0.0.1:{port}/metrics"
        (tmp_path / "currant.toml").write_text(f"[commands]\nfetch = {command!r}\n")
        refused = run("--metrics", str(port), subcommand="start", cwd=tmp_path)
    assert refused.status == 2
    assert refused.err.decode() == f"currant: --metrics {port}: Address already in use\n"
    served = run("-q", "--metrics", str(port), subcommand="start", cwd=tmp_path)
    assert (served.status, served.out) == (0, b"fetch | found\n")
