"""`MetricsSink`: counters and gauges of all commands, for Prometheus and what reads its format."""

from __future__ import annotations

from threading import Thread
from typing import TYPE_CHECKING, Any, cast
from weakref import finalize

import anyio

from currant._channel.threads import in_thread
from currant._system.session_usage import usage_of_sessions
from currant._values.checks import check_count
from currant._values.errors import CommandError, MissingExtraError
from currant._values.lines import Batch
from currant._values.messages import (
    Aborted,
    Dropped,
    Exited,
    Failed,
    Ready,
    Restarting,
    Skipped,
    Started,
)
from currant._values.state import QUEUED, state_after
from currant.sinks._threaded import commands_of, receive_available

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import TypeAlias
    from wsgiref.types import WSGIApplication

    from anyio.abc import ObjectReceiveStream
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

    from currant._values.command import Command
    from currant._values.messages import BatchMessage
    from currant._values.state import CommandState

    MakeApp: TypeAlias = Callable[[CollectorRegistry], WSGIApplication]

__all__ = ["MetricsSink"]

HOST = "127.0.0.1"

READY_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
"""Seconds; a server that takes longer has a time limit."""


class MetricsSink:
    """Counts starts, exits, restarts and output, and serves the numbers in the OpenMetrics format.

    Serve the metrics of a worker while it runs::

        from currant import Runner
        from currant.sinks import MetricsSink

        async with Runner({"worker": "echo ready"}, sinks=[MetricsSink()]) as runner:
            await runner.join()

    Each metric has the label ``command``:

    - ``currant_starts_total``, ``currant_restarts_total``, ``currant_dropped_lines_total``
    - ``currant_exits_total``, also with ``status``: succeeded, failed, stopped or skipped
    - ``currant_output_bytes_total``, also with ``stream``
    - ``currant_ready_seconds``: a histogram of the time from a start until the command was ready
    - ``currant_running``: 1 while a process runs
    - ``currant_memory_bytes`` and ``currant_cpu_seconds`` of the processes that run on this machine
      (Linux), taken when somebody asks

    The series of a command stay in the registry when the command has ended, also if the Runner
    forgets the command (`keep_results`), because a program that reads them later needs them.  So
    memory grows with each new name.  Each command of a `currant.map` has a name of its own, so a
    map of very many items has too many series.

    One sink may serve several Runners, one after the other; the port is that of the first alone.
    Needs the package prometheus-client (the extra ``metrics``).

    Args:
        registry: a registry of prometheus-client, such as that of your app; None: a new one.
        port: the port on 127.0.0.1 on which the metrics are served while the Runner runs, by a
            thread; 0: any free one; None: they are not served.

    Attributes:
        registry: the registry.
        url: where the metrics are served; None if they are not.

    Raises:
        MissingExtraError: when built: prometheus-client is not installed.
        CommandError: when built: the port is no number.
        OSError: when built: the port is taken.
        ValueError: when built: the registry has the series of another sink.
    """

    def __init__(
        self, registry: CollectorRegistry | None = None, *, port: int | None = None
    ) -> None:
        try:
            import prometheus_client as client  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise MissingExtraError("metrics", "prometheus-client", "metrics") from error
        if port is not None:
            check_count("port", port, 65535, minimum=0)
        given = cast("object", registry)
        if not (given is None or isinstance(given, client.CollectorRegistry)):
            raise CommandError(f"registry must be a CollectorRegistry or None, not {registry!r}")
        self.registry: CollectorRegistry = registry or client.CollectorRegistry()
        self.url: str | None = None
        self._states: dict[str, CommandState] = {}
        labels = ("command",)

        def counter(name: str, text: str, *more: str) -> Any:  # noqa: ANN401 - of an extra
            return client.Counter(name, text, (*labels, *more), registry=self.registry)

        self._starts = counter("currant_starts", "Processes that were started.")
        self._exits = counter("currant_exits", "Commands that ended.", "status")
        self._restarts = counter("currant_restarts", "Restarts.")
        self._dropped = counter("currant_dropped_lines", "Lines that nobody read in time.")
        self._output = counter("currant_output_bytes", "Bytes of output.", "stream")
        self._ready = client.Histogram(
            "currant_ready_seconds",
            "Seconds from a start until the command was ready.",
            labels,
            registry=self.registry,
            buckets=READY_BUCKETS,
        )
        self.registry.register(_Running(self._states))
        self._server: _Server | None = None
        if port is not None:
            self._server = _Server(port, self.registry)
            self.url = f"http://{HOST}:{self._server.port}/metrics"

    async def __call__(self, messages: ObjectReceiveStream[BatchMessage]) -> None:
        """Count all messages until the stream ends; then end the server.

        Cancellation: ends the server.
        """
        commands = commands_of(messages)
        server, self._server = self._server, None
        if server is not None:
            server.start()
        try:
            while backlog := await receive_available(messages):
                for message in backlog:
                    self._count(message, commands)
        finally:
            if server is not None:
                with anyio.CancelScope(shield=True):  # Bounded: the server looks each half second.
                    await in_thread(server.close)

    def _count(self, message: BatchMessage, commands: Mapping[str, Command]) -> None:
        name = message.command
        if name is None:  # about a host
            return
        before = self._states.get(name, QUEUED)
        after = self._states[name] = state_after(message, before, commands.get(name))
        match message:
            case Batch():
                self._output.labels(name, message.stream).inc(len(message.data))
            case Started():
                self._starts.labels(name).inc()
            case Ready(after=seconds):
                self._ready.labels(name).observe(seconds)
            case Restarting():
                self._restarts.labels(name).inc()
            case Dropped(lines=lines):
                self._dropped.labels(name).inc(lines)
            case Exited() | Failed() | Skipped():
                self._exits.labels(name, after.phase).inc()
            case Aborted() if after.phase == "failed":
                self._exits.labels(name, after.phase).inc()
            case _:
                pass


class _Server:
    """Serves a registry in a thread, from `start` to `close`; it has its port from the beginning.

    Without `start`, because the entry of the Runner has failed, the port is free again when the
    server is garbage.

    Raises:
        OSError: when built: the port is taken.
    """

    def __init__(self, port: int, registry: CollectorRegistry) -> None:
        from wsgiref.simple_server import (  # noqa: PLC0415 - 20 ms, for a port alone
            WSGIRequestHandler,
            make_server,
        )

        from prometheus_client import exposition  # noqa: PLC0415 - an extra

        class SilentHandler(WSGIRequestHandler):
            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
                pass

        make_app = cast("MakeApp", exposition.make_wsgi_app)  # pyright: ignore[reportUnknownMemberType]
        app = make_app(registry)
        self._http = make_server(HOST, port, app, exposition.ThreadingWSGIServer, SilentHandler)
        self._thread = Thread(target=self._http.serve_forever, name="currant metrics", daemon=True)
        self.port: int = self._http.server_port
        finalize(self, self._http.server_close)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class _Running:
    """What is known of the processes that run, for each time that somebody asks."""

    def __init__(self, states: dict[str, CommandState]) -> None:
        self._states = states

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges; called by the thread of the server."""
        from prometheus_client.core import (  # noqa: PLC0415 - an extra
            CounterMetricFamily,
            GaugeMetricFamily,
        )

        states = self._states.copy()
        running = GaugeMetricFamily(
            "currant_running", "Whether a process runs.", labels=["command"]
        )
        memory = GaugeMetricFamily("currant_memory_bytes", "Resident memory.", labels=["command"])
        cpu = CounterMetricFamily(
            "currant_cpu_seconds", "Processor time of the present attempt.", labels=["command"]
        )
        pids = {
            state.pid: name
            for name, state in states.items()
            if state.phase in ("running", "ready") and state.pid is not None and state.host is None
        }
        for name, state in states.items():
            running.add_metric([name], float(state.phase in ("running", "ready")))
        for pid, usage in usage_of_sessions(pids).items():
            memory.add_metric([pids[pid]], usage.memory)
            cpu.add_metric([pids[pid]], usage.cpu)
        yield from (running, memory, cpu)
