"""A process of our own: started with `subprocess.Popen`, its exit learnt of through a pidfd.

A pidfd (Linux 5.3 and later) becomes readable when its process has ended, so every event loop can
wait for it as it waits for a pipe: no signal handler, no thread, and the same on all of them.

Where there are pidfds this takes the place of `anyio.open_process`, which costs more and differs
from loop to loop.  Of 1,000 starts of `true`, one at a time, measured as a share of the rate of
`subprocess.run` in a loop: 1.0 on each loop, against 0.8 on asyncio (whose Python 3.11 waits for
each child in a thread of its own), 0.8 on trio (which starts each from a thread) and 0.2 on uvloop
(which forks all of this program's memory).  And a start blocks the event loop no longer than
theirs: the interpreter is locked until the new program runs, in whichever thread that is done.

A process in a terminal is started here on every system: it has to take the terminal between its
fork and its exec, and `anyio.open_process` has no place for that.  Where there are no pidfds
(macOS) its exit is looked for again and again.
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, NamedTuple

import anyio

from currant._system.groups import kill_unreaped
from currant._system.terminal import take_terminal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from currant._values.checks import StrOrPath

__all__ = ["Child", "SpawnSpec"]


UNKNOWN = 255
"""The exit code where the system does not tell it, as asyncio has it: none that means success."""

LOOK_AGAIN_AFTER = 0.01
"""Seconds between two looks for the exit of a process that has no pidfd."""


class SpawnSpec(NamedTuple):
    """A program, and what it is started with: its arguments, files, folder and variables.

    Where `in_terminal` is true, its files are a terminal, which is to be its controlling one.
    """

    argv: Sequence[StrOrPath]
    stdin: int
    stdout: int
    stderr: int
    cwd: StrOrPath | None
    env: Mapping[str, str]
    in_terminal: bool = False

    def options(self) -> dict[str, Any]:
        """Return the keyword arguments that `Popen` and `anyio.open_process` take alike."""
        return {
            "stdin": self.stdin,
            "stdout": self.stdout,
            "stderr": self.stderr,
            "cwd": self.cwd,
            "env": self.env,
            "start_new_session": True,
        }


class Child:
    """A child process; whoever first waits or asks for its end when it has come reaps it.

    Building it starts the process in a session of its own, and blocks until its program runs.

    Args:
        spec: what to start.
        has_pidfd: whether to wait for the exit through a pidfd; if not, `wait` polls.

    Attributes:
        pid: its number, which is nobody else's until it has been reaped.
        pidfd: its pidfd, until it is closed; None where the system has none.

    Raises:
        OSError: it could not be started; nothing is left behind.
    """

    def __init__(self, spec: SpawnSpec, *, has_pidfd: bool = True) -> None:
        take = take_terminal() if spec.in_terminal else None
        self._process: subprocess.Popen[bytes] = subprocess.Popen(
            spec.argv,
            preexec_fn=take,  # noqa: PLW1509 - see there
            **spec.options(),
        )
        self.pid = self._process.pid
        self._turn = anyio.Lock(fast_acquire=True)
        self._closed = False
        self.pidfd: int | None = None
        try:
            if has_pidfd:
                self.pidfd = os.pidfd_open(self.pid)
        except OSError:
            kill_unreaped(self.pid)
            self._reap(0)
            raise

    @property
    def returncode(self) -> int | None:
        """How it ended, as `subprocess` has it; None while it runs.  Asking reaps it."""
        self._reap(os.WNOHANG)
        return self._process.returncode

    async def wait(self) -> int:
        """Wait until it has ended, and return how.

        For any number of tasks.
        Cancellation: harmless.
        """
        while (returncode := self.returncode) is None:
            async with self._turn:  # no event loop lets two tasks wait for one descriptor
                if self.returncode is None:
                    await self._wait_before_looking_again()
        return returncode

    async def _wait_before_looking_again(self) -> None:
        if self._closed:
            raise anyio.ClosedResourceError
        if self.pidfd is None:
            await anyio.sleep(LOOK_AGAIN_AFTER)
            return
        try:
            await anyio.wait_readable(self.pidfd)
        except anyio.ClosedResourceError:
            if self.returncode is None:
                raise

    def close(self) -> None:
        """Free the pidfd; whoever still waits for the end is told that it is closed."""
        self._closed = True
        pidfd, self.pidfd = self.pidfd, None
        if pidfd is not None:
            anyio.notify_closing(pidfd)
            os.close(pidfd)

    def _reap(self, options: int) -> None:
        if self._process.returncode is not None:
            return
        # Not `Popen.poll`: where another one has reaped our child, it says that it succeeded.
        try:
            pid, status = os.waitpid(self.pid, options)
        except ChildProcessError:
            self._process.returncode = UNKNOWN
        else:
            if pid:
                self._process.returncode = os.waitstatus_to_exitcode(status)
