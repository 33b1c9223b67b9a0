"""`Job`: the public handle of one command in a Runner.  `lifecycle` does the work.

Only `kill` may be called from other threads and from signal handlers.  Every other call first
checks that it comes from the Runner's event loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast, get_args

import anyio

from currant._supervisor.readiness import why_attempt_not_ready
from currant._values.checks import check_choice, checked_signal
from currant._values.command import PIPE
from currant._values.errors import CommandError, NotReadyError, StdinClosedError
from currant._values.launch_spec import Pty, SignalTarget

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from anyio.abc import ByteSendStream

    from currant._supervisor.attempt import Attempt
    from currant._supervisor.lifecycle import JobState, Lifecycle
    from currant._values.command import Command
    from currant._values.lines import Line
    from currant._values.results import Result

__all__ = ["Job"]

EXIT_AFTER_STDIN = 0.2
"""Seconds to wait for the exit of a process that has closed its stdin, for the error's text."""


class Job:
    """One command inside a Runner; made by `Runner.start_soon` and `Runner.start`.

    A command that has ended may be run again, by `restart` or by `Runner.start` with its name.  The
    job stays the same object and begins another *life*: `state` is ``"queued"`` again, and `result`
    is None until that life ends, too.  A call that waits, such as `wait`, waits for the life in
    which it was called.  Attempts are numbered through all lives, and a `Result` tells of one life.
    """

    __slots__ = ("_lives", "_name")

    def __init__(self, name: str, lives: Mapping[str, Lifecycle]) -> None:
        self._name = name
        self._lives = lives

    @property
    def _life(self) -> Lifecycle:
        """The current or last life."""
        return self._lives[self._name]

    def __repr__(self) -> str:
        pid = f" pid={self.pid}" if self.pid is not None else ""
        return f"<Job {self.name!r} {self.state}{pid} attempts={self.attempts}>"

    @property
    def name(self) -> str:
        """The command's name in the Runner."""
        return self._name

    @property
    def command(self) -> Command:
        """The command of the current or last life, with the name that it has in the Runner."""
        return self._life.command

    @property
    def result(self) -> Result | None:
        """How the command ended; None before, and again while a later life lasts."""
        return self._life.result

    @property
    def pid(self) -> int | None:
        """The process ID of the command; None while no process runs."""
        return self._life.attempt.pid

    @property
    def attempts(self) -> int:
        """How often the command was started, in all lives, failed starts included."""
        return self._life.attempts

    @property
    def state(self) -> JobState:
        """``"queued"``, ``"running"``, ``"restarting"`` (soon), ``"stopping"`` or ``"ended"``."""
        return self._life.state

    @property
    def is_ready(self) -> bool:
        """Whether the process runs and is ready; without a `ready` probe, whether it runs."""
        return self._life.is_ready

    @property
    def restarts(self) -> int:
        """How often the command has been started again, by its policy or on request."""
        return self._life.restarts

    @property
    def tail(self) -> tuple[Line, ...]:
        """The last lines of the current or last attempt, both streams, at most twenty."""
        return self._life.attempt.output.tail

    async def ready(self) -> None:
        """Wait until the process is ready; without a `ready` probe, until the process runs.

        If no process runs, this waits for the next process.  Meanwhile, unread output that does not
        fit is discarded (see `Dropped`).
        Cancellation: harmless.

        Raises:
            NotReadyError: the process has exited, is being stopped, or has taken too long; the
                error carries the last lines of the output.  A restart does not change that.
        """
        self._check_loop("Job.ready")
        await self._until_ready()

    async def _until_ready_or_gone(self) -> None:
        """As `ready`, but raise the error when all processes of the attempt are gone.

        If the command does not restart, it has ended by then, and its name can be started again.
        Only `Runner.start` calls this.
        Cancellation: harmless.

        Raises:
            NotReadyError: as for `ready`.
        """
        await self._until_ready(until_gone=True)

    async def _until_ready(self, *, until_gone: bool = False) -> None:
        life = self._life
        times_ready, start = life.times_ready, life.starts + (not life.attempt.is_running)
        attempt: Attempt | None = None
        with self._waiting():
            while not life.is_ready and life.times_ready == times_ready:
                if attempt is None and life.starts == start:
                    attempt = life.attempt
                reason = why_attempt_not_ready(life, attempt)
                if reason is not None:
                    failed = attempt or life.attempt
                    if until_gone:
                        await self._until_gone(life, failed)
                    await self._raise_not_ready(failed, reason)
                await life.context.change.wait()

    async def _until_gone(self, life: Lifecycle, attempt: Attempt) -> None:
        """Wait until no process of `attempt` is left, and if no other attempt follows, for the end.

        Before another attempt, only the life itself ends escapees.  A second search would find the
        processes of that attempt, too, because they have the same name.
        """
        await life.context.change.wait_for(lambda: attempt.has_left_nothing or life.has_ended)
        if not attempt.has_left_nothing and life is self._life:
            await attempt.end_escapees()

    async def _raise_not_ready(self, attempt: Attempt, reason: str) -> None:
        with anyio.move_on_after(self._life.context.limits.end_of_output):  # for the last lines
            await attempt.output.ended()
        cause = None if attempt.error is None else attempt.error.__cause__
        raise NotReadyError(self.name, reason, attempt.output.tail) from cause

    async def wait(self) -> Result:
        """Wait until the command has ended, with all restarts by its policy, and return how.

        If the command is run again after that, this returns the result of the life in which it was
        called.  Any number of tasks may wait, any number of times.  Meanwhile, unread output that
        does not fit is discarded (see `Dropped`).
        Cancellation: harmless; the command goes on.
        """
        self._check_loop("Job.wait")
        life = self._life
        with self._waiting():
            await life.context.change.wait_for(lambda: life.result is not None)
        assert life.result is not None
        return life.result

    def kill(self, reason: str | None = None) -> None:
        """Stop this command and do not start it again; return at once.

        A second call while the command is stopping skips the rest of the grace.  When the command
        has ended, `restart` may run it again.  Any thread and any signal handler may call this.
        """
        self._life.kill(reason)

    async def restart(self) -> None:
        """Stop the process if there is one, and return when a new process runs.

        This counts as a restart, but bypasses the policy's limit and delay.  A command that has
        ended is run again, however it ended: it waits for its dependencies and in the queue of
        `max_processes`, as before its first start.
        Cancellation: the restart goes on.

        Raises:
            JobEndedError: the command is being stopped, the Runner has ended or is being stopped,
                the last process survived SIGKILL, or the command ends before it runs (`__cause__`
                is the reason if there is one: a `LaunchError` or `DependencyError`).
        """
        self._check_loop("Job.restart")
        if self._life.has_ended:
            self._life.context.runner.run_again(self._name)
        await self._life.restart()

    async def until_started(self) -> None:
        """Wait until the process runs, or no process will; return at once if a process runs.

        Cancellation: harmless.
        """
        self._check_loop("Job.until_started")
        life = self._life
        with self._waiting():
            await life.context.change.wait_for(
                lambda: life.attempt.process is not None or life.has_ended
            )

    async def send_signal(self, signal: int | str, to: SignalTarget = "group") -> bool:
        """Send `signal` to the command's process group; return whether it reached a process.

        `signal` is a number or a name, such as ``"HUP"``.  With ``to="leader"`` only the process
        that currant started gets the signal, and not the processes that it has started.

        A command that does not run is not an error.
        Cancellation: the signal may or may not have been sent.

        Raises:
            CommandError: there is no such signal, or `to` is neither ``"group"`` nor ``"leader"``.
        """
        self._check_loop("Job.send_signal")
        check_choice("to", to, get_args(SignalTarget))
        # Signal 0 reaches a process without doing anything.
        number = 0 if signal == 0 else checked_signal("signal", signal)
        return await self._life.attempt.send_signal(number, to)

    async def send(self, data: bytes) -> None:
        """Write all of `data` to the command's stdin; wait for the start and for room in the pipe.

        Meanwhile, unread output that does not fit is discarded (see `Dropped`).  If the command has
        a `pty`, the data is typed there, whatever `stdin` is.
        Cancellation: a part of the data may have been written.

        Raises:
            StdinClosedError: the command cannot read the data: it was built with neither
                ``stdin=PIPE`` nor a `pty`, no process runs, or the process closed the pipe.
            CommandError: `data` is not bytes.
        """
        self._check_loop("Job.send")
        if not isinstance(cast("object", data), (bytes, bytearray, memoryview)):
            raise CommandError(
                f"command {self.name!r}: send takes bytes, not {type(data).__name__}; "
                "encode a str with .encode()"
            )
        stdin = await self._open_stdin()
        if stdin is None:
            is_running = self._life.attempt.is_running  # A later attempt may have no pipe.
            raise self._stdin_closed("it is closed" if is_running else "the command does not run")
        with self._waiting():
            try:
                await stdin.send(data)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
                with anyio.move_on_after(EXIT_AFTER_STDIN):
                    await self._exited()
                raise self._stdin_closed("it is closed") from error

    async def _exited(self) -> None:
        """Wait for the exit of the present process, and for its last lines."""
        life, attempt = self._life, self._life.attempt
        await life.context.change.wait_for(lambda: attempt.exit is not None or life.has_ended)
        await attempt.output.ended()

    def _stdin_closed(self, problem: str) -> StdinClosedError:
        """Return the error of `send`, with the end and the last lines of a command that ended."""
        attempt = self._life.attempt
        end = attempt.exit or (self.result and (self.result.error or self.result.status))
        if end is None:
            return StdinClosedError(self.name, problem)
        return StdinClosedError(self.name, f"{problem}; it has ended: {end}", attempt.output.tail)

    async def close_stdin(self) -> None:
        """Close the command's stdin: the command reads end-of-file.

        This waits until the command runs, and does nothing if the command has ended or the pipe is
        closed.  A terminal (`pty`) stays open: the end-of-file character (^D) is typed, which ends
        the input of a program that reads line by line, but not of a program that reads each key.
        Cancellation: the pipe may be open or closed, the character typed or not.

        Raises:
            StdinClosedError: the command was built without ``stdin=PIPE`` or a `pty`.
        """
        self._check_loop("Job.close_stdin")
        if await self._open_stdin() is not None:
            with self._waiting():  # A terminal may have no room to type.
                await self._life.attempt.close_input()

    async def resize(self, rows: int, columns: int) -> None:
        """Set the size of the command's terminal; the programs there get SIGWINCH.

        Later processes start with that size, too.
        Cancellation: the size may or may not have been set.

        Args:
            rows: the number of lines, from 1 to 65535.
            columns: the number of characters in a line, from 1 to 65535.

        Raises:
            CommandError: a number is out of range, or the command was built without a `pty`.
        """
        self._check_loop("Job.resize")
        size = Pty(rows, columns)
        if not self.command.pty:
            raise CommandError(f"{self.name!r} has no terminal: it was built without a pty")
        await self._life.resize(size)

    def _check_loop(self, call: str) -> None:
        self._life.context.runner.home.check(call)

    def _waiting(self) -> AbstractContextManager[None]:
        """Mark this task as waiting for the commands, so that unread output does not block them."""
        return self._life.context.runner.channel.waiting()

    async def _open_stdin(self) -> ByteSendStream | None:
        """Wait until the command runs, and return the pipe; None if the command has ended."""
        if self.command.stdin != PIPE and not self.command.pty:
            raise StdinClosedError(self.name, "the command was built without stdin=PIPE or a pty")
        life = self._life
        with self._waiting():
            await life.context.change.wait_for(
                lambda: life.attempt.is_running or life.starts_no_more
            )
        process = life.attempt.process
        return process.stdin if process is not None and life.attempt.is_running else None
