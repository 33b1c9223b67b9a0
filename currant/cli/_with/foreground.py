"""Lend the terminal to one command, as a shell does to its foreground job.

The command has a process group of its own in the session of currant, so that it can be stopped with
all its descendants, and still has the terminal.  While it has the foreground, Ctrl-C reaches the
command and not currant: a debugger goes on, and a test runner ends as it likes.

Rejected: to leave the command in the group of currant.  Nothing would tell its descendants from
the other programs of that group, such as the rest of a pipeline, or make.
"""

from __future__ import annotations

import os
import signal as signals
from contextlib import suppress
from typing import TYPE_CHECKING

from currant._system.foreground import ControllingTerminal, signal_that_stopped

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from currant._supervisor.job import Job

__all__ = ["Foreground"]

WANTS_TERMINAL = (signals.SIGTTIN, signals.SIGTTOU)
"""The signals that stop a program in the background that uses the terminal."""


class Foreground:
    """The loan of the terminal to one command.

    If stdin and stdout are terminals, the command gets the foreground at its start.  Otherwise it
    gets the foreground when it uses the terminal: the program that reads its output through a pipe
    may be a pager, which reads the keyboard, too.

    Args:
        job: the command, which is in the session of currant.

    Attributes:
        was_lent: whether the command has had the foreground.
    """

    def __init__(self, job: Job) -> None:
        self.was_lent = False
        self._job = job
        self._is_lent = False
        self._is_wanted = os.isatty(0) and os.isatty(1)
        self._terminal: ControllingTerminal | None = None
        with suppress(OSError):  # There is none.
            self._terminal = ControllingTerminal()

    async def lend(self, child_signals: AsyncIterator[object]) -> None:
        """Lend the terminal to the command from its start on, until this is cancelled.

        Args:
            child_signals: yields at each SIGCHLD.
        """
        await self._job.until_started()
        self.resume()
        async for _ in child_signals:
            pid = self._job.pid
            signal = None if pid is None else signal_that_stopped(pid)
            if signal in WANTS_TERMINAL:
                self._is_wanted = True
                self.resume()
                if self._is_lent:
                    await self._job.send_signal(signals.SIGCONT)
            elif signal is not None and self._is_lent:
                self._take_back()
                # As if Ctrl-Z had been typed for the whole job of the shell: its other programs
                # stop, and currant pauses all commands.
                os.kill(0, signals.SIGTSTP)

    def resume(self) -> None:
        """Give the terminal to the command again, as after a pause, if currant has the terminal."""
        pid, terminal = self._job.pid, self._terminal
        if self._is_wanted and pid is not None and terminal is not None and terminal.is_ours():
            self._is_lent = self.was_lent = True
            terminal.give_to(pid)

    def close(self) -> None:
        """Take the terminal back, in the modes that it had at first: the command has ended."""
        if self._terminal is None:
            return
        if self._is_lent:
            self._take_back()
            self._terminal.restore_modes()
        self._terminal.close()
        self._terminal = None

    def _take_back(self) -> None:
        self._is_lent = False
        if self._terminal is not None:
            self._terminal.give_to(os.getpgrp())
