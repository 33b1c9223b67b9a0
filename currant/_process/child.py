"""A child process started with `subprocess.Popen`; a pidfd reports its exit.

A pidfd (Linux 5.3 and later) becomes readable when the process exits, so every event loop can wait
for an exit as it waits for a pipe: without a signal handler or a thread, and in the same way.

`anyio.open_process` costs more and differs between event loops.  For 1,000 starts of `true` in a
row, relative to `subprocess.run` in a loop, a `Child` reaches a rate of 1.0 on each event loop.
`anyio.open_process` reaches 0.8 on asyncio (on Python 3.11, which waits for each child in a
thread), 0.8 on trio (which starts each child in a thread) and 0.2 on uvloop (which forks all of
this program's memory).  A `Child` blocks the event loop no longer than that: in whichever thread a
start happens, the interpreter is locked until the new program runs.
"""

from __future__ import annotations

import os
from contextlib import nullcontext
from typing import TYPE_CHECKING, NamedTuple

import anyio

from currant._system import dispositions
from currant._system.forks import close_in_forks, no_fork, popen
from currant._system.groups import kill_unreaped
from currant._system.terminal import take_terminal
from currant._system.usage import as_usage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from currant._system.accounts import Credentials
    from currant._values.checks import StrOrPath
    from currant._values.usage import Usage

__all__ = ["Child", "SpawnSpec"]


UNKNOWN = 255
"""The return code if another part of this program reaped the child; as in asyncio, no success."""

POLL_INTERVAL = 0.01
"""Seconds between two looks for the exit of a process that has no pidfd."""


class SpawnSpec(NamedTuple):
    """A program to start, with arguments, standard files, a working directory and an environment.

    If `in_terminal` is true, the standard files are a terminal, which becomes the controlling
    terminal of the process.  `credentials` and `umask` replace those of this program, and
    `pass_fds` are further descriptors, which keep their numbers.  Without `new_session`, the
    process has a group of its own in the session of this program.
    """

    argv: Sequence[StrOrPath]
    stdin: int
    stdout: int
    stderr: int
    cwd: StrOrPath | None
    env: Mapping[bytes, bytes]
    in_terminal: bool = False
    credentials: Credentials | None = None
    umask: int | None = None
    pass_fds: tuple[int, ...] = ()
    new_session: bool = True

    @property
    def is_plain(self) -> bool:
        """Whether every event loop can start the process."""
        has_own_identity = self.credentials is not None or self.umask is not None
        is_set_up = self.in_terminal or has_own_identity or self.pass_fds
        return self.new_session and not is_set_up

    def options(self) -> dict[str, Any]:
        """Return the keyword arguments for `Popen` and `anyio.open_process`, which are the same."""
        extra: dict[str, Any] = {} if self.credentials is None else self.credentials._asdict()
        if self.umask is not None:
            extra["umask"] = self.umask
        if self.pass_fds:
            extra["pass_fds"] = self.pass_fds
        return extra | {
            "stdin": self.stdin,
            "stdout": self.stdout,
            "stderr": self.stderr,
            "cwd": self.cwd,
            "env": self.env,
            "start_new_session": self.new_session,
        }


class Child:
    """A child process.  The first wait or look after the exit reaps the child.

    The constructor starts the process, and blocks until the program runs.

    Args:
        spec: the program to start.
        with_pidfd: whether to wait for the exit through a pidfd; if not, `wait` polls.

    Attributes:
        pid: the pid, which no other process has until the child is reaped.
        pidfd: its pidfd until it is closed; None if it has no pidfd.
        is_status_lost: whether another part of this program reaped the child.
        usage: what the child has used; None until we have reaped it.

    Raises:
        OSError: the process could not be started; nothing is left behind.
    """

    def __init__(self, spec: SpawnSpec, *, with_pidfd: bool = True) -> None:
        ignored = dispositions.ignored_signals()
        steps = _steps_before_exec(spec, ignored)
        catching = dispositions.caught(ignored) if ignored and steps is None else nullcontext()
        with catching:
            self._process = popen(spec.argv, steps, **spec.options())
        self.pid = self._process.pid
        self._wait_lock: anyio.Lock | None = None  # as soon as a task waits
        self._closed = False
        self.is_status_lost: bool = False
        self.usage: Usage | None = None
        self.pidfd: int | None = None
        try:
            if with_pidfd:
                with no_fork:
                    self.pidfd = os.pidfd_open(self.pid)
                    close_in_forks(self)
        except ProcessLookupError:  # Another part of this program has reaped the child already.
            self._note_lost_status()
        except OSError:
            kill_unreaped(self.pid)
            self._reap(0)
            raise

    @property
    def returncode(self) -> int | None:
        """The return code, as `subprocess` has it; None while the child runs.  Reading it reaps."""
        if self._process.returncode is None:
            self._reap(os.WNOHANG)
        return self._process.returncode

    async def wait(self) -> int:
        """Wait for the exit and return the return code.

        Any number of tasks may wait.
        Cancellation: harmless.
        """
        while (returncode := self.returncode) is None:
            if self._wait_lock is None:
                self._wait_lock = anyio.Lock(fast_acquire=True)
            async with self._wait_lock:  # An event loop lets one task at a time wait for a file.
                if self.returncode is None:
                    await self._wait_for_change()
        return returncode

    async def _wait_for_change(self) -> None:
        if self._closed:
            raise anyio.ClosedResourceError
        if self.pidfd is None:
            await anyio.sleep(POLL_INTERVAL)
            return
        try:
            await anyio.wait_readable(self.pidfd)
        except anyio.ClosedResourceError:
            if self.returncode is None:
                raise

    def close(self) -> None:
        """Close the pidfd; a task that still waits for the exit gets `ClosedResourceError`."""
        self._closed = True
        with no_fork:
            pidfd, self.pidfd = self.pidfd, None
            if pidfd is not None:
                if self._wait_lock is not None and self._wait_lock.locked():
                    anyio.notify_closing(pidfd)
                os.close(pidfd)

    def close_in_fork(self) -> None:
        """Close the pidfd in a fork, of which the process is no child."""
        self._closed = True
        pidfd, self.pidfd = self.pidfd, None
        if pidfd is not None:
            os.close(pidfd)

    def _reap(self, options: int) -> None:
        # We do not use `Popen.poll`: if another part of the program reaped the child, it reports
        # success.
        try:
            pid, status, used = os.wait4(self.pid, options)
        except ChildProcessError:
            self._note_lost_status()
        else:
            if pid:
                self._process.returncode = os.waitstatus_to_exitcode(status)
                self.usage = as_usage(used)

    def _note_lost_status(self) -> None:
        self._process.returncode = UNKNOWN
        self.is_status_lost = True


def _steps_before_exec(spec: SpawnSpec, ignored: Sequence[int]) -> Callable[[], object] | None:
    """Return the `preexec_fn` of a start; None if nothing is to do, because vfork is faster.

    Each step says why it is safe.
    """
    steps: list[Callable[[], object]] = []
    if not spec.new_session:
        steps.append(os.setpgrp)
    if spec.in_terminal:
        steps.append(take_terminal())
    if dispositions.need_reset(ignored) or (steps and ignored):
        steps.append(dispositions.reset)
    if not steps:
        return None

    def run() -> None:
        for step in steps:
            step()

    return run
