"""``currant mcp``: a running stack as tools for an agent."""

from __future__ import annotations

import os

import click

from currant._values.errors import MissingExtraError
from currant.cli._clients.ask import folder_option

__all__ = ["serve_mcp"]


@click.command("mcp")
@folder_option
def serve_mcp(*, folder: str | None) -> int:
    """Give an agent tools for the running stack (MCP).

    This is an MCP server on stdin and stdout, which the agent's client starts.  The tools list,
    start, stop and restart commands, search their output, wait, and write to a command.  They find
    the stack at each call, so the stack may be started later, and started again.
    """
    try:
        from currant._mcp._server import serve  # noqa: PLC0415 - the extra, which takes a second
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("mcp", "pydantic"):
            raise
        problem = MissingExtraError("the tools for agents", "mcp", "mcp")
        raise click.UsageError(str(problem)) from error
    serve(None if folder is None else os.path.abspath(folder))
    return 0
