"""The group of the subcommands that talk to a running stack.

These subcommands do not import `_commands`, which takes longer than `currant ps` may take.
"""

from __future__ import annotations

import click

from currant.cli._lazy import LazyGroup

__all__ = ["STACK_COMMANDS", "stack_group"]

STACK_COMMANDS = {
    "attach": "currant.cli._clients.attach:attach",
    "down": "currant.cli._clients.one_request:down",
    "logs": "currant.cli._clients.logs:logs",
    "mcp": "currant.cli._clients.mcp:serve_mcp",
    "ps": "currant.cli._clients.ps:ps",
    "reload": "currant.cli._clients.reload:reload",
    "restart": "currant.cli._clients.one_request:restart",
    "send": "currant.cli._clients.one_request:send",
    "signal": "currant.cli._clients.one_request:signal",
    "stop": "currant.cli._clients.one_request:stop",
    "up": "currant.cli._clients.one_request:up",
    "wait": "currant.cli._clients.one_request:wait",
}
"""The module and the attribute of each subcommand."""


@click.group(
    "currant",
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    elsewhere=STACK_COMMANDS,
)
def stack_group() -> None:
    """Talk to a running stack."""
