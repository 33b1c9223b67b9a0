"""Test examples/agent as a user runs it: the loop, and the MCP server with the official client."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from tests.clis import ROOT
from tests.ports import free_port
from tests.waiting import FOREVER, HOURS, LIMIT

if TYPE_CHECKING:
    from tests.lifeline import Lifeline

pytestmark = pytest.mark.slow  # Each test starts Python interpreters.

FOLDER = ROOT / "examples" / "agent"

HAS_MCP = find_spec("mcp") is not None and int(version("mcp").partition(".")[0]) >= 2

CLIENT = """
import json, os, sys
import anyio
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

async def main():
    server = StdioServerParameters(command=sys.executable, args=["server.py"], env={**os.environ})
    async with Client(stdio_client(server)) as client:
        for tool, arguments in json.loads(sys.argv[1]):
            answer = await client.call_tool(tool, arguments)
            print(json.dumps(answer.content[0].text), flush=True)

anyio.run(main)
"""
"""A client that calls tools one after the other, and shows the answers."""


def test_agent_calls_each_tool() -> None:
    """The model reads the output, the exits, the time limit and its own mistake."""
    with free_port() as port:
        argv = [sys.executable, "agent.py", str(port)]
        done = subprocess.run(
            argv, cwd=FOLDER, capture_output=True, text=True, timeout=LIMIT, check=False
        )
    assert (done.returncode, done.stderr) == (0, "")
    for shown in (
        f"Serving HTTP on 127.0.0.1 port {port} (http://127.0.0.1:{port}/) ...\n[running]\n",
        "\n200\n[exit code 0]\n",
        '"GET / HTTP/1.1" 200 -\n[running]\n',
        "\ntesting\n['sh' exceeded its time limit of 1 s]\n",
        "\nerror: there is no command 'sight'; did you mean 'site'?",
        "\n[stopped (SIGTERM)]\nThe site works.\n",
    ):
        assert shown in done.stdout


@pytest.mark.skipif(not HAS_MCP, reason="mcp is not installed: pip install 'mcp>=2'")
def test_server_leaves_nothing_when_its_client_is_killed(lifeline: Lifeline) -> None:
    """All commands end, also in the middle of a call, and in any session."""
    # The shell has a child in a session of its own, which a signal to the group does not reach.
    watch = f"{lifeline.hold('watch')}; setsid {FOREVER} & echo watching; wait"
    busy = f"{lifeline.hold('busy')}; {FOREVER}"
    calls = [
        ("start", {"name": "watch", "line": watch}),
        ("stop", {"name": "wotch"}),
        ("run", {"line": "echo failed; exit 3", "seconds": LIMIT}),
        ("run", {"line": busy, "seconds": HOURS}),
    ]
    argv = [sys.executable, "-c", CLIENT, json.dumps(calls)]
    with subprocess.Popen(argv, cwd=FOLDER, stdout=subprocess.PIPE) as client:
        assert client.stdout is not None
        answers = [json.loads(client.stdout.readline()) for _ in range(3)]
        lifeline.wait_for("busy")
        client.kill()
    lifeline.wait_for_end()
    assert answers[0] == "watching\n[running]"
    assert answers[1].startswith("error: there is no command 'wotch'; did you mean 'watch'?")
    assert answers[2] == "failed\n[exit code 3]"
