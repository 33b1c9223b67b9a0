"""Commands that run beside a process, on its host: those of its probes, and its stop command."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import anyio

from currant._process.launcher import HostReporter
from currant._values.command import Command
from currant._values.errors import HostLostError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from anyio.abc import ByteReceiveStream

    from currant._process.launcher import Launcher, Process
    from currant._values.exit import Exit
    from currant._values.probe import ProbeCommand

__all__ = ["command_beside", "name_of_probes", "name_of_stop", "run_beside", "with_stop_commands"]


def name_of_probes(name: str) -> str:
    """Return the name under which the probes of a command run their own commands."""
    return f"{name}:probe"


def name_of_stop(name: str) -> str:
    """Return the name under which the stop command of a command runs."""
    return f"{name}:stop"


def command_beside(own: Command, given: Command | ProbeCommand, name: str) -> Command:
    """Return a command with the folder, the variables and the user of another.

    Args:
        own: the other command.
        given: what runs, with its own folder or variables if it sets them.
        name: the name under which it runs.
    """
    return Command(
        given.argv,
        name=name,
        cwd=own.cwd if given.cwd is None else given.cwd,
        env={**own.env, **given.env},
        inherit_env=own.inherit_env,
        stderr="stdout",
        umask=own.umask,
        user=own.user,
        group=own.group,
        extra_groups=own.extra_groups,
        grace=0.0,
    )


def with_stop_commands(commands: Iterable[Command]) -> list[Command]:
    """Return all commands that have to be looked up: also the stop commands, on the same hosts."""
    found: list[Command] = []
    for command in commands:
        found.append(command)
        if command.stop_command is not None:
            stop = command_beside(command, command.stop_command, name_of_stop(command.name))
            found.append(replace(stop, host=command.host, resources=command.resources))
    return found


async def run_beside(command: Command, process: Process, launcher: Launcher) -> Exit:
    """Run a command on the host of a process, and return the exit; its output is discarded.

    Cancellation: kills the command.

    Raises:
        LaunchError: it could not be started.
        HostLostError: the host is lost.
    """
    beside = await _launch_beside(command, process, launcher)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_drain, beside.stdout)
            with suppress(HostLostError):  # The second wait raises it outside of the task group.
                await beside.wait()
            tasks.cancel_scope.cancel()  # Another process may hold the pipe open.
        return await beside.wait()
    finally:
        await beside.aclose()


async def _launch_beside(command: Command, process: Process, launcher: Launcher) -> Process:
    if isinstance(launcher, HostReporter):  # Only such a launcher has other places.
        return await cast("HostReporter", launcher).launch(command, beside=process)
    return await launcher.launch(command)


async def _drain(output: ByteReceiveStream | None) -> None:
    """Read and discard all output, so that the process never waits for a reader."""
    if output is not None:
        with suppress(HostLostError):
            async for _ in output:
                pass
