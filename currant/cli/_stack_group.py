"""The group of the subcommands that talk to a running stack.

These subcommands do not import `_commands`, which takes longer than `currant ps` may take.
"""

from __future__ import annotations

import click

from currant.cli._lazy import LazyGroup

__all__ = ["STACK_COMMANDS", "stack_group"]

STACK_COMMANDS = {
    "attach": "currant.cli._attach:attach",
    "down": "currant.cli._stack_commands:down",
    "logs": "currant.cli._logs:logs",
    "mcp": "currant.cli._mcp:serve_mcp",
    "ps": "currant.cli._ps:ps",
    "reload": "currant.cli._reload:reload",
    "restart": "currant.cli._stack_commands:restart",
    "send": "currant.cli._stack_commands:send",
    "signal": "currant.cli._stack_commands:signal",
    "stop": "currant.cli._stack_commands:stop",
    "up": "currant.cli._stack_commands:up",
    "wait": "currant.cli._stack_commands:wait",
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
