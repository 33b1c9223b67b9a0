"""The same tools for any agent, as an MCP server over stdin and stdout."""

from __future__ import annotations

import anyio
from mcp.server import MCPServer
from tools import Tools

from currant import Runner


async def main() -> None:
    """Serve the tools until the client goes away; then stop all commands."""
    async with Runner(keep_open=True, on_exit="stop", iterable=False) as runner:
        server = MCPServer("commands", log_level="WARNING")
        for tool in Tools(runner).by_name.values():
            server.add_tool(tool)
        await server.run_stdio_async()


if __name__ == "__main__":
    try:
        anyio.run(main)
    except* BrokenPipeError:
        pass  # The client was gone before it had the last answer.
