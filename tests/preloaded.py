"""A program that runs `currant` in forks of itself, because most of its time goes to imports.

    python -m tests.preloaded serve SOCKET                    until its stdin ends
    python -IS tests/preloaded.py call SOCKET ARGUMENT...     as ``currant ARGUMENT...``

Each call is a process of its own, with the arguments, environment, folder and standard streams of
the caller.  If the caller is killed, so is currant.  A signal to the caller does not reach currant,
nor does a terminal: a test that needs these starts currant itself.

The server leaves the process tree and the environment of the test process, as `keeper` does.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import traceback
from contextlib import suppress
from typing import NoReturn


def call(path: str, arguments: list[str]) -> int:
    """Run currant in a fork of the server; return its exit status as a shell does."""
    request = json.dumps([arguments, os.getcwd(), dict(os.environ)]).encode()
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(path)
        socket.send_fds(server, [b"%d\n" % len(request)], [0, 1, 2])
        server.sendall(request)
        status = server.recv(10)
        return int(status) if status else 255


def serve(path: str) -> None:
    """Import currant, return in this process, and answer in another one until stdin ends."""
    import anyio  # noqa: PLC0415 - a caller needs none of these

    from currant.cli import _commands  # noqa: F401, PLC0415
    from currant.cli._map import command  # noqa: F401, PLC0415

    anyio.run(anyio.sleep, 0)  # imports the event loop
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    if os.fork():
        os._exit(0)
    os.setsid()
    while True:
        ready, _, _ = select.select([0, listener.fileno()], [], [], 1.0)
        if 0 in ready:
            return
        if ready:
            connection, _ = listener.accept()
            if not os.fork():
                listener.close()
                _answer(connection)
            connection.close()
        while _reap():
            pass


def _reap() -> bool:
    try:
        return os.waitpid(-1, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return False


def _answer(connection: socket.socket) -> NoReturn:
    """Run currant for one caller, and send the exit status."""
    begin, streams, _, _ = socket.recv_fds(connection, 20, 3)
    size, _, data = begin.partition(b"\n")
    while len(data) < int(size):
        data += connection.recv(1 << 20)
    alive, lifeline = os.pipe()  # Only the fork has the other end until it exits.
    pid = os.fork()
    if pid == 0:
        connection.close()
        os.close(alive)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        _become_currant(*json.loads(data))
    for fd in (*streams, lifeline):
        os.close(fd)
    ready, _, _ = select.select([alive, connection.fileno()], [], [])
    if alive not in ready:
        os.kill(pid, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with suppress(BrokenPipeError):  # The caller was killed.
        connection.sendall(b"%d" % (code if code >= 0 else 128 - code))
    os._exit(0)


def _become_currant(arguments: list[str], cwd: str, env: dict[str, str]) -> NoReturn:
    from currant.cli import main  # noqa: PLC0415

    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = ["currant", *arguments]
    # The streams of the server remember what kind of file they had.
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        errors = "backslashreplace" if name == "stderr" else None
        stream = open(number, mode, errors=errors, closefd=False)  # noqa: SIM115 - until the end
        setattr(sys, name, stream)
    try:
        main()  # This ends the process.
    finally:
        traceback.print_exc()
        os._exit(1)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        sys.exit(call(sys.argv[2], sys.argv[3:]))
