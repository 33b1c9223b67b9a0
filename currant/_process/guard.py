"""The orphan guard: a tiny helper process that ends the commands when this program is gone.

It is a shell script, `guard.sh`, in a session of its own, which reads from a pipe that only this
program writes to.  The kernel closes that pipe for whoever dies, even by SIGKILL.

Three things must hold.  A group is told of before anything else is awaited after its start, and
taken back once, when it is gone.  No other process has the writing end: it is closed by every exec,
and after a fork by `close_in_fork`.  The end of the pipe without a full stop means death, and
nothing else does.

Rejected: ``PR_SET_PDEATHSIG``, which fires when the *thread* that started a process ends.  A Python
interpreter as the helper, which takes 20 times as long to start and 5 times the memory.
"""

from __future__ import annotations

import os
import subprocess
import warnings
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakSet

import anyio

from currant._system.marks import VARIABLE

if TYPE_CHECKING:
    from currant._process.stop import StopSpec

__all__ = ["OrphanGuard"]


SCRIPT = Path(__file__).with_name("guard.sh")

TICKS = 10
"""Ticks of the script in a second."""

ENDLESS = 10**9
"""Ticks that never are over."""


class OrphanGuard:
    """Knows the process groups of one run, and ends them if this program dies before it is closed.

    On Linux it ends all processes that carry the run's mark as well (see `currant._escapees`).
    Before it is started, or where it cannot be, it does nothing.

    Args:
        run: the run.
        exit_limit: seconds for which `aclose` waits until the helper has exited.
    """

    def __init__(self, run: str, exit_limit: float) -> None:
        self._run = run
        self._exit_limit = exit_limit
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: int | None = None
        self._longest = 0
        self._unsent = b""

    def start(self) -> None:
        """Start the helper, in about a millisecond."""
        try:
            read_end, self._pipe = os.pipe()
        except OSError as error:
            _warn(f"could not be started ({error})")
            return
        try:
            self._process = subprocess.Popen(
                ["/bin/sh", SCRIPT, self._run],
                stdin=read_end,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=_environment(),
                start_new_session=True,
            )
        except OSError as error:
            self._close_pipe()
            _warn(f"could not be started ({error})")
        else:
            os.set_blocking(self._pipe, False)
            _OPEN.add(self)
        finally:
            os.close(read_end)

    def expect(self, how: StopSpec) -> None:
        """Tell that a process is about to be started: it is there before its number is known.

        Until then it is an escapee, and all escapees have the longest grace there is.
        """
        ticks = _ticks(how.grace)
        if ticks > self._longest:
            self._longest = ticks
            self._tell(f"= {ticks}\n")

    def add(self, group: int, how: StopSpec) -> None:
        """Tell of a process group that is there from now on."""
        self._tell(f"+ {group} {how.signal} {_ticks(how.grace)}\n")

    def discard(self, group: int) -> None:
        """Tell that a process group is gone."""
        self._tell(f"- {group}\n")

    async def aclose(self) -> None:
        """Tell that nothing is left to guard, and wait for the helper's end.

        Cancellation: the helper is killed.
        """
        if self._process is None:
            return
        ended_before = self._process.poll() is not None
        self._tell(".\n")
        if self._unsent:  # it would take the end of its input for our death
            self._process.kill()
        self._close_pipe()
        try:
            with anyio.move_on_after(self._exit_limit):
                while self._process.poll() is None:  # noqa: ASYNC110 - no loop watches it
                    await anyio.sleep(0.001)
        finally:
            self._process.kill()  # nothing, where it has ended
            self._process.wait()
        if ended_before:
            _warn("ended before it was told to; who killed it?")

    def close_in_fork(self) -> None:
        """Close the pipe in a child without a program of its own, which may outlive this one."""
        self._close_pipe()

    def _tell(self, line: str) -> None:
        if self._pipe is None:
            return
        self._unsent += line.encode()
        try:
            self._unsent = self._unsent[os.write(self._pipe, self._unsent) :]
        except BlockingIOError:
            pass  # the helper is slow, or stopped: together with the next line
        except BrokenPipeError:
            self._close_pipe()

    def _close_pipe(self) -> None:
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None
            _OPEN.discard(self)


def _environment() -> dict[str, str]:
    """Return as little as a shell needs: what else there is might be taken for the script's own.

    And the mark of an outer Runner, if there is one, by which that one finds the helper.
    """
    inherited = {name: os.environ[name] for name in ("PATH", VARIABLE) if name in os.environ}
    return inherited | {"LC_ALL": "C"}


def _ticks(seconds: float) -> int:
    return ENDLESS if seconds * TICKS >= ENDLESS else ceil(seconds * TICKS)


def _warn(problem: str) -> None:
    warnings.warn(
        f"currant's orphan guard {problem}: if this program is killed, its commands run on",
        RuntimeWarning,
        stacklevel=2,
    )


_OPEN: WeakSet[OrphanGuard] = WeakSet()


def _close_in_fork() -> None:
    for guard in list(_OPEN):
        guard.close_in_fork()


os.register_at_fork(after_in_child=_close_in_fork)
