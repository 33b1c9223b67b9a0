"""Declare the tools for the package mcp, and serve them on stdin and stdout.

Both major versions of the package work: they differ in a few names, and in the names of fields, so
values of the package are built from the JSON of the protocol.  The package runs on asyncio.
"""

from __future__ import annotations

from functools import wraps
from inspect import getdoc
from typing import TYPE_CHECKING, ParamSpec

from mcp.types import CallToolResult, ToolAnnotations

from currant._mcp._answers import Answer
from currant._mcp._tools import StackTools
from currant._values.errors import CurrantError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mcp.server import MCPServer
else:
    try:
        from mcp.server import MCPServer
    except ImportError:  # mcp 1
        from mcp.server.fastmcp import FastMCP as MCPServer

__all__ = ["make_server", "serve"]

P = ParamSpec("P")

INSTRUCTIONS = (
    "The commands of this project, such as its servers and workers, run in a stack of currant. "
    "Look at them and control them with these tools instead of starting them a second time. If a "
    "command is not ready or has failed, read its logs."
)


def serve(folder: str | None) -> None:
    """Serve the tools on stdin and stdout until stdin ends.

    Args:
        folder: the folder of the stack; None: this program's, or the nearest parent with a stack.
    """
    try:
        make_server(folder).run()
    except* BrokenPipeError:  # The client is gone.
        pass


def make_server(folder: str | None) -> MCPServer:
    """Return a server with the tools for the stack of a folder, whether or not one runs."""
    tools = StackTools(folder)
    server = MCPServer("currant", instructions=INSTRUCTIONS, log_level="WARNING")
    looks = ToolAnnotations.model_validate({"readOnlyHint": True, "openWorldHint": False})
    acts = ToolAnnotations.model_validate({"readOnlyHint": False, "openWorldHint": False})
    _add(server, "list", tools.list_commands, looks)
    _add(server, "start", tools.start, acts)
    _add(server, "stop", tools.stop, acts)
    _add(server, "restart", tools.restart, acts)
    _add(server, "logs", tools.logs, looks)
    _add(server, "wait", tools.wait, looks)
    _add(server, "wait_for_line", tools.wait_for_line, looks)
    _add(server, "send", tools.send, acts)
    return server


def _add(
    server: MCPServer,
    name: str,
    work: Callable[P, Awaitable[Answer]],
    annotations: ToolAnnotations,
) -> None:
    """Add a tool, whose arguments are those of `work`."""

    @wraps(work)
    async def call(*args: P.args, **kwargs: P.kwargs) -> CallToolResult:
        try:
            answer = await work(*args, **kwargs)
        except CurrantError as error:
            answer = Answer(str(error), is_error=True)
        return _result_of(answer)

    # The result has its own structured content, which the package would derive from `Answer`.
    server.add_tool(
        call, name, description=getdoc(work), annotations=annotations, structured_output=False
    )


def _result_of(answer: Answer) -> CallToolResult:
    result: dict[str, object] = {
        "content": [{"type": "text", "text": answer.text}],
        "isError": answer.is_error,
    }
    if answer.values is not None:
        result["structuredContent"] = answer.values
    return CallToolResult.model_validate(result)
