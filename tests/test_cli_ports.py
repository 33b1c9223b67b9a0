"""Test `HeldPorts`, the free ports of ``currant with --port``."""

from __future__ import annotations

import socket
from contextlib import closing

import pytest

from currant.cli._with.ports import HeldPorts, fill_in


@pytest.mark.parametrize("address", ["127.0.0.1", "", "::1", "::"])
def test_server_can_listen_on_a_held_port(address: str) -> None:
    """A server that allows sharing listens at any address, and clients reach it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    if family == socket.AF_INET6 and not socket.has_dualstack_ipv6():
        pytest.skip("the system has no IPv6")
    with closing(HeldPorts(["web"])) as ports:
        port = int(ports.variables["WEB_PORT"])
        with socket.create_server((address, port), family=family) as server:
            socket.create_connection(server.getsockname()[:2]).close()


def test_held_ports_differ_and_are_released() -> None:
    """Each name has a port of its own; after the block a port is free again."""
    with closing(HeldPorts(["web", "api-2"])) as ports:
        assert list(ports.variables) == ["WEB_PORT", "API_2_PORT"]
        assert len({*ports.variables.values()}) == 2
        port = int(ports.variables["WEB_PORT"])
    with socket.socket() as server:
        server.bind(("", port))


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("http:$A_PORT/x", "http:1/x"),
        ("${A_PORT}0", "10"),
        ("$A_PORTS $$ $ ${B_PORT} $1", "$A_PORTS $$ $ ${B_PORT} $1"),
    ],
)
def test_only_the_variables_of_ports_are_filled_in(text: str, filled: str) -> None:
    """All other dollar signs stay as they are."""
    assert fill_in(text, {"A_PORT": "1"}) == filled
