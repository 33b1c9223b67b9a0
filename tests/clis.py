"""The `currant` command as a process with open ends: pipes, or a terminal of its own.

Each step waits for output or for an exit, with a deadline.
"""

from __future__ import annotations

import errno
import os
import pty
import re
import selectors
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import currant
from currant._system.files import bytes_in_pipe
from currant.sinks._live import AGENTS
from tests.waiting import LIMIT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import ExitStack
    from types import TracebackType
    from typing import Self

ROOT = Path(currant.__file__).parents[1]
CURRANT = (sys.executable, "-m", "currant")

TAKE_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Make stdin the controlling terminal of the session, so that keys become signals."""

NO_TERMINAL = (
    sys.executable,
    "-c",
    "import os, sys; os.setsid(); os.execvp(sys.argv[1], sys.argv[1:])",
)
"""A program that starts currant without the terminal on which the tests may run."""

COLOR = re.compile(rb"\x1b\[([0-9;]+)m(\w+ \| )\x1b\[0m")
"""A coloured prefix: the codes of the colour, and the prefix."""

BUFFERED = 20_000
"""Lines of ``seq`` that fit into the buffers although the test does not read currant's output.

They are 106 KiB, and 185 KiB with prefixes.  The pipe that currant writes to holds 64 KiB.  The
other lines are in currant and in the command's pipe, each of which holds at least 64 KiB, even if
each read finds one page only.
"""

STUBBORN = "trap '' TERM; while :; do sleep 9999; done"
"""A command that only SIGKILL can end, soon after its start."""

STUBBORN_WHEN_READY = "trap '' TERM; echo ready; while :; do sleep 9999; done"
"""A command that only SIGKILL can end once it has written a line."""

PAUSES = """
trap 'echo resumed' CONT
echo $$
sleep 9999 &
while :; do wait; done
"""
"""A command that writes its PID, and then a line each time it is resumed."""


class Ended(NamedTuple):
    """The exit status and the whole output of currant."""

    status: int
    out: bytes
    err: bytes


class Cli:
    """A currant process with the open ends of its output."""

    def __init__(self, process: subprocess.Popen[bytes], sources: Mapping[str, int]) -> None:
        self.process = process
        self._open = dict(sources)
        self._written = {"stdout": b"", "stderr": b""}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the process if a failed test has left it running."""
        for stream in list(self._open):
            self.close(stream)
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is None:
                self.process.send_signal(number)
                try:
                    self.process.wait(5)
                except subprocess.TimeoutExpired:
                    continue

    def read_until(self, *texts: bytes) -> None:
        """Read until currant has written each of `texts` to either stream."""
        deadline = time.monotonic() + LIMIT
        while not all(any(text in data for data in self._written.values()) for text in texts):
            assert self._open, f"exited before it wrote {texts}: {self._written}"
            self._read(deadline, f"waiting for {texts}")

    def wait_until_full(self, stream: str) -> None:
        """Wait until the pipe of `stream` is full, reading nothing."""
        deadline = time.monotonic() + LIMIT
        while bytes_in_pipe(self._open[stream]) < 65536:
            assert time.monotonic() < deadline, "the pipe is not full"

    def written(self, stream: str) -> bytes:
        """Return the output read from `stream` so far."""
        return self._written[stream]

    def signal(self, number: int) -> None:
        """Send currant a signal."""
        self.process.send_signal(number)

    def close(self, stream: str = "stdout") -> None:
        """Close the pipe of `stream`, as ``head`` does when it exits."""
        os.close(self._open.pop(stream))

    def wait(self) -> int:
        """Wait for the exit without reading; return the status as a shell reports it."""
        status = self.process.wait(LIMIT)
        return status if status >= 0 else 128 - status

    def end(self) -> Ended:
        """Read all output and wait for the exit."""
        deadline = time.monotonic() + LIMIT
        while self._open:
            self._read(deadline, "waiting for end-of-file")
        return Ended(self.wait(), self._written["stdout"], self._written["stderr"])

    def _read(self, deadline: float, what: str) -> None:
        with selectors.DefaultSelector() as selector:
            for stream, fd in self._open.items():
                selector.register(fd, selectors.EVENT_READ, stream)
            ready = selector.select(max(0, deadline - time.monotonic()))
        assert ready, f"{what}: {self._written}"
        for key, _ in ready:
            data = _read(key.fd)
            self._written[key.data] += data
            if not data:
                self.close(key.data)


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 65536)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return b""  # Linux reports EIO after the last process has closed the terminal.


class Start(Protocol):
    """The type of the fixtures `start` and `on_terminal`."""

    def __call__(
        self,
        *arguments: str | bytes,
        subcommand: str = "run",
        stdin: int = ...,
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.PIPE,
        cwd: Path = ROOT,
        env: Mapping[str, str] = {},
        before: Sequence[str] = (),
        columns: int = 0,
    ) -> Cli:
        """Start currant and return at once; only streams that are pipes are read."""
        ...


class Run(Protocol):
    """The type of the fixture `run`."""

    def __call__(
        self,
        *arguments: str | bytes,
        subcommand: str = "run",
        cwd: Path = ROOT,
        env: Mapping[str, str] = {},
    ) -> Ended:
        """Run currant; return its exit status and its whole output."""
        ...


def start_with_pipes(
    stack: ExitStack,
    /,
    *arguments: str | bytes,
    subcommand: str = "run",
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.PIPE,
    stderr: int = subprocess.PIPE,
    cwd: Path = ROOT,
    env: Mapping[str, str] = {},
    before: Sequence[str] = (),
    columns: int = 0,
) -> Cli:
    """Start currant with pipes for its output; `stack` ends currant if the test does not."""
    process = subprocess.Popen(
        [*before, *CURRANT, subcommand, *arguments],
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        cwd=cwd,
        env=environment(env),
    )
    sources = {}
    for name, pipe in (("stdout", process.stdout), ("stderr", process.stderr)):
        if pipe is not None:
            sources[name] = os.dup(pipe.fileno())
            pipe.close()
    return stack.enter_context(Cli(process, sources))


def start_on_terminal(
    stack: ExitStack,
    /,
    *arguments: str | bytes,
    subcommand: str = "run",
    stdin: int = subprocess.PIPE,
    stdout: int = subprocess.PIPE,
    stderr: int = subprocess.PIPE,
    cwd: Path = ROOT,
    env: Mapping[str, str] = {},
    before: Sequence[str] = (),
    columns: int = 0,
) -> Cli:
    """Start currant on a terminal of its own, on which `type_on` types.

    `before` is a program that starts currant, with its own arguments.  `columns` is the width of
    the terminal; 0: unknown.  `run` and `start` have a status line and keys only if `env` has
    ``CI``, which says whether a person watches: ``{"CI": ""}``.
    """
    without_keys = ["--no-keys"] if subcommand in ("run", "start") and "CI" not in env else []
    words = [subcommand, *without_keys, *arguments]
    ours, terminal = pty.openpty()
    termios.tcsetwinsize(ours, (24 if columns else 0, columns))
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", TAKE_TERMINAL, *before, *CURRANT, *words],
            stdin=terminal if stdin == subprocess.PIPE else stdin,
            stdout=terminal if stdout == subprocess.PIPE else stdout,
            stderr=terminal if stderr == subprocess.PIPE else stderr,
            cwd=cwd,
            env=environment({"TERM": "xterm", **env}),
            start_new_session=True,
        )
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(terminal)
    return stack.enter_context(Cli(process, {"stdout": ours}))


def environment(changes: Mapping[str, str] = {}) -> dict[str, str]:
    """Return the environment for currant: the test's, without the variables about terminals."""
    colors = (
        "NO_COLOR",
        "FORCE_COLOR",
        "CLICOLOR",
        "CLICOLOR_FORCE",
        "COLORTERM",
        "TTY_COMPATIBLE",
    )
    unwanted = (*colors, *AGENTS, "CI", "COLUMNS", "GITHUB_ACTIONS", "TERM", "TMUX")
    return {k: v for k, v in os.environ.items() if k not in unwanted} | dict(changes)


def type_on(cli: Cli, keys: bytes) -> None:
    """Type `keys` on the terminal of `cli`."""
    os.write(cli._open["stdout"], keys)


def lines_of(name: str, output: bytes) -> list[bytes]:
    """Return the lines of `output` that have the prefix of `name`, without it."""
    prefix = f"{name} | ".encode()
    return [line.removeprefix(prefix) for line in output.splitlines() if line.startswith(prefix)]


def numbers(last: int) -> list[bytes]:
    """Return the lines that ``seq`` writes."""
    return [b"%d" % number for number in range(1, last + 1)]


def plain(output: bytes) -> bytes:
    """Return what a terminal got without its colours and its carriage returns."""
    return re.sub(rb"\x1b\[[0-9;]*m", b"", output).replace(b"\r\n", b"\n")
