"""What one writes without a library for it: a task group with a process in each task.

``python -m tests.faults.host_script COMMAND…``.  It leaves its task group in one way or another
when a command writes ``cancel`` or ``raise``.
"""

from __future__ import annotations

import shlex
import sys

import anyio


async def run(command: str, scope: anyio.CancelScope) -> None:
    """Run one command and read what it writes; it is an error where it fails."""
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
