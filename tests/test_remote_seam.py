"""Tests of what the Runner asks of a host: looking up commands, and asking their servers."""

from __future__ import annotations

import socket
import sys
from dataclasses import replace
from pathlib import Path
from signal import SIGKILL
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio.lowlevel import checkpoint

from currant import (
    PIPE,
    Command,
    CommandError,
    CommandFailed,
    CommandNotFoundError,
    HostLostError,
    Runner,
    UnresponsiveError,
    ready,
    run_process,
)
from currant._process.launcher import Activity
from currant._values.exchange import Request
from tests.agents import over_pipe
from tests.ports import free_port
from tests.pythons import OLDEST_AND_OWN, path_of
from tests.streams import read_until
from tests.system import needs_proc
from tests.waiting import LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from currant.ready import Probe

pytestmark = [pytest.mark.anyio, pytest.mark.backends("asyncio", "trio"), needs_proc]


# ---- the wait for the first output ----


@pytest.mark.parametrize(
    ("script", "begun", "ended"),
    [
        ("true", [], ["stderr", "stdout"]),
        ("echo", ["stdout"], ["stderr"]),
        ("echo >&2", ["stderr"], ["stdout"]),
        ("echo; echo >&2", ["stderr", "stdout"], []),
    ],
)
async def test_watch_tells_streams_with_output_from_silent_ones(
    script: str, begun: list[str], ended: list[str]
) -> None:
    """Each stream is reported once; the exit may come before, because no output holds it up."""
    seen = Activity(has_exited=False, begun=(), ended=())
    with anyio.fail_after(LIMIT):
        async with over_pipe() as launcher:
            watch = (await launcher.launch(Command.shell(script, name="a"))).watch
            while not (seen.has_exited and len(seen.begun + seen.ended) == 2):
                new = await watch.next()
                seen = Activity(new.has_exited, seen.begun + new.begun, seen.ended + new.ended)
                await checkpoint()  # After the exit, `next` does not wait.
    assert (sorted(seen.begun), sorted(seen.ended)) == (begun, ended)


async def test_exit_that_overtakes_output_loses_nothing() -> None:
    """Then each stream gets a task, which reads what still comes."""
    command = Command.shell("seq 30000; seq 30000 >&2", capture=True)
    with anyio.fail_after(LIMIT):
        async with Runner([command] * 3, launcher=over_pipe()) as runner:
            await runner.join()
    for result in runner.results.values():
        for output in (result.stdout, result.stderr):
            assert output is not None
            assert output.count(b"\n") == 30000


# ---- the check before the first start ----


async def test_command_that_is_too_long_for_a_frame_is_refused() -> None:
    """The other commands on the host go on; no system could start such a command."""
    launcher = over_pipe()
    huge = Command(["true", "\u00e9" * 3_000_000], name="huge")
    with anyio.fail_after(LIMIT):
        with pytest.raises(CommandError, match="'huge': its arguments and environment are longer"):
            async with Runner([huge], launcher=launcher):
                pytest.fail("the block was entered")
        async with Runner(launcher=launcher) as runner:
            other = await runner.start(Command(["cat"], stdin=PIPE, name="other"))
            result = await runner.start_soon(huge).wait()
            assert "longer than any system allows" in str(result.error)
            await other.close_stdin()
            assert (await other.wait()).status == "succeeded"


async def test_missing_program_of_a_host_starts_nothing(tmp_path: Path) -> None:
    """The error names the first command that cannot start, and the host; no command has run."""
    commands = {
        "fine": ["touch", tmp_path / "trace"],
        "first": ["no-such-program"],
        "second": ["nor-this-one"],
    }
    runner = Runner(commands, launcher=over_pipe())
    with anyio.fail_after(LIMIT), pytest.raises(CommandNotFoundError) as caught:
        async with runner:
            pytest.fail("the body was entered")
    text = "command 'first': on h1: there is no program 'no-such-program' in its PATH"
    assert str(caught.value).startswith(text)
    assert not list(tmp_path.iterdir())
    assert not runner.results
    assert not runner.barrier.thrown


async def test_host_looks_up_its_own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The PATH of the host counts, not that of the driver."""
    program = tmp_path / "only-there"
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    launcher = over_pipe()
    with anyio.fail_after(LIMIT):
        async with launcher:
            monkeypatch.undo()
            await launcher.check([Command(["only-there"])])
            with pytest.raises(CommandNotFoundError, match="on h1: its working directory"):
                await launcher.check([Command(["true"], cwd="/no/such/place")])
            with pytest.raises(CommandError, match=r"on h1: .*'nobody-at-all'"):
                await launcher.check([Command(["true"], user="nobody-at-all")])


async def test_command_that_cannot_be_sent_is_refused_on_entry() -> None:
    """An open file of this program has no meaning on another host."""
    command = Command(["cat"], name="c", stdin=0)
    with anyio.fail_after(LIMIT), pytest.raises(CommandError, match=r"'c'.*its stdin is an open"):
        async with Runner([command], launcher=over_pipe()):
            pytest.fail("the body was entered")


async def test_runner_may_be_entered_after_a_refusal(tmp_path: Path) -> None:
    """The second entry makes a new connection, after the first was closed."""
    program = tmp_path / "program"
    runner = Runner([[program]], launcher=over_pipe())
    with anyio.fail_after(LIMIT):
        with pytest.raises(CommandNotFoundError):
            async with runner:
                pytest.fail("the body was entered")
        program.symlink_to("/bin/sh")
        async with runner:
            pass
    assert runner.results.ok


async def test_lost_host_answers_no_check() -> None:
    """The error is about the lost host, not about a missing program."""
    launcher = over_pipe()
    with anyio.fail_after(LIMIT):
        async with launcher:
            launcher.connection._lose("a mouse has bitten the cable")
            with pytest.raises(HostLostError, match="a mouse"):
                await launcher.check([Command(["no-such-program"])])


async def test_run_process_names_the_missing_program_of_a_host() -> None:
    """The error is as exact as on this machine, and not a failed start."""
    with anyio.fail_after(LIMIT):
        with pytest.raises(CommandNotFoundError, match="on h1: there is no program 'nope'"):
            await run_process(["nope"], launcher=over_pipe())
        with pytest.raises(CommandFailed):
            await run_process(["false"], launcher=over_pipe(), check=True)


# ---- servers are asked from where they live ----

SERVER = """
import socket, sys
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    connection, _ = server.accept()
    with connection:
        if connection.recv(1000).startswith(b"GET /fine "):
            connection.sendall(b"HTTP/1.1 200 OK\\r\\n\\r\\nwell")
        else:
            connection.sendall(b"HTTP/1.1 404 Not Found\\r\\n\\r\\n")
"""


@pytest.fixture
def port() -> Iterator[int]:
    """Yield a port on which no process listens."""
    with free_port() as number:
        yield number


@pytest.fixture
def asked_here(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Record the servers to which this program connects."""
    record: list[object] = []
    connect = socket.socket.connect

    def note(self: socket.socket, address: object) -> None:
        record.append(address)
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", note)
    return record


def serving(port: int, probe: Probe, *wrap: str) -> Command:
    """Return the command of a server, with a probe."""
    return Command([*wrap, sys.executable, "-c", SERVER, str(port)], name="web", ready=probe)


@pytest.mark.parametrize("python", OLDEST_AND_OWN)
@pytest.mark.parametrize("wrap", [[], ["setsid", "-w"]], ids=["leader", "descendant"])
async def test_server_of_a_host_is_asked_from_there(
    port: int, wrap: list[str], python: str, asked_here: list[object]
) -> None:
    """The driver connects to nothing, and the host knows which process the server belongs to."""
    tcp, url = ready.tcp("127.0.0.1", port), f"http://localhost:{port}/fine"
    command = serving(port, ready.all_of(tcp, ready.http(url)), *wrap)
    with anyio.fail_after(LIMIT):
        async with Runner(launcher=over_pipe(str(path_of(python)))) as runner:
            await runner.start(command)
            runner.kill()
    assert not asked_here


@pytest.mark.parametrize(
    ("path", "text"),
    [("/lost", "responded with status 404"), ("/fine", "belongs to another process")],
)
async def test_failure_of_a_probe_comes_from_the_host(port: int, path: str, text: str) -> None:
    """The error says what the host found: another status, or a server of another process."""
    probe = ready.http(f"http://127.0.0.1:{port}{path}", timeout=LIMIT, interval=0.01)
    own = serving(port, ready.tcp("127.0.0.1", port))
    foreign = Command(["sleep", "9999"], after="web")
    asked = foreign if path == "/fine" else own
    commands = {"web": own, "sleep": foreign}
    commands[str(asked.name)] = replace(asked, alive=probe, failure_threshold=1)
    with anyio.fail_after(LIMIT):
        async with Runner(commands, launcher=over_pipe()) as runner:
            error = (await runner[str(asked.name)].wait()).error
            runner.kill()
    assert isinstance(error, UnresponsiveError)
    assert text in error.reason


async def test_refused_connection_is_told_by_the_host(port: int) -> None:
    """The error has the reason of the host's system, for names and addresses, also at the end."""
    async with over_pipe() as launcher:
        process = await launcher.launch(Command(["sleep", "9999"]))
        with anyio.fail_after(LIMIT):
            for host in ("127.0.0.1", "localhost"):
                with pytest.raises(OSError, match="refused"):
                    await process.exchange(Request((host, port)))
            with pytest.raises(OSError, match=r"[nN]ame"):
                await process.exchange(Request(("no such name", port)))
            await process.stop(SIGKILL, 0)
            await process.aclose()
            with pytest.raises(OSError, match="has ended"):
                await process.exchange(Request(("127.0.0.1", port)))


SILENT_SERVER = f"""{SERVER.partition("while")[0]}
print("up", flush=True)
connection, _ = server.accept()
connection.recv(1000)
print("asked", flush=True)
import time
time.sleep(9999)
"""


async def test_command_of_a_probe_runs_on_the_host(tmp_path: Path) -> None:
    """The probe runs in the same working directory, as a child of the agent."""
    probe = ready.command(["sh", "-c", "echo $PPID > asked"])
    command = Command(["sleep", "9999"], name="c", ready=probe, cwd=tmp_path)
    launcher = over_pipe(orphan_guard=False)
    with anyio.fail_after(LIMIT):
        async with Runner([command], launcher=launcher) as runner:
            await runner["c"].ready()
            assert int((tmp_path / "asked").read_text()) == launcher.connection.agent_pid
            runner.kill()


async def test_cancelled_exchange_ends_on_the_host(port: int) -> None:
    """The agent closes the connection to a server that never answers."""
    async with over_pipe() as launcher:
        process = await launcher.launch(Command([sys.executable, "-c", SILENT_SERVER, str(port)]))
        assert await read_until(process.stdout, b"\n") == b"up\n"
        folder = Path(f"/proc/{launcher.connection.agent_pid}/fd")
        files = len(list(folder.iterdir()))
        with anyio.fail_after(LIMIT):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(process.exchange, Request(("127.0.0.1", port), b"hello", 100))
                assert await read_until(process.stdout, b"\n") == b"asked\n"
                assert len(list(folder.iterdir())) > files
                tasks.cancel_scope.cancel()
            while len(list(folder.iterdir())) > files:  # noqa: ASYNC110 - nothing tells
                await anyio.sleep(0.01)
