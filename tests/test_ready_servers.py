"""Probes of servers: Unix sockets, requests of HTTP, TLS, and ports that another process keeps."""

from __future__ import annotations

import os
import pickle
import shutil
import socket
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
    Command,
    CommandError,
    LocalLauncher,
    NotReadyError,
    Runner,
    UnresponsiveError,
    ready,
)
from currant._process.exchange import exchange
from currant._process.local_process import LocalProcess
from tests.agents import over_pipe
from tests.https import HTTPS_SERVER, make_certificates
from tests.ports import free_port
from tests.probing import OFTEN, WHERES
from tests.pythons import OLDEST_AND_OWN, path_of
from tests.system import needs_proc
from tests.waiting import HOURS, LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from anyio.abc import SocketStream

    from currant import Launcher
    from currant._values.exchange import Answer, Relation, Request
    from currant.ready import Probe

pytestmark = [pytest.mark.anyio, pytest.mark.backends("asyncio", "trio")]

NUMBER: Any = 3
TEXT: Any = "a"
"""Arguments of a wrong type."""


@pytest.fixture
def port() -> Iterator[int]:
    """The number of a TCP port without a listener."""
    with free_port() as port:
        yield port


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[Answer]:
    """Record the answers to the probes of local processes."""
    record: list[Answer] = []
    exchange = LocalProcess.exchange

    async def note(process: LocalProcess, request: Request) -> Answer:
        record.append(await exchange(process, request))
        return record[-1]

    monkeypatch.setattr(LocalProcess, "exchange", note)
    return record


async def reason_of(command: Command, launcher: Launcher | None = None) -> str:
    """Start the command, which must not become ready, and return the reason."""
    with fail_after(LIMIT):
        async with Runner(launcher=launcher) as runner:
            with pytest.raises(NotReadyError) as caught:
                await runner.start(command)
            runner.kill()
    return caught.value.reason


async def failure_of(command: Command, launcher: Launcher | None = None) -> str:
    """Start the command, whose probe `alive` must fail, and return the reason."""
    with fail_after(LIMIT):
        async with Runner(launcher=launcher) as runner:
            job = await runner.start(replace(command, name="c", failure_threshold=1))
            error = (await job.wait()).error
            runner.kill()
    assert isinstance(error, UnresponsiveError)
    return error.reason


def idle(probe: Probe | None, **options: Any) -> Command:
    """Return a command that does nothing."""
    return Command(["sleep", "9999"], name="c", ready=probe, **options)


# ---- Unix sockets ----

UNIX_SERVER = """
import os, socketserver, sys
sys.stdin.readline()
with socketserver.UnixStreamServer(sys.argv[1], socketserver.BaseRequestHandler) as server:
    server.serve_forever()
"""
"""Listens after a line on stdin."""


def unix_server(path: Path | str, **options: Any) -> Command:
    """Return a command that listens on a Unix socket after a line on stdin."""
    given: dict[str, Any] = {"stdin": b"go\n", **options}
    return Command([sys.executable, "-c", UNIX_SERVER, path], **given)


@pytest.mark.parametrize("launcher", WHERES)
async def test_unix_socket_is_ready_when_the_command_listens(
    tmp_path: Path, launcher: Callable[[], Launcher]
) -> None:
    """The path begins at the working directory of the command."""
    probe = pickle.loads(pickle.dumps(ready.unix("socket", interval=OFTEN)))
    command = unix_server("socket", cwd=tmp_path, stdin=PIPE, ready=probe, name="c")
    with fail_after(LIMIT):
        async with Runner([command], launcher=launcher()) as runner:
            await runner["c"].until_started()
            assert not runner["c"].is_ready
            await runner["c"].send(b"go\n")
            await runner["c"].ready()
            runner.kill()


@needs_proc
@pytest.mark.parametrize("launcher", WHERES)
async def test_unix_socket_in_a_deep_folder_counts(
    tmp_path: Path, launcher: Callable[[], Launcher]
) -> None:
    """The system takes no path of such a length, but the server has a relative one."""
    folder = tmp_path / ("deep" * 30)
    folder.mkdir()
    with fail_after(LIMIT):
        async with Runner(launcher=launcher()) as runner:
            probe = ready.unix("socket", interval=OFTEN)
            await runner.start(unix_server("socket", cwd=folder, ready=probe))
            runner.kill()


async def test_file_of_an_earlier_server_is_not_ready(tmp_path: Path) -> None:
    """The socket accepts no connection; the reason names its path."""
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
    alive = ready.unix(path, interval=OFTEN, timeout=LIMIT)
    reason = await failure_of(idle(None, alive=alive))
    assert f"cannot connect to {path}: Connection refused" in reason


@needs_proc
async def test_unix_socket_of_another_command_does_not_count(tmp_path: Path) -> None:
    """With ``own=False`` it does."""
    path = tmp_path / "socket"
    up = ready.unix(path, interval=OFTEN, timeout=LIMIT)
    with fail_after(LIMIT):
        async with Runner() as runner:
            server = await runner.start(unix_server(path, name="server", ready=up))
            reason = await failure_of(idle(None, alive=up))
            text = f"the socket {path} belongs to another process, pid {server.pid} (python"
            assert text in reason
            await runner.start(idle(ready.unix(path, own=False)))
            runner.kill()


async def test_unix_socket_that_this_program_hands_over_counts(tmp_path: Path) -> None:
    """This program has made it listen, on behalf of the command."""
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as server, fail_after(LIMIT):
        server.bind(path)
        server.listen()
        async with Runner() as runner:
            await runner.start(idle(ready.unix(path), listen=[server]))
            runner.kill()


@pytest.mark.skipif(not shutil.which("redis-server"), reason="redis is not installed")
async def test_redis_is_ready_on_its_unix_socket(tmp_path: Path) -> None:
    """A server of daily use counts."""
    words = ["redis-server", "--port", "0", "--unixsocket", "redis.sock", "--save", ""]
    with fail_after(LIMIT):
        async with Runner() as runner:
            await runner.start(Command(words, cwd=tmp_path, ready=ready.unix("redis.sock")))
            runner.kill()


# ---- requests and responses ----


class AnyTarget:
    """A command whose servers have unknown owners."""

    async def exchange(self, request: Request) -> Answer:
        """Ask the server."""
        return await exchange(request)


async def asked(response: bytes, **options: Any) -> tuple[bytes, Exception | None]:
    """Have a server send `response`; return the request that it got, and the problem."""
    requests: list[bytes] = []
    target: Any = AnyTarget()

    async def serve(stream: SocketStream) -> None:
        async with stream:
            requests.append(await stream.receive())
            await stream.send(response)

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as tasks,
    ):
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        tasks.start_soon(listener.serve, serve)
        probe = ready.http(f"http://u:p@127.0.0.1:{port}/x?y", timeout=LIMIT, **options)
        problem = await probe.check_once(target)
        tasks.cancel_scope.cancel()
    return requests[0], problem


OK = b"HTTP/1.1 200 OK\r\n\r\n"


async def test_method_headers_and_body_are_sent() -> None:
    """A given header replaces a standard one, in any case; a str is UTF-8."""
    headers = {"authorization": "Bearer x", "Accept": "text/plain", "X-A": "\xe9"}
    request, problem = await asked(OK, method="post", headers=headers, body="é")
    assert problem is None
    head, _, body = request.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /x?y HTTP/1.1"
    assert lines[1].startswith(b"Host: 127.0.0.1:")
    assert sorted(lines[2:]) == [
        b"Accept: text/plain",
        b"Connection: close",
        b"Content-Length: 2",
        b"User-Agent: currant",
        b"X-A: \xe9",
        b"authorization: Bearer x",
    ]
    assert body == "é".encode()


@pytest.mark.parametrize(
    ("options", "length"),
    [({}, None), ({"method": "PUT"}, b"0"), ({"body": b""}, b"0"), ({"body": b"\0\xff"}, b"2")],
    ids=count(),
)
async def test_request_says_how_long_its_body_is(
    options: dict[str, Any], length: bytes | None
) -> None:
    """Servers refuse a POST without a length, and a GET has none."""
    request, _ = await asked(OK, **options)
    assert (b"Content-Length" in request) is (length is not None)
    if length is not None:
        assert b"Content-Length: " + length + b"\r\n" in request


@pytest.mark.parametrize(
    ("status", "code", "met"),
    [
        (range(200, 400), 302, True),
        (range(200, 400), 404, False),
        ({200, 404}, 404, True),
        (None, 503, True),
        (503, 503, True),
    ],
    ids=count(),
)
async def test_status_may_be_one_of_several(status: Any, code: int, met: bool) -> None:
    """None accepts all of them."""
    _, problem = await asked(b"HTTP/1.1 %d X\r\n\r\n" % code, status=status)
    assert (problem is None) is met


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("pattern", "response", "met"),
    [
        ("^gr[e]+n$", OK + b"green", True),
        ("é\ufffd", OK + b"\xc3\xa9\xff", True),
        (rb"\xff$", OK + b"\xc3\xa9\xff", True),
        ("green", CHUNKED + b"2;a=b\r\ngr\r\n3\r\neen\r\n0\r\n\r\n", True),
        ("green", OK + b"2\r\ngr\r\n3\r\neen\r\n0\r\n\r\n", False),
        ("OK", OK + b"green", False),
        ("green", OK + b" " * 2_000_000 + b"green", False),
        ("green", b"HTTP/1.1 500 X\r\n\r\ngreen", False),
    ],
    ids=["text", "invalid", "bytes", "chunks", "no chunks", "head", "too far", "status"],
)
async def test_pattern_is_searched_for_in_the_body(
    pattern: str | bytes, response: bytes, met: bool
) -> None:
    """The status must be right, too, and the head is no part of the body."""
    _, problem = await asked(response, pattern=pattern)
    assert (problem is None) is met
    if not met and b"500" not in response:
        assert f"responded with a body that {pattern!r} does not match" in str(problem)


HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n"
SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"


@pytest.mark.parametrize(
    ("response", "options"),
    [
        (SIZED + b"green", {"pattern": "green"}),
        (CHUNKED + b"5\r\ngreen\r\n0\r\n\r\n", {"pattern": "green"}),
        (SIZED, {"method": "HEAD", "pattern": "^$"}),
        (b"HTTP/1.1 204 No Content\r\n\r\n", {"status": 204, "pattern": "^$"}),
        (HINTS + SIZED + b"green", {"pattern": "green"}),
        (HINTS + SIZED, {}),
    ],
    ids=["length", "chunks", "HEAD", "204", "interim", "interim, status alone"],
)
@pytest.mark.parametrize("new_launcher", WHERES)
async def test_server_may_keep_the_connection(
    new_launcher: Any, port: int, response: bytes, options: dict[str, Any]
) -> None:
    """The probe knows from the response where it ends, and does not wait for the server."""
    held = (
        "import socket, sys\n"
        "server = socket.create_server(('127.0.0.1', int(sys.argv[1])))\n"
        "connections = []\n"
        "while True:\n"
        "    connections.append(server.accept()[0])\n"
        f"    connections[-1].sendall({response!r})"
    )
    probe = ready.http(f"http://127.0.0.1:{port}", interval=OFTEN, timeout=HOURS, **options)
    command = Command([sys.executable, "-c", held, str(port)], ready=probe)
    async with Runner(launcher=new_launcher()) as runner:
        with fail_after(LIMIT):
            await runner.start(command)
        runner.kill()


def test_repr_shows_no_header_and_no_body() -> None:
    """Both may be secrets."""
    probe = ready.http("http://u:pass@h/", headers={"A": "secret"}, body="secret")
    assert "secret" not in repr(probe)
    assert "pass" not in repr(probe)
    assert pickle.loads(pickle.dumps(probe)) == probe


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda: ready.unix(""), "unix: path must not be empty"),
        (lambda: ready.unix(NUMBER), "unix: path must be"),
        (lambda: ready.unix("a", own=TEXT), "unix: own"),
        (lambda: ready.http("ftp://a"), "http: url must start"),
        (lambda: ready.http("http://a", method="A B"), "http: method"),
        (lambda: ready.http("http://a", method=NUMBER), "http: method"),
        (lambda: ready.http("http://a", headers=TEXT), "http: headers must be a mapping"),
        (lambda: ready.http("http://a", headers={"a b": ""}), "'a b' is not the name"),
        (lambda: ready.http("http://a", headers={"a": "b\r\nc"}), "value of 'a' must be text"),
        (lambda: ready.http("http://a", headers={"a": NUMBER}), "value of 'a' must be text"),
        (lambda: ready.http("http://a", headers={"Content-length": "1"}), "set by the probe"),
        (lambda: ready.http("http://a", body=NUMBER), "http: body"),
        (lambda: ready.http("http://a", pattern="("), "is not a regular expression"),
        (lambda: ready.http("http://a", pattern="a{9999999999}"), "is not a regular expression"),
        (lambda: ready.http("http://a", pattern=NUMBER), "is not a regular expression"),
        (lambda: ready.http("http://a", ca="a"), "for https:// only"),
        (lambda: ready.http("http://a", verify=False), "for https:// only"),
        (lambda: ready.http("https://a", verify=TEXT), "http: verify"),
        (lambda: ready.http("https://a", ca=""), "http: ca must not be empty"),
        (lambda: ready.http("https://a", ca="a", verify=False), "ca has no effect"),
        (lambda: ready.https("http://a"), "https: url must start with https://"),
    ],
    ids=count(),
)
def test_invalid_argument_is_refused_when_built(build: Callable[[], object], text: str) -> None:
    """The error is raised in the caller's frame, and shows no secret."""
    with pytest.raises(CommandError, match=text):
        build()


# ---- TLS ----


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """A folder with the files of `make_certificates`, and one without a certificate."""
    make_certificates(tmp_path)
    (tmp_path / "empty.pem").touch()
    return tmp_path


def https_server(port: int, folder: Path, probe: Probe) -> Command:
    """Return the command of a server with a certificate."""
    return Command([sys.executable, "-c", HTTPS_SERVER, str(port)], cwd=folder, ready=probe)


@pytest.mark.parametrize(
    ("host", "options"),
    [
        ("localhost", {"ca": "ca.pem"}),
        ("localhost", {"ca": "ca.pem", "pattern": "the end$"}),
        ("127.0.0.1", {"verify": False}),
    ],
    ids=["authority", "pattern", "anything"],
)
@pytest.mark.parametrize("python", ["", *OLDEST_AND_OWN])
async def test_https_server_is_ready(
    port: int, certificates: Path, host: str, options: dict[str, Any], python: str
) -> None:
    """The file of the authority is one of the command's, on whatever host that runs."""
    probe = ready.https(f"https://{host}:{port}/", interval=OFTEN, **options)
    launcher = over_pipe(str(path_of(python))) if python else LocalLauncher()
    with fail_after(LIMIT):
        async with Runner(launcher=launcher) as runner:
            await runner.start(https_server(port, certificates, probe))
            runner.kill()


@pytest.mark.parametrize("launcher", WHERES)
@pytest.mark.parametrize(
    ("host", "options", "text"),
    [
        ("localhost", {}, "its certificate is not accepted: unable to get local issuer"),
        ("localhost", {"ca": "other.pem"}, "its certificate is not accepted"),
        ("127.0.0.1", {"ca": "ca.pem"}, "IP address mismatch"),
        ("localhost", {"ca": "none.pem"}, "none.pem: No such file"),
        ("localhost", {"ca": "empty.pem"}, "cannot read the certificates in"),
    ],
    ids=["unknown", "of another authority", "for another host", "no file", "no certificate"],
)
async def test_certificate_that_is_not_accepted_is_the_reason(
    port: int,
    certificates: Path,
    host: str,
    options: dict[str, Any],
    text: str,
    launcher: Callable[[], Launcher],
) -> None:
    """The server is up, so waiting longer would not help; the text says what does."""
    up = ready.tcp("127.0.0.1", port, interval=OFTEN)
    alive = ready.http(f"https://{host}:{port}/", interval=OFTEN, timeout=LIMIT, **options)
    command = replace(https_server(port, certificates, up), alive=alive)
    reason = await failure_of(command, launcher())
    assert f"cannot connect to {host}, port {port}: " in reason
    assert text in reason
    if "not accepted" in reason:
        assert "with ca, or pass verify=False" in reason


async def test_server_without_tls_is_not_ready() -> None:
    """A server may have been started without its certificate."""

    async def serve(stream: SocketStream) -> None:
        async with stream:
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                await stream.receive()
                await stream.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as tasks,
    ):
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        tasks.start_soon(listener.serve, serve)
        target: Any = AnyTarget()
        problem = await ready.https(f"https://127.0.0.1:{port}", timeout=LIMIT).check_once(target)
        tasks.cancel_scope.cancel()
    assert "it does not speak TLS" in str(problem)


async def test_cancelled_handshake_leaves_nothing_open() -> None:
    """A server may never answer; the fixture of all tests looks for open files."""
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        target: Any = AnyTarget()
        probe = ready.https(f"https://127.0.0.1:{port}", timeout=HOURS)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(probe.check_once, target)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()


# ---- a port that another process keeps ----

SERVER = """
import socket, sys, time
sys.stdin.readline()
server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
if sys.argv[2:]:
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
server.bind(("127.0.0.1", int(sys.argv[1])))
server.listen()
time.sleep(9999)
"""
"""Listens after a line on stdin; a second argument shares the port."""


def server(port: int, probe: Probe, *words: str, **options: Any) -> Command:
    """Return a command that listens after a line on stdin."""
    return Command([sys.executable, "-c", SERVER, str(port), *words], ready=probe, **options)


async def until(answers: list[Answer], relation: Relation, count: int = 3) -> None:
    """Wait until probes have found servers with a relation to their command, so many times."""
    while [a.owner and a.owner.relation for a in answers].count(relation) < count:  # noqa: ASYNC110
        await anyio.sleep(OFTEN)


@needs_proc
@pytest.mark.parametrize("launcher", WHERES)
@pytest.mark.parametrize("protocol", ["tcp", "http"])
async def test_port_of_another_process_fails_at_once(
    protocol: str, launcher: Callable[[], Launcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the port and the process, although that never answers a request.

    A second is enough, whatever the interval is.
    """
    monkeypatch.setattr("currant.ready._waiting.IN_USE_FOR", 2 * OFTEN)
    with socket.create_server(("127.0.0.1", 0)) as foreign:
        port = foreign.getsockname()[1]
        options: Any = {"interval": HOURS, "timeout": HOURS}
        if protocol == "tcp":
            probe = ready.tcp("127.0.0.1", port, **options)
        else:
            probe = ready.http(f"http://127.0.0.1:{port}", **options)
        never = ready.delay(HOURS)
        reason = await reason_of(idle(ready.all_of(never, probe)), launcher())
    assert f"cannot be met (port {port} belongs to another process, pid {os.getpid()} (" in reason
    assert "end that process" in reason
    assert "own=False" in reason


@needs_proc
@pytest.mark.parametrize("protocol", ["tcp", "http"])
async def test_command_may_have_one_address_of_a_name_alone(
    protocol: str, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process has the other address of ``localhost``, and does not count."""

    async def addresses_of(host: str, port: int) -> list[Any]:
        here = (socket.AF_INET, socket.SOCK_STREAM, 0, "")
        return [(*here, (address, port)) for address in ("127.0.0.2", "127.0.0.1")]

    monkeypatch.setattr("currant._process.exchange._addresses_of", addresses_of)
    monkeypatch.setattr("currant.ready._waiting.IN_USE_FOR", HOURS)  # A start may take a second.
    with socket.create_server(("127.0.0.2", port)), fail_after(LIMIT):
        probe = ready.tcp("localhost", port, interval=OFTEN, timeout=HOURS)
        if protocol == "http":
            probe = ready.http(f"http://localhost:{port}", interval=OFTEN, timeout=HOURS)
        words = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
        async with Runner() as runner:
            await runner.start(Command(words, ready=probe))
            runner.kill()


@needs_proc
async def test_other_part_of_any_of_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port in use is the end of one part only."""
    monkeypatch.setattr("currant.ready._waiting.IN_USE_FOR", 0)
    with socket.create_server(("127.0.0.1", 0)) as foreign, fail_after(LIMIT):
        port = foreign.getsockname()[1]
        probe = ready.any_of(ready.tcp("127.0.0.1", port, timeout=HOURS), ready.delay(0.2))
        async with Runner() as runner:
            await runner.start(idle(probe))
            runner.kill()


@needs_proc
async def test_process_that_uses_the_port_for_a_moment_does_no_harm(
    answers: list[Answer], port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command gets the port then."""
    monkeypatch.setattr("currant.ready._waiting.IN_USE_FOR", HOURS)
    foreign = socket.create_server(("127.0.0.1", port))
    probe = ready.tcp("127.0.0.1", port, interval=OFTEN)
    with foreign, fail_after(LIMIT):
        async with Runner({"c": server(port, probe, stdin=PIPE)}) as runner:
            await until(answers, "foreign", 2)
            foreign.close()
            await runner["c"].send(b"go\n")
            await runner["c"].ready()
            runner.kill()


@needs_proc
async def test_port_of_another_command_may_be_given_up(
    answers: list[Answer], port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands of a Runner may follow each other on a port, however long that takes."""
    monkeypatch.setattr("currant.ready._waiting.IN_USE_FOR", 0)
    probe = ready.tcp("127.0.0.1", port, interval=OFTEN)
    with fail_after(LIMIT):
        async with Runner() as runner:
            old = await runner.start(server(port, probe, stdin=b"go\n", name="old"))
            new = runner.start_soon(server(port, probe, stdin=PIPE, name="new"))
            await until(answers, "related")
            old.kill()
            await old.wait()
            await new.send(b"go\n")
            await new.ready()
            runner.kill()


@needs_proc
async def test_port_that_another_process_shares_counts(
    answers: list[Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command may listen beside a server with SO_REUSEPORT, whenever it likes."""
    monkeypatch.setattr("currant.ready._waiting.IN_USE_FOR", 0)
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as foreign, fail_after(LIMIT):
        port = foreign.getsockname()[1]
        probe = ready.tcp("127.0.0.1", port, interval=OFTEN)
        async with Runner({"c": server(port, probe, "shared", stdin=PIPE)}) as runner:
            await until(answers, "sharing")
            await runner["c"].send(b"go\n")
            await runner["c"].ready()
            runner.kill()
