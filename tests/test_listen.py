"""`listen`: sockets of this program that a command accepts connections from."""

from __future__ import annotations

import copy
import json
import os
import pickle
import socket
import sys
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from currant import (
    Command,
    CommandError,
    LaunchError,
    Limits,
    LocalLauncher,
    RestartPolicy,
    Runner,
    ready,
)
from currant._process.spawn import start_with_pidfd, start_without_pidfd
from currant._system.groups import has_pidfds
from currant.testing import FakeLauncher
from tests.streams import read_all
from tests.waiting import LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from currant._process.spawn import StartProcess

pytestmark = pytest.mark.anyio

STARTS = [start_without_pidfd, *([start_with_pidfd] if has_pidfds() else ())]

SHOW = """
import json, os, socket, sys
ports = [socket.socket(fileno=os.dup(3 + number)).getsockname()[1]
         for number in range(int(os.environ["LISTEN_FDS"]))]
files = [number for number in range(100) if os.path.exists(f"/proc/self/fd/{number}")]
environ = open("/proc/self/environ", "rb").read().decode("utf-8", "surrogateescape").split(chr(0))
own = ("CURRANT_ID=", "LISTEN_PID=")
print(json.dumps({
    "ports": ports,
    "files": files,
    "pid": os.getpid(),
    "listen pid": int(os.environ["LISTEN_PID"]),
    "argv": sys.argv[1:],
    "environ": sorted(each for each in environ if not each.startswith(own)),
}))
"""
"""A program that follows sd_listen_fds(3), and shows what else it was started with."""

SERVER = """
import os, socket
assert os.environ["LISTEN_PID"] == str(os.getpid()) and os.environ["LISTEN_FDS"] == "1"
server = socket.socket(fileno=3)
server.setblocking(True)
while True:
    connection, _ = server.accept()
    with connection:
        data = connection.recv(100)
        if data == b"crash":
            os._exit(3)
        connection.sendall(b"%d: %s" % (os.getpid(), data))
"""
"""A server that answers with its pid and the bytes that it got, or crashes."""

needs_proc = pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="needs /proc")


@contextmanager
def listening(count: int = 1) -> Iterator[list[socket.socket]]:
    """Open sockets that listen on the loopback."""
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        yield servers
    finally:
        for server in servers:
            server.close()


def python(code: str, *words: str, **options: Any) -> Command:
    """Return a command that runs `code`."""
    return Command([sys.executable, "-ISc", code, *words], name="server", **options)


async def ask(server: socket.socket, data: bytes) -> bytes:
    """Send `data` to the server behind a socket, and return the answer."""
    async with await anyio.connect_tcp(*server.getsockname()[:2]) as stream:
        await stream.send(data)
        return b"".join([chunk async for chunk in stream])


# ---- what a program gets ----


@needs_proc
@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("count", [1, 3, 9])
async def test_program_finds_the_sockets_from_descriptor_3_on(
    start: StartProcess, count: int
) -> None:
    """The sockets come in order, with their number and the pid, and without any other file."""
    with listening(count) as servers, anyio.fail_after(LIMIT):
        ports = [server.getsockname()[1] for server in servers]
        async with LocalLauncher(orphan_guard=False, _start=start) as launcher:
            process = await launcher.launch(python(SHOW, listen=reversed(servers)))
            shown = json.loads(await read_all(process.stdout))
    assert shown["ports"] == ports[::-1]
    assert shown["pid"] == shown["listen pid"] == process.pid
    assert shown["files"] == list(range(3 + count))


@needs_proc
@pytest.mark.parametrize("pty", [False, True])
@pytest.mark.parametrize("locale", [{}, {"LC_CTYPE": "C.UTF-8"}, {"LC_ALL": "C"}])
async def test_handing_over_changes_nothing_else(pty: bool, locale: dict[str, str]) -> None:
    """Words, variables and signals are those of a command without sockets."""
    words = ["a b", "", "$HOME", "--", "-c"]
    variables = {"a.b": "1", "PATH": os.environ["PATH"], "BYTES": os.fsdecode(b"\xff")}
    variables |= locale
    plain = python(SHOW, *words, env=variables | {"LISTEN_FDS": "0"}, inherit_env=False, pty=pty)
    shown = []
    with listening() as servers, anyio.fail_after(LIMIT):
        for command in (
            replace(plain, env=variables | {"LISTEN_FDS": "0", "LISTEN_PID": "1"}),
            replace(plain, env=variables, listen=tuple(servers), limits=Limits(core=0), nice=1),
        ):
            async with LocalLauncher(orphan_guard=False) as launcher:
                process = await launcher.launch(command)
                shown.append(json.loads(await read_all(process.stdout)))
    without, with_socket = shown
    assert with_socket["argv"] == without["argv"] == words
    missing = set(without["environ"]) ^ set(with_socket["environ"])
    assert missing == {"LISTEN_FDS=0", "LISTEN_FDS=1"}


@needs_proc
async def test_signals_of_the_program_are_not_those_of_python() -> None:
    """Python ignores SIGPIPE and SIGXFSZ, and a program that it becomes would inherit that."""
    line = "exec grep -E '^Sig(Blk|Ign)' /proc/self/status"
    with listening() as servers, anyio.fail_after(LIMIT):
        commands = {"without": Command.shell(line), "with": Command.shell(line, listen=servers)}
        async with Runner(commands, capture=True) as runner:
            results = await runner.join()
    assert results["with"].stdout == results["without"].stdout != b""


async def test_names_of_sockets_are_those_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """This program may have been started with sockets of its own, which had other names."""
    monkeypatch.setenv("LISTEN_FDNAMES", "inherited")
    line = 'echo "$LISTEN_FDNAMES"'
    with listening() as servers, anyio.fail_after(LIMIT):
        commands = {
            "unnamed": Command.shell(line, listen=servers),
            "named": Command.shell(line, listen=servers, env={"LISTEN_FDNAMES": "http"}),
        }
        async with Runner(commands, capture=True) as runner:
            results = await runner.join()
    assert results["unnamed"].stdout == b"\n"
    assert results["named"].stdout == b"http\n"


async def test_datagram_socket_may_be_handed_over() -> None:
    """Such a socket has nothing to listen for."""
    code = "import socket; print(socket.socket(fileno=3).recv(9))"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server, anyio.fail_after(LIMIT):
        server.bind(("127.0.0.1", 0))
        async with Runner([python(code, listen=[server])], capture=True) as runner:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.sendto(b"hello", server.getsockname())
            result = await runner["server"].wait()
    assert result.stdout == b"b'hello'\n"


# ---- servers ----


async def test_connection_made_before_the_start_is_served() -> None:
    """The port is open before the server is, so no client comes too early."""
    with (
        listening() as servers,
        socket.create_connection(servers[0].getsockname()) as client,
        anyio.fail_after(LIMIT),
    ):
        client.sendall(b"early")
        async with Runner([python(SERVER, listen=servers)], on_exit="stop") as runner:
            await anyio.wait_readable(client)
            assert client.recv(100) == b"%d: early" % (runner["server"].pid or 0)


async def test_sockets_stay_open_across_restarts() -> None:
    """A client that connects while the server restarts waits, and is not refused."""
    policy = RestartPolicy("on-failure", delay=0)
    with listening() as servers, anyio.fail_after(LIMIT):
        command = python(SERVER, listen=servers, restart=policy)
        async with Runner([command], on_exit="stop") as runner:
            first = await ask(servers[0], b"1")
            assert await ask(servers[0], b"crash") == b""
            second = await ask(servers[0], b"2")
            assert runner["server"].restarts == 1
        assert servers[0].fileno() >= 0
    assert (first[-3:], second[-3:]) == (b": 1", b": 2")
    assert first[:-1] != second[:-1]


async def test_replicas_share_the_socket() -> None:
    """Each copy accepts connections of the same port."""
    with listening() as servers, anyio.fail_after(LIMIT):
        async with Runner([python(SERVER, listen=servers, replicas=2)], on_exit="stop") as runner:
            assert list(runner.jobs) == ["server.1", "server.2"]
            for job in runner.jobs.values():
                await job.until_started()
            answers = {(await ask(servers[0], b"x")).split(b":")[0] for _ in range(20)}
            assert answers <= {b"%d" % (job.pid or 0) for job in runner.jobs.values()}


async def test_real_server_takes_the_socket_over(tmp_path: Path) -> None:
    """`uvicorn --fd 3` serves HTTP on a port that this program has chosen."""
    app = tmp_path / "app.py"
    app.write_text(
        "async def app(scope, receive, send):\n"
        "    assert scope['type'] == 'http'\n"
        "    start = {'type': 'http.response.start', 'status': 200, 'headers': []}\n"
        "    await send(start)\n"
        "    await send({'type': 'http.response.body', 'body': b'hello from uvicorn'})\n"
    )
    words = [sys.executable, "-m", "uvicorn", "--fd", "3", "--lifespan", "off", "app:app"]
    with listening() as servers, anyio.fail_after(LIMIT):
        started = ready.line("Application startup complete|Uvicorn running")
        command = Command(words, name="web", cwd=tmp_path, listen=servers, ready=started)
        async with Runner(on_exit="stop") as runner:
            await runner.start(command)
            answer = await ask(servers[0], b"GET / HTTP/1.0\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"hello from uvicorn")


# ---- what cannot be handed over ----


async def test_socket_closed_too_early_fails_the_start() -> None:
    """A restart needs the socket as well."""
    with listening() as servers:
        command = python(SERVER, listen=servers)
        runner = Runner([command])
        servers[0].close()
        with pytest.raises(CommandError, match=r"'server': listen\[0\] is closed; keep"):
            async with runner:
                pass
        async with LocalLauncher(orphan_guard=False) as launcher:
            with pytest.raises(LaunchError, match=r"'server': listen\[0\] is closed; keep"):
                await launcher.launch(command)


async def test_missing_program_is_a_failed_start() -> None:
    """The program is looked up before Python is started in its place."""
    with listening() as servers:
        async with LocalLauncher(orphan_guard=False) as launcher:
            with pytest.raises(LaunchError, match="there is no program 'no-such-program'"):
                await launcher.launch(Command(["no-such-program"], listen=servers))


async def test_program_that_the_system_cannot_run_is_reported(tmp_path: Path) -> None:
    """The look-up cannot see that; the exit code is that of a shell, and stderr says why."""
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    with listening() as servers, anyio.fail_after(LIMIT):
        async with Runner([Command([script], listen=servers)]) as runner:
            result = await runner["script"].wait()
    assert str(result.exit) == "exit code 127"
    assert result.tail[-1].text == f"cannot run {script}: No such file or directory"


@pytest.mark.parametrize("attribute", ["frozen", "executable"])
async def test_program_without_python_is_told(
    attribute: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a frozen application, sys.executable is the application itself."""
    monkeypatch.setattr(
        sys, attribute, {"frozen": True, "executable": ""}[attribute], raising=False
    )
    with listening() as servers, pytest.raises(CommandError, match="Python interpreter"):
        async with Runner([Command(["true"], listen=servers)]):
            pass


def test_wrong_sockets_are_refused() -> None:
    """The error names the command and the socket, where the command is built."""
    with socket.socket() as idle:
        for wrong, problem in [
            ([idle], "listen[0] does not listen; call its method listen() first"),
            (idle, "listen must be a sequence of sockets, such as [socket], not "),
            ([3], "listen[0] must be a socket.socket, not 3"),
            (None, "listen must be a sequence of sockets, such as [socket], not None"),
        ]:
            with pytest.raises(CommandError) as caught:
                Command(["c"], listen=wrong)  # type: ignore[arg-type]
            assert str(caught.value).startswith(f"command 'c': {problem}")
    with pytest.raises(CommandError, match=r"listen\[0\] is closed"):
        Command(["c"], listen=[idle])


def test_command_with_sockets_compares_them_and_cannot_be_pickled() -> None:
    """A socket belongs to this program, and is equal to itself alone."""
    with listening(2) as servers:
        command = Command(["c"], listen=servers)
        assert command == Command(["c"], listen=tuple(servers)) == replace(command)
        assert command != Command(["c"], listen=servers[:1])
        assert command != Command(["c"], listen=servers[::-1])
        assert hash(command) == hash(replace(command))
        assert repr(command) == "Command(['c'], listen=<2 sockets>)"
        for duplicate in (pickle.dumps, copy.copy):
            with pytest.raises(CommandError, match="'c' cannot be pickled or copied"):
                duplicate(command)


async def test_launcher_gets_the_sockets() -> None:
    """A fake process holds none of them, but a test can see them."""
    launcher = FakeLauncher()
    with listening() as servers:
        async with Runner([Command(["c"], listen=servers)], launcher=launcher):
            pass
        assert launcher["c"].command.listen == tuple(servers)
