"""Readiness and liveness: each probe with real processes, and the effects of its outcome."""

from __future__ import annotations

import asyncio
import errno
import os
import pickle
import sys
from contextlib import suppress
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio import fail_after

from currant import (
    PIPE,
    Aborted,
    Command,
    CommandError,
    DependencyError,
    Exit,
    Exited,
    LaunchError,
    Line,
    LocalLauncher,
    NotReadyError,
    Ready,
    RestartPolicy,
    Runner,
    Started,
    UnresponsiveError,
    ready,
)
from currant._process.exchange import exchange
from currant._supervisor.startup import why_unready
from currant._values.exchange import Answer, Owner
from currant.testing import FakeLauncher, FakeProcess, Script
from tests.lifeline import Gate
from tests.ports import free_port
from tests.reading import messages_of
from tests.waiting import HOURS, LIMIT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from currant import Message
    from currant._process.local_process import LocalProcess
    from currant._values.exchange import Relation, Request
    from currant.ready import Probe

pytestmark = [pytest.mark.anyio, pytest.mark.backends("asyncio", "trio")]

SOON = 0.05
"""The timeout of a probe that never succeeds, in a test that waits for the timeout."""

OFTEN = 0.01
"""Seconds between two checks."""

NUMBER: Any = 3
TEXT: Any = "80"
NOTHING: Any = None
"""Arguments of a wrong type."""

SERVER = """\
import http.server, itertools, sys
class Handler(http.server.BaseHTTPRequestHandler):
    asked = itertools.count(1)
    def do_GET(self):
        good = next(self.asked) >= 3 and self.path == "/health?full=1"
        self.send_response(200 if good else 503)
        self.end_headers()
    def log_message(self, *_):
        pass
sys.stdin.readline()
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
print("listens", flush=True)
server.serve_forever()
"""
"""Listens after a line on stdin; responds with status 200 from the third request on."""


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """A gate that keeps a command waiting."""
    with Gate(tmp_path / "gate") as gate:
        yield gate


@pytest.fixture
def port() -> Iterator[int]:
    """The number of a TCP port without a listener."""
    with free_port() as port:
        yield port


def shell(text: str, probe: Probe | None, **options: Any) -> Command:
    """Return a command with the name "c" and a probe."""
    return Command.shell(text, name="c", ready=probe, **options)


async def start(command: Command, **options: Any) -> NotReadyError:
    """Start the command and return the error that reports it as not ready."""
    with fail_after(LIMIT):
        async with Runner(**options) as runner:
            with pytest.raises(NotReadyError) as caught:
                await runner.start(command)
            runner.kill()
    return caught.value


async def unresponsive(command: Command) -> UnresponsiveError:
    """Run the command until its probe `alive` has failed, and return the error."""
    with fail_after(LIMIT):
        async with Runner([replace(command, name="c", failure_threshold=1)]) as runner:
            error = (await runner["c"].wait()).error
    assert isinstance(error, UnresponsiveError)
    return error


# ---- a line ----


@pytest.mark.parametrize(
    ("pattern", "parts", "flush_after"),
    [
        ("mysql> $", [b"Welcome\nmysq", b"l> "], None),
        ("running on http://", [b"running \x1b[1mon", b"\x1b[0m http://"], None),
        ("running on http://", [b"running ", b"on http://"], 0),
        ("^> ", [b"hello\r", b"\n> "], 0.1),
    ],
)
async def test_command_is_ready_after_an_unfinished_line(
    pattern: str, parts: list[bytes], flush_after: float | None
) -> None:
    """A prompt, in any chunks and without its colours, makes a command ready."""
    launcher = FakeLauncher(default=Script(exit=None))
    probe = ready.line(pattern, timeout=LIMIT)
    command = Command(["c"], ready=probe, flush_after=flush_after)
    async with Runner([command], launcher=launcher) as runner:
        await runner["c"].until_started()
        for part in parts:
            assert not runner["c"].is_ready
            launcher["c"].write(part)
            await anyio.wait_all_tasks_blocked()
        await runner["c"].ready()
        runner.kill()


@pytest.mark.parametrize(
    "probe",
    [
        ready.line(r"^up \d+$"),
        ready.line(rb"\xff$", "stderr"),
        ready.line("up", stream="stderr"),
        ready.all_of(ready.line("one"), ready.line("^up")),
        ready.any_of(ready.line("never"), ready.line("^up")),
    ],
)
async def test_command_is_ready_after_its_line(probe: Probe, gate: Gate) -> None:
    """The line counts after much other output and without a reader; `start` waits for it."""
    text = f"seq 20000; echo one; {gate.wait}; echo up 1; printf 'up \\377\\n' >&2; sleep 9999"
    with fail_after(LIMIT):
        async with Runner() as runner, anyio.create_task_group() as tasks:
            job = runner.start_soon(shell(text, probe))
            await job.until_started()
            assert not job.is_ready
            tasks.start_soon(job.ready)
            await anyio.lowlevel.checkpoint()
            gate.open()
            await job.ready()
            assert job.is_ready
            await job.ready()
            runner.kill()
        assert not job.is_ready


async def test_messages_arrive_in_order(gate: Gate) -> None:
    """`Started`, then `Ready` once, with its seconds, then `Exited`."""
    text = f"echo up; {gate.wait}"
    with fail_after(LIMIT):
        async with Runner([shell(text, ready.line("up"))]) as runner:
            await runner["c"].ready()
            gate.open()
            messages = [m for m in await messages_of(runner) if not hasattr(m, "data")]
    assert [type(message) for message in messages] == [Started, Ready, Exited]
    assert isinstance(messages[1], Ready)
    assert messages[1].after >= 0
    assert runner.results["c"].status == "succeeded"


async def test_command_without_a_probe_is_ready_once_it_runs() -> None:
    """No `Ready` message is sent for it."""
    with fail_after(LIMIT):
        async with Runner([["sleep", "9999"]]) as runner:
            await runner["sleep"].ready()
            assert runner["sleep"].is_ready
            runner.kill()
            messages = await messages_of(runner)
    assert [type(message) for message in messages] == [Started, Exited]


# ---- not ready ----


async def test_waiting_task_is_woken_when_the_command_ends() -> None:
    """The error carries the last lines, however long the probe would have waited."""
    error = await start(shell("echo one; echo two >&2; exit 3", ready.delay(HOURS)))
    assert error.name == "c"
    assert error.reason == "it has ended: exit code 3"
    assert {(line.stream, line.text) for line in error.tail} == {
        ("stdout", "one"),
        ("stderr", "two"),
    }
    assert "stdout: one" in str(error)


@pytest.mark.parametrize("how", ["job", "runner", "restart"])
async def test_waiting_task_is_woken_when_the_command_is_stopped(how: str) -> None:
    """A waiting task does not wait for the grace, whatever stops the command."""
    text = "trap '' TERM; echo deaf; while :; do sleep 1; done"
    with fail_after(LIMIT):
        async with Runner([shell(text, ready.delay(HOURS))], grace=HOURS) as runner:
            job = runner["c"]
            async for message in runner:
                if not isinstance(message, Started):
                    break
            async with anyio.create_task_group() as tasks:
                if how == "restart":
                    tasks.start_soon(job.restart)
                else:
                    (job if how == "job" else runner).kill()
                with pytest.raises(NotReadyError, match=r"it is being stopped\n    stdout: deaf"):
                    await job.ready()
                tasks.cancel_scope.cancel()
            runner.kill()
            runner.kill()
            runner.kill()


async def test_command_that_is_not_ready_in_time_has_failed() -> None:
    """The command is stopped, and its restart policy applies to each failed attempt."""
    policy = RestartPolicy("on-failure", max_restarts=2, delay=0)
    never = ready.line("never", timeout=SOON)
    # A fake process writes its line before the timeout; a real process might not.
    launcher = FakeLauncher({"c": Script(stdout=b"hello\n", exit=None)})
    command = Command(["c"], ready=never, restart=policy)
    with fail_after(LIMIT):
        async with Runner([command], launcher=launcher) as runner:
            messages = await messages_of(runner)
    result = runner.results["c"]
    assert (result.status, result.attempts) == ("failed", 3)
    assert result.exit is not None
    assert result.exit.stopped
    assert isinstance(result.error, NotReadyError)
    assert "no line matches 'never'" in result.error.reason
    aborted = [message for message in messages if isinstance(message, Aborted)]
    assert [message.attempt for message in aborted] == [1, 2, 3]
    with pytest.raises(ExceptionGroup) as caught:
        runner.results.check()
    assert str(caught.value.exceptions[0]).count("hello") == 1


async def test_command_that_is_not_ready_stops_the_others() -> None:
    """A missed probe is a failure, so `kill_others_on` applies."""
    never = shell("exec sleep 9999", ready.delay(HOURS, timeout=SOON))
    with fail_after(LIMIT):
        async with Runner([never, ["sleep", "9999"]], kill_others_on="failure") as runner:
            pass
    assert [result.status for result in runner.results.values()] == ["failed", "stopped"]


async def test_failed_launch_is_raised_by_start(tmp_path: Path) -> None:
    """`start` raises the launch error, not an error of the probe."""
    bad = tmp_path / "bad"
    bad.write_text("#!/no/such/interpreter\n")
    bad.chmod(0o755)
    with fail_after(LIMIT):
        async with Runner() as runner:
            with pytest.raises(LaunchError, match="interpreter"):
                await runner.start(Command([bad], ready=ready.delay(HOURS)))


async def test_command_can_become_ready_after_a_restart() -> None:
    """A failed launch does not wake a waiting task if a restart follows."""
    script = [Script(error="not yet"), Script(stdout=b"up\n", exit=None)]
    launcher = FakeLauncher({"c": script})
    policy = RestartPolicy("on-failure", delay=0)
    with fail_after(LIMIT):
        async with Runner(launcher=launcher) as runner:
            job = await runner.start(Command(["c"], ready=ready.line("up"), restart=policy))
            assert job.attempts == 2
            runner.kill()


async def test_waiting_task_is_woken_by_the_time_limit() -> None:
    """The time limit of the attempt counts too, even if the command ignores SIGTERM."""
    deaf = shell("trap '' TERM; while :; do sleep 0.01; done", ready.delay(HOURS), timeout=SOON)
    with fail_after(LIMIT):
        async with Runner(grace=HOURS) as runner:
            with pytest.raises(NotReadyError, match=r"time limit of 0.05 s"):
                await runner.start_soon(deaf).ready()
            runner.kill()
            runner.kill()
    assert runner.results["c"].status == "failed"


# ---- ports ----


async def test_port_is_ready_when_the_command_listens(port: int) -> None:
    """The command is not ready before it listens."""
    probe = ready.tcp("127.0.0.1", port, interval=OFTEN)
    server = Command([sys.executable, "-c", SERVER, str(port)], stdin=PIPE, ready=probe)
    with fail_after(LIMIT):
        async with Runner({"c": server}) as runner:
            await runner["c"].until_started()
            assert not runner["c"].is_ready
            await runner["c"].send(b"go\n")
            await runner["c"].ready()
            runner.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows the owner of a port")
@pytest.mark.parametrize("protocol", ["tcp", "http"])
async def test_server_of_another_process_does_not_count(protocol: str) -> None:
    """A server that existed before does not make the command ready."""

    async def answer(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):  # the client has closed it
                if protocol == "http":
                    await stream.receive()
                    await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as tasks,
    ):
        port = int(listener.extra(anyio.abc.SocketAttribute.local_port))
        tasks.start_soon(listener.serve, answer)
        if protocol == "tcp":
            probe = ready.tcp("127.0.0.1", port, interval=OFTEN, timeout=LIMIT)
        else:
            probe = ready.http(f"http://127.0.0.1:{port}", interval=OFTEN, timeout=LIMIT)
        error = await unresponsive(Command(["sleep", "9999"], alive=probe))
        assert f"port {port} belongs to another process" in error.reason
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("protocol", ["tcp", "http"])
async def test_port_that_another_process_opened_counts_with_own_false(
    protocol: str, host: str
) -> None:
    """The probe accepts the server, also as `alive`; otherwise the reason names the option."""

    async def answer(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):  # the client has closed it
                await stream.receive()
                await stream.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    def probe(port: int, status: int, **options: Any) -> Probe:
        if protocol == "tcp":
            return ready.tcp(host, port, interval=OFTEN, **options)
        url_host = f"[{host}]" if ":" in host else host
        return ready.http(f"http://{url_host}:{port}/", status, interval=OFTEN, **options)

    try:
        listener = await anyio.create_tcp_listener(local_host=host)
    except OSError:
        pytest.skip("this machine has no IPv6")
    async with listener, anyio.create_task_group() as tasks:
        port = int(listener.extra(anyio.abc.SocketAttribute.local_port))
        tasks.start_soon(listener.serve, answer)
        lax = pickle.loads(pickle.dumps(probe(port, 404, own=False, timeout=LIMIT)))
        command = Command(["sleep", "9999"], ready=lax, alive=lax)
        with fail_after(LIMIT):
            async with Runner({"c": command}) as runner:
                await runner["c"].ready()
                runner.kill()
        if sys.platform == "linux":
            strict = probe(port, 200, timeout=LIMIT)  # The unexpected 404 does not hide the reason.
            error = await unresponsive(replace(command, ready=None, alive=strict))
            assert f"port {port} belongs to another process" in error.reason
            assert "own=False" in error.reason
        tasks.cancel_scope.cancel()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8")
async def test_server_at_another_address_does_not_count() -> None:
    """The command listens on the same port, but the probe reaches another process."""

    async def answer(stream: anyio.abc.SocketStream) -> None:
        await stream.aclose()

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as tasks,
    ):
        port = int(listener.extra(anyio.abc.SocketAttribute.local_port))
        tasks.start_soon(listener.serve, answer)
        program = SERVER.replace('"127.0.0.1"', '"127.0.0.2"')
        command = Command(
            [sys.executable, "-c", program, str(port)],
            stdin=b"go\n",
            ready=ready.tcp("127.0.0.2", port),
            alive=ready.tcp("127.0.0.1", port, interval=OFTEN, timeout=LIMIT),
        )
        error = await unresponsive(command)
        assert f"port {port} belongs to another process" in error.reason
        tasks.cancel_scope.cancel()


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux shows descendants outside the group"
)
async def test_server_that_has_left_the_group_counts(port: int) -> None:
    """A descendant that called `setsid` belongs to the command."""
    text = f"echo go | setsid {sys.executable} -c '{SERVER}' {port} & exec sleep 9999"
    with fail_after(LIMIT):
        async with Runner() as runner:
            await runner.start(shell(text, ready.tcp("127.0.0.1", port, interval=OFTEN)))
            runner.kill()


async def test_http_probe_waits_for_the_status(port: int) -> None:
    """The probe repeats its request, with path and query, until the status matches."""
    url = f"http://127.0.0.1:{port}/health?full=1"
    probe = ready.http(url, interval=OFTEN)
    server = Command([sys.executable, "-c", SERVER, str(port)], stdin=b"go\n", ready=probe)
    with fail_after(LIMIT):
        async with Runner() as runner:
            await runner.start(server)
            runner.kill()


@pytest.mark.parametrize("protocol", ["tcp", "http"])
async def test_refused_connection_shows_the_address(protocol: str, port: int) -> None:
    """The reason contains the address of the probe, not only the error of the event loop."""
    probe = (
        ready.tcp("127.0.0.1", port, interval=OFTEN, timeout=LIMIT)
        if protocol == "tcp"
        else ready.http(f"http://127.0.0.1:{port}", interval=OFTEN, timeout=LIMIT)
    )
    error = await unresponsive(Command(["sleep", "9999"], alive=probe))
    refused = os.strerror(errno.ECONNREFUSED)
    assert f"cannot connect to 127.0.0.1, port {port}: {refused}" in error.reason


class AnyTarget:
    """A command whose ports are unknown."""

    async def exchange(self, request: Request) -> Answer:
        """Ask the server; its owner is unknown."""
        return await exchange(request)


async def request_to(url: str, answer: bytes) -> tuple[bytes, Exception | None]:
    """Have `url` looked at, with PORT that of a server; return what that got, and the problem."""
    requests: list[bytes] = []
    problem: Exception | None = None
    target: Any = AnyTarget()

    async def serve(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            requests.append(await stream.receive())
            if answer:
                await stream.send(answer)

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as tasks,
    ):
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        tasks.start_soon(listener.serve, serve)
        probe = ready.http(url.replace("PORT", str(port)), timeout=LIMIT)
        problem = await probe.check_once(target)
        tasks.cancel_scope.cancel()
    return requests[0], problem


async def test_user_name_and_password_are_sent() -> None:
    """The request carries the user name and the password of the URL."""
    url = "http://Aladdin:open%20sesame@127.0.0.1:PORT/"
    request, problem = await request_to(url, b"HTTP/1.1 200 OK\r\n\r\n")
    assert problem is None
    assert b"\r\nHost: 127.0.0.1:" in request
    # The example of RFC 7617.
    assert b"\r\nAuthorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n" in request


def test_repr_hides_the_password() -> None:
    """A repr ends up in logs, where secrets must not appear."""
    shown = repr(ready.http("http://Aladdin:open%20sesame@127.0.0.1/"))
    assert "sesame" not in shown
    assert "QWxh" not in shown


@pytest.mark.parametrize(
    ("response", "text"),
    [
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "status 404"),
        (b"SSH-2.0-x\r\n", "a response that is not HTTP"),
        (b"x" * 5000, "a response that is not HTTP"),
        (b"", "closed the connection without a response"),
    ],
)
async def test_unexpected_response_fails_the_probe(response: bytes, text: str) -> None:
    """The reason describes the response of the server."""
    _, problem = await request_to("http://127.0.0.1:PORT/", response)
    assert text in repr(problem)


# ---- other probes ----


async def test_probe_command_runs_like_the_command(tmp_path: Path, gate: Gate) -> None:
    """It runs in the same working directory, with the same variables."""
    probe = ready.command(["sh", "-c", 'echo noise; test -e "$FILE"'], interval=OFTEN)
    text = f'{gate.wait}; touch "$FILE"; exec sleep 9999'
    command = shell(text, probe, cwd=tmp_path, env={"FILE": "it"})
    with fail_after(LIMIT):
        async with Runner([command]) as runner:
            await runner["c"].until_started()
            assert not (tmp_path / "it").exists()
            gate.open()
            await runner["c"].ready()
            assert (tmp_path / "it").exists()
            runner.kill()
        assert list(runner.results) == ["c"]


@pytest.mark.parametrize("probe", ["exit 3", "exec sleep 9999", "kill -9 $$"])
async def test_probe_command_that_does_not_succeed_fails_the_probe(probe: str) -> None:
    """A probe command that never exits is a failure too; no process is left behind."""
    asked = ready.command(["sh", "-c", probe], interval=OFTEN, timeout=0.2)
    error = await start(shell("exec sleep 9999", asked))
    assert "was not met within" in error.reason


async def test_no_probe_runs_after_a_kill(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the command takes to end, no process is started for a probe."""
    launched: list[None] = []
    asked = anyio.Event()
    launch = LocalLauncher.launch

    async def count(launcher: LocalLauncher, command: Command) -> LocalProcess:
        launched.append(None)
        if command.name == "c:probe":
            asked.set()
        return await launch(launcher, command)

    monkeypatch.setattr(LocalLauncher, "launch", count)
    deaf = "trap '' TERM; echo deaf; while :; do sleep 0.01; done"
    alive = ready.command("true", interval=OFTEN)
    with fail_after(LIMIT):
        async with Runner([shell(deaf, ready.line("deaf"), alive=alive)], grace=0.2) as runner:
            await asked.wait()
            runner.kill()
            at_kill = len(launched)
    assert len(launched) <= at_kill + 1  # a launch may have been under way


async def test_missing_program_of_a_probe_is_shown() -> None:
    """The reason names the program."""
    probe = ready.command("no-such-program", interval=OFTEN, timeout=LIMIT)
    error = await unresponsive(Command(["sleep", "9999"], alive=probe))
    assert "there is no program 'no-such-program'" in error.reason


async def test_function_makes_a_command_ready() -> None:
    """An exception counts as a failure; after a success, the function is not called again."""
    answers: list[object] = [ConnectionError("refused"), 0, None, "yes"]
    asked: list[object] = []

    async def check() -> object:
        await anyio.lowlevel.checkpoint()
        answer = answers[len(asked)]
        asked.append(answer)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with fail_after(LIMIT):
        async with Runner() as runner:
            await runner.start(shell("exec sleep 9999", ready.when(check, interval=OFTEN)))
            await anyio.wait_all_tasks_blocked()
            runner.kill()
    assert asked == answers


async def test_function_may_be_synchronous() -> None:
    """The result of a synchronous function counts in the same way."""
    answers = iter([False, True])
    probe = ready.when(lambda: next(answers), interval=OFTEN)
    with fail_after(LIMIT):
        async with Runner([Command(["sleep", "9999"], ready=probe)]) as runner:
            await runner["sleep"].ready()
            runner.kill()
    assert list(answers) == []


async def test_last_exception_of_a_function_is_shown() -> None:
    """The timeout does not hide a mistake in the function."""

    async def check() -> object:  # never waits, so it cannot exceed the timeout
        raise LookupError("no such user")

    error = await start(shell("exec sleep 9999", ready.when(check, interval=OFTEN, timeout=SOON)))
    assert "no such user" in error.reason
    assert isinstance(error.__cause__, LookupError)


async def test_check_that_hangs_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next check may succeed."""
    monkeypatch.setattr("currant.ready._waiting.READY_CHECK_TIMEOUT", OFTEN)
    asked: list[None] = []

    async def check() -> bool:
        asked.append(None)
        if len(asked) == 1:
            await anyio.sleep_forever()
        return True

    with fail_after(LIMIT):
        async with Runner() as runner:
            await runner.start(shell("exec sleep 9999", ready.when(check, interval=OFTEN)))
            runner.kill()
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("probe", "met"),
    [
        (ready.all_of(ready.delay(OFTEN), ready.delay(2 * OFTEN)), True),
        (ready.all_of(ready.delay(OFTEN), ready.delay(HOURS, timeout=SOON)), False),
        (ready.any_of(ready.delay(HOURS), ready.delay(OFTEN)), True),
        (ready.any_of(ready.delay(HOURS, timeout=OFTEN), ready.delay(HOURS, timeout=SOON)), False),
        (ready.any_of(ready.delay(HOURS, timeout=OFTEN), ready.delay(SOON)), True),
        (ready.all_of(ready.delay(HOURS), timeout=SOON), False),
        (ready.any_of(ready.all_of(ready.delay(OFTEN)), ready.delay(HOURS)), True),
    ],
)
async def test_all_of_and_any_of(probe: Probe, *, met: bool) -> None:
    """Each part has its own timeout; a decisive outcome ends the other parts."""
    command = shell("exec sleep 9999", probe)
    if met:
        with fail_after(LIMIT):
            async with Runner() as runner:
                await runner.start(command)
                runner.kill()
    else:
        await start(command)


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda: ready.line("("), "is not a regular expression"),
        (lambda: ready.line("a{9999999999}"), "is not a regular expression"),
        (lambda: ready.line("(" * 9999 + ")" * 9999), "is not a regular expression"),
        (lambda: ready.line(NUMBER), "is not a regular expression"),
        (lambda: ready.line("a", TEXT), "line: stream"),
        (lambda: ready.line("a", raw=NUMBER), "line: raw"),
        (lambda: ready.tcp("", 1), "tcp: host"),
        (lambda: ready.tcp("a", 0), "tcp: port"),
        (lambda: ready.tcp("a", TEXT), "tcp: port"),
        (lambda: ready.tcp("a", 80, interval=0), "interval"),
        (lambda: ready.tcp("a", 80, timeout=-1), "timeout"),
        (lambda: ready.tcp("a", 80, own=TEXT), "tcp: own"),
        (lambda: ready.http("http://a", own=NOTHING), "http: own"),
        (lambda: ready.tcp("localhost:8000", 1), "tcp: host must be a name or an address alone"),
        (lambda: ready.http("a"), "http: url must start"),
        (lambda: ready.http("http://"), "http: url must start"),
        (lambda: ready.http("http://a b/"), "http: url must start"),
        (lambda: ready.http("http://a:99999/"), "is not a URL"),
        (lambda: ready.http(NUMBER), "http: url must start"),
        (lambda: ready.http("http://a", 99), "http: status"),
        (lambda: ready.http("http://a", ()), "http: status"),
        (lambda: ready.http("http://a:0"), "http: port"),
        (lambda: ready.http("http://a", TEXT), "http: status"),
        (lambda: ready.delay(NOTHING), "delay: seconds"),
        (lambda: ready.command([]), "program"),
        (lambda: ready.command(Command(["a"], stdin=PIPE)), "command: only argv, .* not stdin=-1"),
        (lambda: ready.command(Command(["a"], timeout=3)), "command: only argv, .* not timeout=3"),
        (lambda: ready.command(Command(["a"], after="b")), "command: only argv, .* not after"),
        (lambda: ready.when(TEXT), "when: check must be"),
        (lambda: ready.delay(0), "delay: seconds"),
        (lambda: ready.delay(TEXT), "delay: seconds"),
        (ready.all_of, "all_of: arguments must be one or more probes"),
        (lambda: ready.any_of(TEXT), "any_of: arguments must be one or more probes"),
    ],
    ids=count(),
)
def test_invalid_probe_is_refused_when_built(build: Callable[[], object], text: str) -> None:
    """The error is raised in the caller's frame."""
    with pytest.raises(CommandError, match=text):
        build()


@pytest.mark.parametrize("options", [{"stderr": "stdout"}, {"pty": True}])
def test_line_on_a_merged_stream_is_refused(options: dict[str, Any]) -> None:
    """The line could never arrive."""
    probe = ready.any_of(ready.line("up", "stderr"), ready.delay(1))
    with pytest.raises(CommandError, match="command 'a': ready cannot wait for a line on stderr"):
        Command(["a"], ready=probe, **options)


# ---- exit before or right after ready ----


@pytest.mark.parametrize(
    "probe",
    [
        ready.line("up"),
        ready.any_of(ready.line("up"), ready.line("never")),
        ready.all_of(ready.line("up"), ready.line("^u"), ready.delay(0.001)),
    ],
    ids=["line", "any", "all"],
)
@pytest.mark.parametrize("code", [0, 1])
async def test_line_counts_even_if_the_process_exits_at_once(probe: Probe, code: int) -> None:
    """The line was written, so the command was ready, in each attempt and for dependents."""
    policy = RestartPolicy("on-failure", delay=0, max_restarts=2)
    commands = {
        "a": Command(["a"], ready=probe, restart=policy),
        "b": Command(["b"], after={"a": "ready"}),
    }
    launcher = FakeLauncher({"a": Script(stdout=b"up\n", exit=code)})
    with fail_after(LIMIT):
        async with Runner(commands, launcher=launcher) as runner:
            messages = await messages_of(runner)
    kinds = [type(message) for message in messages if message.command == "a"]
    assert kinds.count(Ready) == kinds.count(Started) == (1 if code == 0 else 3)
    assert kinds[-1] is Exited
    assert runner.results["a"].status == ("succeeded" if code == 0 else "failed")
    assert runner.results["b"].status == "succeeded"


MUCH = b"more than a channel holds\n" * 100_000


async def unread(runner: Runner) -> Callable[[], Awaitable[list[Message]]]:
    """End the process of "c" while its output is unread; return a function that reads the rest."""
    reader = aiter(runner)
    while not isinstance(await anext(reader), Line):
        pass
    await anyio.wait_all_tasks_blocked()
    assert runner["c"].pid is None
    assert runner["c"].result is None

    async def read() -> list[Message]:
        return [message async for message in reader]

    return read


@pytest.mark.parametrize(("last", "status"), [(b"up\n", "succeeded"), (b"", "stopped")])
async def test_kill_before_the_verdict_is_not_a_failure(last: bytes, status: str) -> None:
    """The process had exited successfully by itself, and its output is still read."""
    launcher = FakeLauncher(default=Script(stdout=MUCH + last))
    command = Command(["c"], ready=ready.line("up"))
    with fail_after(LIMIT):
        async with Runner([command], launcher=launcher, buffer_size=1) as runner:
            read = await unread(runner)
            runner.kill()
            await read()
    result = runner.results["c"]
    assert (result.status, result.error, result.exit) == (status, None, Exit(0, None))


async def test_command_stopped_while_starting_is_not_probed() -> None:
    """A launch that cannot be interrupted returns a process, which must be ended."""
    asked: list[None] = []

    class Slow(FakeLauncher):
        async def launch(self, command: Command) -> FakeProcess:
            with anyio.CancelScope(shield=True):  # bounded: the test sets the event
                await go_on.wait()
                await super().launch(command)
            return self.launched[-1]

    def ask() -> bool:
        asked.append(None)
        return True

    go_on = anyio.Event()
    probe = ready.when(ask)
    with fail_after(LIMIT):
        async with Runner(
            [Command(["c"], ready=probe)], launcher=Slow(default=Script(exit=None))
        ) as runner:
            await anyio.wait_all_tasks_blocked()
            runner.kill()
            runner["c"].kill()
            go_on.set()
            messages = await messages_of(runner)
    assert [type(message) for message in messages] == [Started, Exited]
    assert not asked


@pytest.mark.parametrize(
    "probe",
    [
        ready.line("up"),
        ready.tcp("127.0.0.1", 1),
        ready.all_of(ready.line("never"), ready.delay(HOURS)),
        ready.all_of(ready.line("soon"), ready.delay(HOURS)),
    ],
    ids=["line", "tcp", "none of it", "a part of it"],
)
async def test_exit_before_ready_is_a_failure(probe: Probe) -> None:
    """Exit code 0 is a failure too, for example of a server whose first process exits."""
    policy = RestartPolicy("on-failure", delay=0, max_restarts=1)
    commands = {
        "a": Command(["a"], ready=probe, restart=policy, kill_others_on="success"),
        "b": Command(["b"], after="a"),
        "c": Command(["c"]),
    }
    launcher = FakeLauncher({"a": Script(stdout=b"soon\n"), "c": Script(exit=None)})
    with fail_after(LIMIT):
        async with Runner(commands, launcher=launcher) as runner:
            with pytest.raises(NotReadyError, match=r"it has ended: exit code 0\n.*soon"):
                await runner["a"].ready()
            result = await runner["a"].wait()
            await runner["b"].wait()
            assert not runner.barrier.thrown
            runner.kill()
    assert (result.status, result.attempts) == ("failed", 2)
    assert isinstance(result.error, NotReadyError)
    assert runner.results["b"].status == "skipped"
    assert str(runner.results["b"].error).endswith(
        "did not become ready: it has ended: exit code 0"
    )


# ---- alive ----


async def test_failures_in_a_row_fail_the_attempt() -> None:
    """A success in between resets the count; the restart policy applies afterwards."""
    answers = iter([True, False, True, False, False, *[True] * 1000])
    asked: list[bool] = []

    async def check() -> bool:
        await anyio.lowlevel.checkpoint()
        asked.append(next(answers))
        return asked[-1]

    alive = ready.when(check, interval=OFTEN)
    policy = RestartPolicy("on-failure", max_restarts=1, delay=0)
    command = Command(["sleep", "9999"], alive=alive, failure_threshold=2, restart=policy)
    with fail_after(LIMIT):
        async with Runner([command]) as runner:
            async for message in runner:
                if isinstance(message, Started) and message.attempt == 2:
                    break
                if isinstance(message, Aborted):
                    assert isinstance(message.error, UnresponsiveError)
                    assert message.error.failures == 2
                    assert asked == [True, False, True, False, False]
            runner.kill()
    assert runner.results["sleep"].status == "stopped"
    assert runner.results["sleep"].error is None


async def test_alive_is_checked_once_the_command_is_ready(gate: Gate) -> None:
    """A command that takes long to start is not checked before."""

    async def no() -> bool:
        await anyio.lowlevel.checkpoint()
        return False

    alive = ready.when(no, interval=OFTEN)
    text = f"{gate.wait}; echo up; exec sleep 9999"
    with fail_after(LIMIT):
        async with Runner(
            [shell(text, ready.line("up"), alive=alive, failure_threshold=1)]
        ) as runner:
            await runner["c"].until_started()
            gate.open()
            await runner["c"].ready()
            result = await runner["c"].wait()
    assert result.status == "failed"
    assert isinstance(result.error, UnresponsiveError)


@pytest.mark.parametrize("anyio_backend", [("asyncio", {"use_uvloop": False})])
async def test_cancelled_check_is_a_failure(anyio_backend: object) -> None:
    """A function that awaits a cancelled task fails, but does not end the command."""
    asked: list[None] = []

    async def check() -> None:
        asked.append(None)
        task = asyncio.ensure_future(asyncio.sleep(HOURS))
        asyncio.get_running_loop().call_soon(task.cancel)
        await task

    alive = ready.when(check, interval=OFTEN)
    with fail_after(LIMIT):
        async with Runner([Command(["sleep", "9999"], alive=alive)]) as runner:
            result = await runner["sleep"].wait()
    assert len(asked) == 3
    assert result.status == "failed"
    assert "3 times in a row: the check was cancelled" in str(result.error)


class OwnedServer:
    """A command at whose port another process listens."""

    def __init__(self, relation: Relation) -> None:
        self.relation: Relation = relation

    async def exchange(self, request: Request) -> Answer:
        """Name the process."""
        return Answer(b"", Owner(self.relation, 4711, "server"))

    def note(self, probe: Probe, failure: Exception | None) -> None:
        """Leave the failure to the result of the probe."""


class TestWithMockClock:
    """Checks of longer times, on a clock that jumps to the next event."""

    @pytest.fixture
    def anyio_backend(self) -> tuple[str, dict[str, object]]:
        """Trio with a `MockClock`."""
        trio_testing = pytest.importorskip("trio.testing")
        return "trio", {"clock": trio_testing.MockClock(autojump_threshold=0)}

    @pytest.mark.parametrize("several", [ready.all_of, ready.any_of])
    async def test_each_part_of_a_probe_has_its_own_timeout(
        self, several: Callable[..., Probe]
    ) -> None:
        """A check of several parts may take as long as one of its parts."""

        async def answer_late() -> bool:
            await anyio.sleep(4)
            return True

        alive = several(ready.when(answer_late, timeout=5))
        launcher = FakeLauncher(default=Script(exit=0, after=100))
        async with Runner([Command(["c"], alive=alive)], launcher=launcher) as runner:
            pass
        assert runner.results["c"].status == "succeeded"

    async def test_command_that_has_ended_is_not_checked(self) -> None:
        """However long its output waits for a reader, no check runs after the exit."""
        asked: list[None] = []

        def ask() -> bool:
            asked.append(None)
            return True

        launcher = FakeLauncher(default=Script(stdout=b"up\n" + MUCH, exit=None))
        command = Command(["c"], ready=ready.line("up"), alive=ready.when(ask))
        async with Runner([command], launcher=launcher, buffer_size=1) as runner:
            await runner["c"].ready()
            launcher["c"].exit(0)
            read = await unread(runner)
            before = len(asked)
            await anyio.sleep(60)
            assert len(asked) == before
            await read()

    async def test_reason_shows_the_last_two_checks(self) -> None:
        """Here a check fails first, and the next check gets no answer."""
        answers = iter([False])

        async def check() -> bool:
            for answer in answers:
                return answer
            await anyio.sleep_forever()
            return True

        command = Command(["c"], ready=ready.when(check, timeout=3))
        async with Runner([command], launcher=FakeLauncher(default=Script(exit=None))) as runner:
            pass
        assert "no answer to the last check; the check before: " in str(runner.results["c"].error)
        assert "returned False" in str(runner.results["c"].error)

    @pytest.mark.parametrize("interval", [0.02, 5, HOURS])
    async def test_process_that_keeps_the_port_is_named_after_a_second(
        self, interval: float
    ) -> None:
        """The interval of the probe is for a command that may still become ready."""
        subject: Any = OwnedServer("foreign")
        began = anyio.current_time()
        problem = await ready.tcp("127.0.0.1", 80, interval=interval).wait_until_met(subject)
        assert "port 80 belongs to another process, pid 4711 (server)" in str(problem)
        assert anyio.current_time() - began == pytest.approx(1, abs=0.11)

    @pytest.mark.parametrize("relation", ["related", "sharing"])
    async def test_timeout_names_the_process_that_has_the_port(self, relation: Relation) -> None:
        """The probe waits, because that process may give up the port or share it."""
        subject: Any = OwnedServer(relation)
        began = anyio.current_time()
        problem = await ready.tcp("127.0.0.1", 80).wait_until_met(subject)
        assert "port 80 belongs to another process, pid 4711 (server)" in str(problem)
        assert anyio.current_time() - began == pytest.approx(60)

    async def test_timeout_of_the_whole_limits_all_parts(self) -> None:
        """The timeout of `all_of` applies in addition to those of the parts."""
        alive = ready.all_of(ready.when(anyio.sleep_forever, timeout=HOURS), timeout=2)
        launcher = FakeLauncher(default=Script(exit=None))
        async with Runner([Command(["c"], alive=alive)], launcher=launcher) as runner:
            pass
        assert "no answer within 2 s" in str(runner.results["c"].error)

    async def test_reason_is_that_of_a_part_that_is_not_met(self) -> None:
        """What a part has found that is met meanwhile is no reason."""
        answers = iter([False, True])
        met = ready.when(lambda: next(answers))
        command = Command(["c"], ready=ready.all_of(met, ready.line("never"), timeout=2))
        launcher = FakeLauncher(default=Script(exit=None))
        async with Runner([command], launcher=launcher) as runner:
            await anyio.sleep(1)
            assert why_unready(runner["c"]) == "no line matches 'never'"
            with pytest.raises(NotReadyError, match=r"within 2\.00 s \(no line matches 'never'\)"):
                await runner["c"].ready()
        assert list(answers) == []


async def test_check_that_hangs_is_a_failure() -> None:
    """A server that accepts a request but does not respond is not alive."""

    async def hang() -> None:
        await anyio.sleep_forever()

    alive = ready.when(hang, interval=OFTEN, timeout=OFTEN)
    with fail_after(LIMIT):
        async with Runner([Command(["sleep", "9999"], alive=alive)]) as runner:
            result = await runner["sleep"].wait()
    assert isinstance(result.error, UnresponsiveError)
    assert "no answer within 0.01 s" in str(result.error)


async def test_start_raises_a_dependency_error() -> None:
    """It does so if a condition of the command can no longer come true."""
    with fail_after(LIMIT):
        async with Runner({"db": "false"}) as runner:
            with pytest.raises(DependencyError, match="'db' did not succeed"):
                await runner.start(Command(["true"], after={"db": "succeeded"}))
