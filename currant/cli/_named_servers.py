"""Servers of ``currant with`` that the configuration of the project defines."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from currant.cli._from_config import config_files, read_config

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from currant._values.command import Command
    from currant.config import Config

__all__ = ["commands_behind", "config_with"]

NAME = re.compile(r"[\w.-]+")
"""What may be a name: a shell line with a program and an argument has a space."""

INHERITED = ("restart", "grace", "kill_mode", "leftovers")
"""The options at the top level that its commands keep beside a test, which has its own."""


def config_with(servers: Iterable[str]) -> Config | None:
    """Return the configuration of the project if it defines one of the servers.

    Raises:
        CurrantError: one of the servers may be a name, and the configuration is wrong.
    """
    if not any(NAME.fullmatch(server) for server in servers):
        return None
    files = config_files(())
    config = None if files is None else read_config(files, None)
    if config is None or not {command.name for command in config.commands} & set(servers):
        return None
    return config


def commands_behind(config: Config | None, server: str) -> Sequence[Command]:
    """Return the command of a server and those that it depends on, as they run beside a test.

    The end of the server stops the test; of the others, only a failure does, since some of them
    prepare something and exit.

    Args:
        config: the configuration of the project, if it defines a server.
        server: what may be the name of a command.

    Returns:
        The commands; empty: the server is a shell line.
    """
    if config is None or server not in {command.name for command in config.commands}:
        return ()
    policies = {name: config.runner[name] for name in INHERITED if name in config.runner}
    return [
        replace(
            command,
            kill_others_on="exit" if command.name == server else "failure",
            **{name: value for name, value in policies.items() if getattr(command, name) is None},
        )
        for command in config.select([server])
    ]
