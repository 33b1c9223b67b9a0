"""Tests of hosts over a real ssh: the bytes that go through, and errors of unreachable hosts."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio import to_thread

from currant import Command
from currant._remote.launcher import RemoteLauncher
from currant._values.errors import HostUnreachableError
from currant.hosts import Host, ssh
from tests.sshd import NOWHERE, on_loopback
from tests.streams import read_all
from tests.system import needs_proc
from tests.waiting import LIMIT

if TYPE_CHECKING:
    from pathlib import Path

    from currant.hosts import ArgvConnect
    from tests.lifeline import Lifeline
    from tests.sshd import Server

pytestmark = [pytest.mark.anyio, needs_proc]

on_one_loop = pytest.mark.backends("asyncio")


async def output_of(line: str, connect: ArgvConnect, host: Host) -> str:
    """Return what a shell command prints on a host."""
    with anyio.fail_after(LIMIT):
        async with RemoteLauncher(host.name, connect(host)) as launcher:
            process = await launcher.launch(Command.shell(line))
            return (await read_all(process.stdout)).decode()


async def unreachable(connect: ArgvConnect, host: Host) -> str:
    """Return why a host cannot be reached."""
    with anyio.fail_after(LIMIT), pytest.raises(HostUnreachableError) as caught:
        async with RemoteLauncher(host.name, connect(host)):
            raise AssertionError("not entered")
    return caught.value.reason


# ---- ways through ssh ----


async def test_command_runs_on_the_host(ssh_network: Server) -> None:
    """The command runs in the network of the host, in the home directory."""
    for name in ("n1", "n2"):
        printed = await output_of(
            "echo $SSH_CONNECTION", ssh_network.connect(), ssh_network.host(name)
        )
        assert printed.split()[2:] == [ssh_network.addresses[name], "22"]


@on_one_loop
@pytest.mark.parametrize("form", ["{user}@127.0.0.1", "ssh://{user}@127.0.0.1:{port}"])
async def test_address_may_have_a_user_and_a_port(form: str, ssh_server: Server) -> None:
    """The user and the port in the address override those of the configuration."""
    host = Host("n1", address=form.format(**vars(ssh_server)), python=sys.executable)
    config = ssh_server.config.read_text().replace(f"User {ssh_server.user}", "User nobody")
    if "{port}" in form:
        config = config.replace(f"Port {ssh_server.port}", "Port 1")
    (ssh_server.folder / "other").write_text(config)
    way = ssh(["-F", str(ssh_server.folder / "other")])
    assert await output_of("id -un", way, host) == f"{ssh_server.user}\n"


@on_one_loop
async def test_host_is_searched_for_a_python(ssh_server: Server) -> None:
    """If no Python is named, the login shell of the user runs a search for one."""
    assert await output_of("echo hi", ssh_server.connect(), ssh_server.host(python=None)) == "hi\n"


@on_one_loop
async def test_jump_host_leads_to_the_host(ssh_server: Server) -> None:
    """The jump host may be in an option of ssh, or in its configuration."""
    jump = f"{ssh_server.user}@localhost:{ssh_server.port}"
    config = ssh_server.folder / "jump"
    inner = f"Host inner\n HostName 127.0.0.1\n Port {ssh_server.port}\n ProxyJump {jump}\n"
    config.write_text(inner + ssh_server.config.read_text())
    for way, host in (
        (ssh_server.connect("-J", jump, "-v"), ssh_server.host()),
        (ssh(["-v", "-F", str(config)]), Host("inner", python=sys.executable)),
    ):
        transport = way(host)
        async with RemoteLauncher("n1", transport):
            assert "proxy" in transport.said().lower()


@on_one_loop
async def test_master_is_used_but_not_made(ssh_server: Server, tmp_path: Path) -> None:
    """The end of a master of ours would end the sessions of others."""
    path = f"-oControlPath={tmp_path}/mux"
    config = tmp_path / "config"
    config.write_text("ControlMaster auto\n" + ssh_server.config.read_text())
    way = ssh([path, "-F", str(config)])
    line = "echo $SSH_CONNECTION"
    alone = {await output_of(line, way, ssh_server.host()) for _ in range(2)}
    assert len(alone) == 2
    assert os.listdir(tmp_path) == ["config"]
    with ssh_server.master(path):
        shared = {await output_of(line, way, ssh_server.host()) for _ in range(2)}
    assert len(shared) == 1


@on_one_loop
async def test_banner_and_login_shell_may_print(tmp_path: Path) -> None:
    """The driver skips all text before the agent begins."""
    (tmp_path / "banner").write_text("Authorized use only!\n" * 20)
    (tmp_path / ".bashrc").write_text("head -c 100000 /dev/zero; echo Welcome | tee /dev/stderr\n")
    with on_loopback(tmp_path, f"Banner {tmp_path}/banner") as server:
        assert await output_of("echo hi", server.connect(), server.host()) == "hi\n"


@on_one_loop
async def test_ssh_may_print_much(ssh_server: Server) -> None:
    """currant reads the stderr of ssh all the time, and keeps its last lines."""
    way = ssh_server.connect("-vvv")
    assert await output_of(
        "head -c 10000000 /dev/zero | tr '\\0' x; echo", way, ssh_server.host()
    ) == ("x" * 10_000_000 + "\n")
    assert "Permission denied" in await unreachable(
        ssh_server.connect("-vvv", "-oPubkeyAuthentication=no"), ssh_server.host()
    )


# ---- errors ----


@on_one_loop
@pytest.mark.parametrize(
    ("options", "host", "reason"),
    [
        ([], Host("no-such-host.invalid"), "Could not resolve hostname no-such-host.invalid"),
        ([], Host("h", address="ssh://127.0.0.1:1"), "port 1: Connection refused"),
        (["-oPubkeyAuthentication=no"], None, "Permission denied (publickey)."),
        (["-oHostKeyAlias=stranger"], None, "Host key verification failed."),
        (["-oNoSuchOption=1"], None, "Bad configuration option: nosuchoption"),
        ([], "python3.99", "python3.99: not found"),
        (["-oLogLevel=QUIET", "-oPubkeyAuthentication=no"], None, "it has closed the connection"),
    ],
)
async def test_host_that_cannot_be_reached_is_told_in_the_words_of_ssh(
    options: list[str], host: Host | str | None, reason: str, ssh_server: Server
) -> None:
    """The entry raises one error, with the message of ssh."""
    if not isinstance(host, Host):
        host = ssh_server.host(python=host or sys.executable)
    assert reason in await unreachable(ssh_server.connect(*options), host)


@on_one_loop
@pytest.mark.parametrize(
    ("address", "reason"), [("10.98.0.1", "Network is unreachable"), (NOWHERE, "No route to host")]
)
async def test_host_without_a_route_is_told(address: str, reason: str, ssh_network: Server) -> None:
    """The entry fails if the network does not exist, or has no such host."""
    assert reason in await unreachable(ssh_network.connect(), Host("h", address=address))


@on_one_loop
@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("echo This account is not available. >&2", "This account is not available."),
        ("exit 3", "it has closed the connection"),
        (r"printf '\n\0currant agent\0\n3.11\n'", "the connection has ended"),
        ("kill -9 $PPID", "Connection to 127.0.0.1 closed by remote host."),
    ],
)
async def test_host_that_closes_the_connection_is_told(
    command: str, reason: str, tmp_path: Path
) -> None:
    """The error has the last message of ssh, however far the connection has come."""
    with on_loopback(tmp_path, f"ForceCommand {command}") as server:
        assert reason in await unreachable(server.connect(), server.host())


@on_one_loop
async def test_login_that_a_busy_server_drops_is_tried_again(
    lifeline: Lifeline, tmp_path: Path
) -> None:
    """A server drops logins beyond MaxStartups; such a login is repeated a few times."""
    (tmp_path / "ssh").write_text(f'#!/bin/sh\nssh "$@"\n{lifeline.hold("tried")}\n')
    (tmp_path / "ssh").chmod(0o755)
    with on_loopback(tmp_path, "MaxStartups 2:100:2") as server, ExitStack() as logins:
        for _ in range(2):
            login = logins.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            assert login.recv(4) == b"SSH-"
        server.program = str(tmp_path / "ssh")
        async with anyio.create_task_group() as tasks:

            async def make_room() -> None:
                await to_thread.run_sync(lifeline.wait_for, "tried")
                logins.close()

            tasks.start_soon(make_room)
            assert await output_of("echo hi", server.connect(), server.host()) == "hi\n"
