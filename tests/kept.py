"""What runs beside a test process, and ends with it: started by `keeper`."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

__all__ = ["free_port", "kept"]

KEEPER = Path(__file__).with_name("keeper.py")


def free_port() -> int:
    """Return a port of 127.0.0.1 that no program listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def kept(
    *,
    serve: list[list[str]],
    begin: Sequence[list[str]] = (),
    pids: Sequence[list[str]] = (),
    end: Sequence[list[str]] = (),
) -> Generator[str]:
    """Have a keeper begin, serve, and end all; yield ``ready`` or an error."""
    folders = ["/run/sshd"] if os.getuid() == 0 else []  # where a server of root wants to be
    config = {"folders": folders, "begin": begin, "serve": serve, "pids": pids, "end": end}
    env = {name: value for name, value in os.environ.items() if name != "CURRANT_TEST"}
    with subprocess.Popen(
        [sys.executable, "-IS", str(KEEPER), json.dumps(config)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=env,
    ) as keeper:
        assert keeper.stdout is not None
        said = keeper.stdout.readline().decode().strip()
        keeper.wait()  # It has left a process of its own.
        yield said
