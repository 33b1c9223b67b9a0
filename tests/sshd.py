"""Real servers of OpenSSH for tests: on loopback, and each in a network namespace of its own.

A server has its own keys and configuration in a temporary folder, and logs in the user that runs
the tests.  So on loopback it needs no root.  What runs in its sessions has the variable of this
test run, so the checks for leftover processes find it on such a host, too.

The hosts in namespaces are called n1, n2, ...  They and the driver's ssh hang on a bridge in a
namespace of their own, so nothing of the machine's own network is touched.  A `keeper` ends it all.
"""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest

from currant.hosts import Host, ssh
from tests.kept import free_port, kept

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

    from currant.hosts import ArgvConnect

__all__ = ["NOWHERE", "PLACES", "Server", "namespaces", "on_loopback"]

PLACES = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
"""Where to look for programs; ``sbin`` is seldom in the PATH of a user."""

PREFIX = f"currant-{os.getpid()}"
"""How the names of our namespaces begin; they end in the name of a host, or ``d`` (driver)."""

NOWHERE = "10.99.1.1"
"""An address to which there is no route from the namespaces."""

SERVER = """
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/key.pub
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
PidFile none
MaxStartups 100
SetEnv CURRANT_TEST={run_id} HOME={folder}
"""

CLIENT = """
Host {hosts}
  Port {port}
Host *
  User {user}
  IdentityFile {folder}/key
  IdentitiesOnly yes
  IdentityAgent none
  HostKeyAlias test
  UserKnownHostsFile {folder}/known_hosts
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
"""


class Server:
    """Servers of ssh, with all that a client needs to log in.

    Attributes:
        folder: where keys and configurations are.
        addresses: the addresses of the hosts, by their names.
        port: their port.
        user: the user that they log in.
        config: the configuration file of the client.
        program: the client.
    """

    def __init__(self, folder: Path, addresses: dict[str, str], program: str = "ssh") -> None:
        self.folder = folder
        self.addresses = addresses
        self.port = 22
        self.user = getpass.getuser()
        self.config = folder / "config"
        self.program = program

    def host(self, name: str = "n1", python: str | None = sys.executable) -> Host:
        """Return one of the hosts."""
        return Host(name, address=self.addresses[name], python=python)

    def connect(self, *options: str) -> ArgvConnect:
        """Return the way to the hosts, with more options of ssh before those of the tests."""
        return ssh([*options, "-F", str(self.config)], program=self.program)

    @contextmanager
    def cable(self, name: str) -> Generator[Callable[[], object]]:
        """Yield a function that unplugs the cable of a host; it is plugged in at the end."""
        set_state = [
            shutil.which("ip", path=PLACES) or "ip",
            "-n",
            f"{PREFIX}-d",
            "link",
            "set",
            name,
        ]
        try:
            yield partial(subprocess.run, [*set_state, "down"], check=True)
        finally:
            subprocess.run([*set_state, "up"], check=True)

    @contextmanager
    def master(self, path: str, name: str = "n1") -> Generator[None]:
        """Keep a connection open that others may share.

        Args:
            path: the option that says where its socket is.
            name: the host.
        """
        client = [self.program, "-F", str(self.config), path, self.addresses[name]]
        # It is no leftover: if the tests are killed, it ends by itself after a while.
        env = {name: value for name, value in os.environ.items() if name != "CURRANT_TEST"}
        options = ("-fN", "-oControlMaster=yes", "-oControlPersist=60")
        subprocess.run([*client, *options], check=True, env=env, stderr=subprocess.DEVNULL)
        try:
            yield
        finally:
            subprocess.run([*client, "-O", "exit"], check=True, stderr=subprocess.DEVNULL)


@contextmanager
def on_loopback(folder: Path, *settings: str) -> Generator[Server]:
    """Run a server on a port of 127.0.0.1, whose host is called n1.

    Args:
        folder: an empty folder.
        settings: lines for the configuration of the server; the first value of a setting counts.
    """
    sshd = _needed("sshd", "openssh-server")
    server = Server(folder, {"n1": "127.0.0.1"})
    _write_keys(server)
    with ExitStack() as stack:
        for is_last in (False, False, True):  # Another program may take the port meanwhile.
            server.port = free_port()
            _write_configs(server, ["ListenAddress 127.0.0.1", *settings])
            said = stack.enter_context(kept(serve=[[sshd, "-De", "-f", f"{folder}/sshd_config"]]))
            if said == "ready":
                break
            assert not is_last, said
        yield server


@contextmanager
def namespaces(folder: Path, count: int) -> Generator[Server]:
    """Run a server in each of `count` network namespaces.

    Args:
        folder: an empty folder.
        count: how many hosts; they are called n1, n2, ...
    """
    sshd, ip, enter = (
        _needed("sshd", "openssh-server"),
        _needed("ip", "iproute2"),
        _needed("nsenter", "util-linux"),
    )
    if os.getuid() != 0:
        pytest.skip("network namespaces need root")
    hosts = {f"n{number}": f"10.99.0.{number}" for number in range(1, count + 1)}
    program = folder / "ssh"
    server = Server(folder, hosts, str(program))
    program.write_text(f'#!/bin/sh\nexec {enter} --net=/run/netns/{PREFIX}-d ssh "$@"\n')
    program.chmod(0o755)
    _write_keys(server)
    _write_configs(server, [])
    inside = [f"--net=/run/netns/{PREFIX}-{name}" for name in hosts]
    names = [f"{PREFIX}-{name}" for name in ("d", *hosts)]
    with kept(
        begin=_network(ip, hosts),
        serve=[[enter, each, sshd, "-De", "-f", f"{folder}/sshd_config"] for each in inside],
        pids=[[ip, "netns", "pids", name] for name in names],
        end=[[ip, "netns", "del", name] for name in names],
    ) as said:
        if "netns" in said:
            pytest.skip(f"this machine has no network namespaces for tests: {said}")
        assert said == "ready"
        yield server


def _network(ip: str, hosts: dict[str, str]) -> list[list[str]]:
    """Return the commands that make the namespaces, and connect them by a bridge."""
    driver = f"{PREFIX}-d"
    lines = [
        f"netns add {driver}",
        f"-n {driver} link add bridge type bridge",
        f"-n {driver} addr add 10.99.0.254/24 dev bridge",
        f"-n {driver} link set bridge up",
        f"-n {driver} route add unreachable {NOWHERE}",
    ]
    for name, address in hosts.items():
        host = f"{PREFIX}-{name}"
        lines += [
            f"netns add {host}",
            f"-n {driver} link add {name} type veth peer name eth netns {host}",
            f"-n {driver} link set {name} master bridge up",
            f"-n {host} addr add {address}/24 dev eth",
            f"-n {host} link set lo up",
            f"-n {host} link set eth up",
        ]
    return [[ip, *line.split()] for line in lines]


def _needed(program: str, package: str) -> str:
    """Return the path of a program; skip the test if it is not installed."""
    path = shutil.which(program, path=PLACES)
    if path is None:
        pytest.skip(f"needs {program}: install {package}")
    return path


def _write_keys(server: Server) -> None:
    keygen = _needed("ssh-keygen", "openssh-client")
    for name in ("host_key", "key"):
        path = str(server.folder / name)
        subprocess.run([keygen, "-qt", "ed25519", "-N", "", "-f", path], check=True)
    key = (server.folder / "host_key.pub").read_text()
    (server.folder / "known_hosts").write_text(f"test {key}")


def _write_configs(server: Server, settings: Sequence[str]) -> None:
    folder = server.folder
    config = "\n".join(
        [
            f"Port {server.port}",
            *settings,
            SERVER.format(folder=folder, run_id=os.environ["CURRANT_TEST"]),
        ]
    )
    (folder / "sshd_config").write_text(config)
    hosts = " ".join(server.addresses.values())
    server.config.write_text(
        CLIENT.format(folder=folder, hosts=hosts, port=server.port, user=server.user)
    )
