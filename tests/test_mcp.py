"""The MCP server of docs/recipes.md, with servers of the package mcp that misbehave.

Each server holds a lifeline, and so do the processes that it starts: at its end, all are gone.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from importlib import import_module
from importlib.util import find_spec
from shlex import join
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio import to_thread
from anyio.lowlevel import checkpoint

from currant import Command, CommandFailed
from tests.conftest import BACKENDS
from tests.recipes import recipe
from tests.waiting import HOURS, LIMIT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from tests.lifeline import Lifeline

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.backends("asyncio", "trio"),
    pytest.mark.skipif(
        find_spec("mcp") is None, reason="mcp is not installed: pip install -e '.[test]'"
    ),
]

TOOLS = """
import os, signal, subprocess, sys, threading, time

try:
    from mcp.server import MCPServer
except ImportError:  # mcp 1
    from mcp.server.fastmcp import FastMCP as MCPServer

server = MCPServer("test")
lifeline = os.fdopen(9, "w")
stdout = os.dup(1)  # mcp 2 leads 1 to stderr

@server.tool()
def say(word: str) -> str:
    print(word, file=lifeline, flush=True)
    return word

@server.tool()
def wait() -> str:
    say("waiting")
    time.sleep(9999)

@server.tool()
def repeat(text: str, times: int) -> str:
    return text * times

@server.tool()
def complain(lines: int) -> str:
    print("complaint\\n" * lines, file=sys.stderr, flush=True)
    return "done"

@server.tool()
def spawn() -> str:
    script = "trap '' TERM; echo '{}'; sleep 9999"
    subprocess.Popen(["sh", "-c", script], pass_fds=[9], stdin=subprocess.DEVNULL, stdout=stdout)
    return "spawned"

MESSAGE = b'{"jsonrpc": "2.0", "method": "notifications/message", "params": ' \\
    b'{"level": "info", "data": "chatter"}}\\n'

@server.tool()
def chatter() -> str:
    def write():
        # A flood without end could delay the answer for ever, and a write of more than PIPE_BUF
        # (4,096 bytes) could be torn apart by the answer.
        for _ in range(500):
            os.write(stdout, MESSAGE * 40)
    threading.Thread(target=write, daemon=True).start()
    return "begun"

@server.tool()
def die() -> str:
    print("out of luck", file=sys.stderr, flush=True)
    os._exit(3)
"""
"""A server with a tool for each trouble, without the line that runs it."""

RUN = "server.run()"
RUN_ON = "signal.signal(signal.SIGTERM, signal.SIG_IGN); server.run(); time.sleep(9999)"
"""A server that survives the end of its stdin, and SIGTERM."""


class Server:
    """The recipe, its server, and a client of the package mcp."""

    def __init__(self, lifeline: Lifeline) -> None:
        self._lifeline = lifeline
        self._recipe = recipe("An MCP server")

    def block(
        self, run: str = RUN, tools: str = TOOLS, **options: Any
    ) -> AbstractAsyncContextManager[Any]:
        """Return the block of the recipe, with a server that ends with the code `run`."""
        program = join(["exec", sys.executable, "-c", tools + run])
        command = Command.shell(f"{self._lifeline.hold('runs')}; {program}", name="s", **options)
        block: AbstractAsyncContextManager[Any] = self._recipe.mcp_server(command)
        return block

    def session(self, streams: Any, **options: Any) -> AbstractAsyncContextManager[Any]:
        """Return a session of mcp."""
        session: AbstractAsyncContextManager[Any] = self._recipe.ClientSession(*streams, **options)
        return session

    async def use(self, body: Callable[[Any], Awaitable[None]], *run: str, **options: Any) -> None:
        """Run `body` with a session that is initialized."""
        async with self.block(*run, **options) as streams, self.session(streams) as session:
            await session.initialize()
            await body(session)


@pytest.fixture
def server(lifeline: Lifeline) -> Server:
    """The recipe, and a server that holds the lifeline."""
    return Server(lifeline)


async def call(session: Any, tool: str, **arguments: Any) -> str:
    """Call a tool, and return the text of its result."""
    result = await session.call_tool(tool, arguments)
    return "".join(content.text for content in result.content)


# ---- the end of the block ----


async def test_server_ends_with_the_block(server: Server, lifeline: Lifeline) -> None:
    """The end of its stdin ends it, so it cleans up, and no signal has to."""

    async def body(session: Any) -> None:
        assert await call(session, "say", word="hello") == "hello"

    run = "signal.signal(signal.SIGTERM, signal.SIG_IGN); server.run(); say('goodbye')"
    with anyio.fail_after(LIMIT):
        await server.use(body, run, grace=HOURS)
    assert lifeline.ended() == {"runs", "hello", "goodbye"}


async def test_session_that_never_begins_ends(server: Server, lifeline: Lifeline) -> None:
    """The server may still be on its way up."""
    with anyio.fail_after(LIMIT):
        async with server.block() as streams, server.session(streams):
            pass
    assert lifeline.ended() <= {"runs"}


@pytest.mark.parametrize("run", [RUN, RUN_ON], ids=["obedient", "stubborn"])
async def test_outer_cancellation_during_a_call_leaves_no_server(
    server: Server, lifeline: Lifeline, run: str
) -> None:
    """The server is gone before the cancellation goes on, and nothing else is raised."""

    async def body(session: Any) -> None:
        await call(session, "spawn")
        await call(session, "wait")

    async def use() -> None:
        await server.use(body, run, grace=0.2)
        pytest.fail("the cancellation was swallowed")

    with anyio.fail_after(LIMIT):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(use)
            await to_thread.run_sync(lifeline.wait_for, "waiting")
            tasks.cancel_scope.cancel()
    assert lifeline.ended() == {"runs", "waiting"}


@pytest.mark.parametrize("anyio_backend", BACKENDS[:2])  # trio has no Task.cancel
async def test_cancelled_task_leaves_no_server(server: Server, lifeline: Lifeline) -> None:
    """The same holds for `Task.cancel`, as an application without anyio uses it."""

    async def body(session: Any) -> None:
        await call(session, "wait")

    with anyio.fail_after(LIMIT):
        task = asyncio.create_task(server.use(body))
        await to_thread.run_sync(lifeline.wait_for, "waiting")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert lifeline.ended() == {"runs", "waiting"}


@pytest.mark.parametrize("anyio_backend", BACKENDS[:2])  # trio has no such tasks
async def test_block_that_another_task_leaves_stops_the_server(
    server: Server, lifeline: Lifeline
) -> None:
    """An exit stack that is closed elsewhere is an error, of anyio, and leaves no server."""
    stack = AsyncExitStack()

    async def enter() -> None:
        await stack.enter_async_context(server.block())

    with anyio.fail_after(LIMIT):
        await asyncio.create_task(enter())
        await to_thread.run_sync(lifeline.wait_for, "runs")
        with pytest.raises(RuntimeError, match="different task"):
            await asyncio.create_task(stack.aclose())
    assert lifeline.ended() == {"runs"}


async def test_time_limit_for_a_server_that_never_answers(
    server: Server, lifeline: Lifeline
) -> None:
    """A program that speaks no MCP hangs the session, and never the block."""

    async def body(session: Any) -> None:
        pytest.fail("there is no server")

    with anyio.move_on_after(0.5) as limit:
        await server.use(body, "import time; time.sleep(9999)", tools="")
    assert limit.cancelled_caught
    assert lifeline.ended() <= {"runs"}


async def test_exception_of_the_body_leaves_unchanged(server: Server, lifeline: Lifeline) -> None:
    """No task group of the recipe wraps it."""
    error = ValueError("of the body")
    with anyio.fail_after(LIMIT), pytest.raises(ValueError, match="of the body") as caught:
        async with server.block():
            await to_thread.run_sync(lifeline.wait_for, "runs")
            raise error
    assert caught.value is error
    assert error.__cause__ is None
    assert lifeline.ended() == {"runs"}


async def test_server_that_ignores_the_end_of_its_stdin(server: Server, lifeline: Lifeline) -> None:
    """SIGTERM, and SIGKILL after the grace, end it, with the process that it started."""

    async def body(session: Any) -> None:
        assert await call(session, "spawn") == "spawned"

    with anyio.fail_after(LIMIT):
        await server.use(body, RUN_ON, grace=0.2)
    assert lifeline.ended() == {"runs"}


async def test_server_that_writes_after_the_session(server: Server, lifeline: Lifeline) -> None:
    """Nobody reads its messages any more, and that disturbs neither the body nor the end."""
    with anyio.fail_after(LIMIT):
        async with server.block() as (read, write):
            async with server.session((read, write)) as session:
                await session.initialize()
                assert await call(session, "chatter") == "begun"
            await read.aclose()  # as the session of mcp 1 does
            for _ in range(100):  # The other tasks may never all be blocked: the server goes on.
                await checkpoint()
    assert lifeline.ended() == {"runs"}


# ---- a server that dies ----


async def test_server_that_dies_at_its_start_says_why(server: Server, lifeline: Lifeline) -> None:
    """The last lines of its stderr are in the error, instead of a hang or a closed connection."""

    async def body(session: Any) -> None:
        pytest.fail("there is no server")

    with anyio.fail_after(LIMIT), pytest.raises(CommandFailed) as caught:
        await server.use(body, "import no_such_module", tools="")
    assert "exit code 1" in str(caught.value)
    assert "No module named 'no_such_module'" in str(caught.value)
    assert caught.value.__cause__ is not None
    assert lifeline.ended() == {"runs"}


async def test_server_that_says_on_stdout_why_it_dies(server: Server) -> None:
    """If its stderr is empty, the error has the last lines of its stdout."""

    async def body(session: Any) -> None:
        pytest.fail("there is no server")

    with anyio.fail_after(LIMIT), pytest.raises(CommandFailed, match="no such option"):
        await server.use(body, "print('no such option')", tools="")


async def test_server_that_dies_during_a_call(server: Server, lifeline: Lifeline) -> None:
    """The process that it started holds the pipes, ignores SIGTERM, and is ended all the same."""

    async def body(session: Any) -> None:
        await call(session, "spawn")
        await call(session, "die")

    with anyio.fail_after(LIMIT), pytest.raises(CommandFailed, match="out of luck") as caught:
        await server.use(body, grace=0.2)
    assert str(caught.value.result.exit) == "exit code 3"
    assert "jsonrpc" not in str(caught.value)
    assert lifeline.ended() == {"runs"}


async def test_body_may_go_on_without_a_server_that_died(
    server: Server, lifeline: Lifeline
) -> None:
    """A call fails as mcp has it, and the servers beside are not affected."""

    async def body(session: Any) -> None:
        async with server.block() as streams, server.session(streams) as other:
            await other.initialize()
            with pytest.raises(Exception, match="Connection closed"):
                await call(other, "die")
            assert await call(session, "say", word="here") == "here"

    with anyio.fail_after(LIMIT):
        await server.use(body)
    assert lifeline.ended() == {"runs", "here"}


async def test_server_that_reads_no_more_is_stopped(server: Server, lifeline: Lifeline) -> None:
    """A request to it fails instead of waiting for ever."""

    async def body(session: Any) -> None:
        pytest.fail("there is no server")

    run = "import os, time; os.close(0); os.write(9, b'closed '); time.sleep(9999)"
    with anyio.fail_after(LIMIT), pytest.raises(CommandFailed, match="stopped"):
        async with server.block(run, tools="") as streams, server.session(streams) as session:
            await to_thread.run_sync(lifeline.wait_for, "closed")
            await session.initialize()
    assert lifeline.ended() == {"runs", "closed"}


async def test_server_that_writes_no_more_is_stopped(server: Server, lifeline: Lifeline) -> None:
    """A call fails instead of waiting for an answer for ever."""

    async def body(session: Any) -> None:
        pytest.fail("there is no server")

    run = "import os, time; os.close(1); time.sleep(9999)"
    with anyio.fail_after(LIMIT), pytest.raises(CommandFailed, match="stopped"):
        await server.use(body, run, tools="")
    assert lifeline.ended() == {"runs"}


# ---- what a server writes ----


async def test_other_lines_on_stdout_do_not_end_the_session(
    server: Server, lifeline: Lifeline
) -> None:
    """The session learns of them, and goes on."""
    seen: list[object] = []

    async def handle(message: object) -> None:
        seen.append(message)

    noise = "print('Starting.'); print('{}'); print('\\udcff'.encode, flush=True); server.run()"
    with anyio.fail_after(LIMIT):
        async with (
            server.block(noise) as streams,
            server.session(streams, message_handler=handle) as session,
        ):
            await session.initialize()
            assert await call(session, "say", word="hello") == "hello"
    assert [isinstance(each, ValueError) for each in seen] == [True] * 3
    assert lifeline.ended() == {"runs", "hello"}


async def test_long_answer_arrives_whole(server: Server) -> None:
    """A message is one line, of any length."""

    async def body(session: Any) -> None:
        assert await call(session, "repeat", text="é", times=1_000_000) == "é" * 1_000_000

    with anyio.fail_after(LIMIT):
        await server.use(body)


async def test_long_request_arrives_whole(server: Server) -> None:
    """The pipe takes it in parts, while the server reads."""

    async def body(session: Any) -> None:
        assert await call(session, "repeat", text="é" * 1_000_000, times=1) == "é" * 1_000_000

    with anyio.fail_after(LIMIT):
        await server.use(body)


async def test_server_that_writes_much_to_stderr_does_not_wait(server: Server) -> None:
    """No task reads that log, and the session goes on."""

    async def body(session: Any) -> None:
        assert await call(session, "complain", lines=200_000) == "done"

    with anyio.fail_after(LIMIT):
        await server.use(body)


async def test_client_of_mcp_2_takes_the_block_as_a_transport(
    server: Server, lifeline: Lifeline
) -> None:
    """It enters and leaves the block itself."""
    client: Any = getattr(import_module("mcp"), "Client", None)
    if client is None:
        pytest.skip("mcp 1 has no Client: pip install 'mcp>=2'")
    with anyio.fail_after(LIMIT):
        async with client(server.block()) as session:
            assert await call(session, "say", word="hello") == "hello"
    assert lifeline.ended() == {"runs", "hello"}
