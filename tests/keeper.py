"""A program that keeps servers and network namespaces for as long as a test process lives.

Usage: ``python keeper.py CONFIG``.  CONFIG is JSON: the ``folders`` that a server needs, and lists
of command lines: those that ``begin``, the servers to ``serve`` until the end, those that print the
``pids`` of what is left then, and those that ``end``.  The keeper prints ``ready`` or an error, and
ends all when its stdin does, which happens whatever ends the test process.

It leaves the process tree and the environment of the test process, so that the checks for leftover
processes do not take it and the servers for leftovers of a test.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from typing import IO


def main() -> None:
    """Begin, say so, wait for the end of stdin, and end all."""
    config = json.loads(sys.argv[1])
    if os.fork():
        os._exit(0)
    os.setsid()
    servers: list[subprocess.Popen[bytes]] = []
    try:
        print(begin(config, servers), flush=True)  # noqa: T201 - the test process reads it
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        while os.read(0, 100):
            pass
    finally:
        end(config, servers)


def begin(config: dict[str, list[list[str]]], servers: list[subprocess.Popen[bytes]]) -> str:
    """Run what has to run first, and start the servers; return ``ready`` or an error."""
    for folder in config["folders"]:
        os.makedirs(str(folder), mode=0o755, exist_ok=True)
    for argv in config["begin"]:
        ran = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        if ran.returncode:
            return f"{argv}: {ran.stderr!r}"
    for argv in config["serve"]:
        server = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        servers.append(server)
        assert server.stderr is not None
        for line in server.stderr:
            if b"Server listening" in line:  # as sshd says it
                break
        else:
            return f"{argv} has exited"
        threading.Thread(target=drain, args=[server.stderr], daemon=True).start()
    return "ready"


def drain(log: IO[bytes]) -> None:
    """Read what a server says, so that it never waits for us."""
    for _ in log:
        pass


def end(config: dict[str, list[list[str]]], servers: list[subprocess.Popen[bytes]]) -> None:
    """End the servers, what they have left, and what else has begun."""
    for server in servers:
        server.terminate()
    for server in servers:
        server.wait()
    for argv in config["pids"]:
        left = subprocess.run(argv, check=False, capture_output=True).stdout
        for pid in map(int, left.split()):
            with suppress(ProcessLookupError):
                os.kill(pid, 9)
    for argv in config["end"]:
        subprocess.run(argv, check=False, capture_output=True)


if __name__ == "__main__":
    main()
