"""A plain program that uses currant: a Runner, a loop over its messages, no signal handlers.

Usage: ``python -m tests.faults.host_currant BACKEND GRACE COMMAND…``.  If a command writes
``cancel`` or ``raise``, the body cancels the scope around the Runner or raises an exception.
"""

from __future__ import annotations

import sys

import anyio

from currant import Line, Runner


async def main(grace: float, *commands: str) -> None:
    """Run the commands until one of them fails."""
    with anyio.CancelScope() as scope:
        async with Runner(commands, kill_others_on="failure", grace=grace) as runner:
            async for message in runner:
                match message:
                    case Line(data=b"cancel"):
                        scope.cancel()
                    case Line(data=b"raise"):
                        raise RuntimeError("the body was told to raise")


if __name__ == "__main__":
    anyio.run(main, float(sys.argv[2]), *sys.argv[3:], backend=sys.argv[1])
