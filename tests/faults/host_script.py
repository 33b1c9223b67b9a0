"""A plain program without a library for process trees: a task group, one process in each task.

Usage: ``python -m tests.faults.host_script COMMAND…``.  If a command writes ``cancel`` or
``raise``, its task cancels the task group or raises an exception.
"""

from __future__ import annotations

import shlex
import sys

import anyio


async def run(command: str, scope: anyio.CancelScope) -> None:
    """Run one command and read its output; raise an exception if the command fails."""
    async with await anyio.open_process(shlex.split(command), stderr=None) as process:
        assert process.stdout is not None
        async for data in process.stdout:
            match data:
                case b"cancel\n":
                    scope.cancel()
                case b"raise\n":
                    raise RuntimeError("the task was told to raise")
        if await process.wait():
            raise RuntimeError(f"{command} has failed")


async def main(*commands: str) -> None:
    """Run the commands until one of them fails."""
    async with anyio.create_task_group() as tasks:
        for command in commands:
            tasks.start_soon(run, command, tasks.cancel_scope)


if __name__ == "__main__":
    anyio.run(main, *sys.argv[1:])
