"""A program between a driver and an agent, as ssh is; it may cut the link after some bytes.

Usage: ``python relay.py DOWN UP COMMAND...``: pass on at most DOWN bytes to the command and UP
bytes from it, then exit.  A negative number is no limit.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from contextlib import suppress


def main() -> None:
    """Pass bytes on until a limit is reached, or one side ends."""
    limits = {0: int(sys.argv[1]), 1: int(sys.argv[2])}
    command = subprocess.Popen(
        sys.argv[3:], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    )
    assert command.stdin is not None
    assert command.stdout is not None
    ways = {0: command.stdin.fileno(), command.stdout.fileno(): 1}
    while 0 not in limits.values():
        for source in select.select(list(ways), [], [])[0]:
            limit = limits[source and 1]
            data = os.read(source, 65536 if limit < 0 else min(limit, 65536))
            if not data:
                return
            while data:
                written = os.write(ways[source], data)
                data = data[written:]
                limits[source and 1] -= written if limit > 0 else 0


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        main()
