"""A program between a driver and an agent that delays all bytes, as a long way does.

Usage: ``python _relay.py SECONDS COMMAND...``: each byte to the command and from it arrives SECONDS
later, so a round trip takes twice as long.  The bandwidth has no limit.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from queue import SimpleQueue

CHUNK = 256 * 1024


def main(seconds: float, command: list[str]) -> None:
    """Pass bytes on until one side ends."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    assert process.stdin is not None
    assert process.stdout is not None
    threading.Thread(target=pass_on, args=[0, process.stdin.fileno(), seconds], daemon=True).start()
    pass_on(process.stdout.fileno(), 1, seconds)


def pass_on(source: int, target: int, seconds: float) -> None:
    """Pass bytes on in one direction, until its end has come through; then close the target."""
    under_way: SimpleQueue[tuple[float, bytes]] = SimpleQueue()
    threading.Thread(target=read, args=[source, under_way, seconds], daemon=True).start()
    while True:
        due, data = under_way.get()
        time.sleep(max(0.0, due - time.monotonic()))
        if not data:
            os.close(target)
            return
        with suppress(BrokenPipeError):
            while data:
                data = data[os.write(target, data) :]


def read(source: int, under_way: SimpleQueue[tuple[float, bytes]], seconds: float) -> None:
    """Note the bytes of one direction, and when each of them is due; none are its end."""
    data = b"-"
    while data:
        data = os.read(source, CHUNK)
        under_way.put((time.monotonic() + seconds, data))


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2:])
