"""One command's whole life, straight down the page: `Job.live`, and below it what it calls.

A life is a row of attempts (`_attempt`) with waits between them.  The position in these coroutines
is the state; `Job.state` only shows it.  Beside them one watcher for all attempts waits at the kill
barrier; a last throw of the barrier lets it go.

Stop beats restart: the barrier is looked at right before each launch and, by the watcher task,
right after it.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

import anyio
from anyio.lowlevel import checkpoint

from currant._supervisor.attempt import OUTPUT_TIME, Attempt, AttemptContext
from currant._synchronization import ChildBarrier, KillBarrier, Notifier
from currant._values.checks import checked_signal
from currant._values.command import PIPE, Command, with_grace, with_pty
from currant._values.errors import (
    CommandError,
    CurrantError,
    DependencyError,
    JobEndedError,
    LaunchError,
    NotReadyError,
    StdinClosedError,
)
from currant._values.launch_spec import Pty
from currant._values.messages import Aborted, BatchMessage, Exited, Failed, Restarting, Skipped
from currant._values.restart import delay_before_restart, ends_in_a_row
from currant._values.results import Result, Status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from anyio.abc import ByteSendStream

    from currant._channel.channel import Channel
    from currant._process.launcher import Launcher
    from currant._values.lines import Line
    from currant._values.policies import KillOthersOn, Policies

__all__ = ["Job", "JobContext", "JobState"]


JobState: TypeAlias = Literal["queued", "running", "restarting", "stopping", "ended"]


@dataclass(frozen=True, slots=True)
class JobContext:
    """What a job has from its Runner.

    Attributes:
        launcher: what starts its processes.
        channel: where its messages go.
        barrier: the Runner's; its own barrier is below that one.
        starting: gives one start its turn after the other: each blocks the event loop for a third
            of a millisecond, and between two all others have theirs.
        take_from_queue: has a killed job end at once that still waits for its turn.
        until_unneeded: waits until no process runs of the commands that a job's has to outlive.
    """

    launcher: Launcher
    channel: Channel
    barrier: KillBarrier
    starting: anyio.Lock
    take_from_queue: Callable[[Job], None]
    until_unneeded: Callable[[Job], Awaitable[None]]


class Job:
    """One command inside a Runner; made by `Runner.start_soon` and `Runner.start`.

    Attributes:
        command: the command, with the name that it goes by.
        result: how it ended; None before.
    """

    def __init__(self, command: Command, policies: Policies, context: JobContext) -> None:
        self.command = command
        self.result: Result | None = None
        self._policies = policies
        self._context = context
        self._barrier = ChildBarrier(context.barrier)
        self._killed = False
        self._phase: Literal["queued", "running", "restarting", "ended"] = "queued"
        self._change = Notifier()
        self._to_launch = with_grace(command, policies.grace)
        self._attempt_context = AttemptContext(
            context.launcher,
            context.channel,
            self._barrier,
            self._change,
            policies.grace,
            policies.capture,
        )
        self._attempt = Attempt(self._to_launch, 0, self._attempt_context)
        self._unless_killed: anyio.CancelScope | None = None  # around what a kill cuts short
        self._starts = 0
        self._times_ready = 0  # of the attempts before this one

        # What comes after this attempt.
        self._ends_in_a_row = 0
        self._delay: float | None = None
        self._restart_asked = False
        self._pause: anyio.CancelScope | None = None

    def __repr__(self) -> str:
        pid = f" pid={self.pid}" if self.pid is not None else ""
        return f"<Job {self.name!r} {self.state}{pid} attempts={self.attempts}>"

    @property
    def name(self) -> str:
        """The name that the command goes by."""
        return self.command.name

    @property
    def pid(self) -> int | None:
        """The number of its process; None while there is none."""
        return self._attempt.pid

    @property
    def attempts(self) -> int:
        """How often it was started, or tried to be."""
        return self._attempt.number

    @property
    def state(self) -> JobState:
        """``"queued"``, ``"running"``, ``"restarting"`` (soon), ``"stopping"`` or ``"ended"``."""
        if self._phase != "ended" and (self._barrier.thrown or self._attempt.is_stopping):
            return "stopping"
        return self._phase

    @property
    def grace(self) -> float:
        """Seconds that the command has to end after it was asked to."""
        return self._policies.grace

    @property
    def restarts(self) -> int:
        """How often it has been started again."""
        return max(0, self.attempts - 1)

    @property
    def tail(self) -> tuple[Line, ...]:
        """The last lines of the current or last attempt, both streams, at most twenty."""
        return self._attempt.output.tail

    @property
    def starts(self) -> int:
        """How many of its processes have run."""
        return self._starts

    @property
    def is_ready(self) -> bool:
        """Whether its process runs and is ready: its probe has said so, or it has none."""
        return self._attempt.is_ready and self._attempt.runs and self.state == "running"

    @property
    def times_ready(self) -> int:
        """How often it has become ready."""
        return self._times_ready + self._attempt.is_ready

    @property
    def is_ending(self) -> bool:
        """Whether it has ended or is being stopped for good."""
        return self._barrier.thrown or self._phase == "ended"

    @property
    def is_gone(self) -> bool:
        """Whether none of its processes runs, and none will; its output may still be on its way."""
        return self._phase == "ended" or (self._barrier.thrown and not self._attempt.may_run)

    async def changed(self) -> None:
        """Wait until something about the command has changed.

        Cancellation: harmless.
        """
        await self._change.wait()

    async def ready(self) -> None:
        """Wait until its process is ready; without a probe, until it runs.

        Where no process runs, until the next one is.  While it waits and nobody iterates over the
        Runner, output that does not fit is discarded (see `Dropped`).
        Cancellation: harmless.

        Raises:
            NotReadyError: the process has ended, is being stopped, or has taken too long; it
                carries the last lines of the output.  A restart does not change that.
        """
        times, start = self.times_ready, self._starts + (not self._attempt.runs)
        attempt: Attempt | None = None
        with self._context.channel.waiting():
            while not self.is_ready and self.times_ready == times:
                if attempt is None and self._starts == start:
                    attempt = self._attempt
                reason = self._why_not_ready(attempt)
                if reason is not None:
                    await self._raise_not_ready(attempt or self._attempt, reason)
                await self._change.wait()

    def _why_not_ready(self, attempt: Attempt | None) -> str | None:
        """Return why `attempt`, or where it is None the next one, will not be ready; None: may."""
        if attempt is not None:
            error = attempt.error
            if isinstance(error, NotReadyError):
                return error.reason
            if error is not None:
                return str(error)
            if attempt.exit is not None and not attempt.may_become_ready:
                return f"it has ended: {attempt.exit}"
        if self.result is not None:
            return f"it has ended: {self.result.error or self.result.exit or self.result.status}"
        if self._barrier.thrown or (attempt is not None and attempt.is_stopping):
            return "it is being stopped"
        return None

    async def _raise_not_ready(self, attempt: Attempt, reason: str) -> None:
        with anyio.move_on_after(OUTPUT_TIME):  # for the last lines
            await attempt.output.ended()
        cause = None if attempt.error is None else attempt.error.__cause__
        raise NotReadyError(self.name, reason, attempt.output.tail) from cause

    async def wait(self) -> Result:
        """Wait until the command has ended for good, and return how.

        For any number of tasks, any number of times.  While it waits and nobody iterates over the
        Runner, output that does not fit is discarded (see `Dropped`).
        Cancellation: harmless; the command goes on.
        """
        with self._context.channel.waiting():
            await self._change.wait_for(lambda: self.result is not None)
        assert self.result is not None
        return self.result

    def kill(self, reason: str | None = None) -> None:
        """Stop this command, whatever it does, and do not start it again; return at once.

        A second call while it is still stopping skips what is left of the grace.
        """
        if self._killed:
            self.hurry()
        else:
            self._killed = True
            if self._barrier.thrown:  # with all others: it need not wait for those that need it
                self._attempt.stop_soon()
            self._barrier.throw(reason)
            self._change.notify_all()
            self._context.take_from_queue(self)

    def hurry(self) -> None:
        """Skip what is left of the grace, if the command is stopping; return at once."""
        if self._barrier.thrown:
            self._attempt.stop_soon(at_once=True)

    async def restart(self) -> None:
        """Stop the process if there is one, and return when a new one runs.

        It counts as a restart, but asks no policy: not for its leave, and not for its delay.
        Cancellation: the restart goes on.

        Raises:
            JobEndedError: the command has ended or is being stopped, or ends before it runs.
        """
        if self.is_ending:
            raise JobEndedError(self.name, "restart")
        starts = self._starts
        self._restart_asked = True
        if not self._attempt.is_starting:
            self._attempt.stop_soon()
        if self._pause is not None:
            self._pause.cancel()
        with self._context.channel.waiting():
            await self._change.wait_for(lambda: self._starts > starts or self._phase == "ended")
        if self._phase == "ended":
            raise JobEndedError(self.name, "restart")

    async def until_started(self) -> None:
        """Wait until its process runs, or none will any more; return at once if one does.

        Cancellation: harmless.
        """
        with self._context.channel.waiting():
            await self._change.wait_for(
                lambda: self._attempt.process is not None or self._phase == "ended"
            )

    async def send_signal(self, signal: int) -> bool:
        """Send `signal` to the command's whole process group; return whether it reached anybody.

        A command that does not run is not an error.
        Cancellation: the signal may have been sent or not.

        Raises:
            CommandError: there is no such signal.
        """
        if signal != 0:  # which reaches without doing anything
            checked_signal("signal", signal)
        return await self._attempt.send_signal(signal)

    async def send(self, data: bytes) -> None:
        """Write all of `data` to the command's stdin; wait for its start, and for room in its pipe.

        Where the command has a `pty`, it is typed there, whatever its `stdin` is.
        While it waits and nobody iterates over the Runner, output that does not fit is discarded.
        Cancellation: a part of the data may have been written.

        Raises:
            StdinClosedError: nobody reads it: neither ``stdin=PIPE`` nor a `pty`, no process, or it
                closed the pipe.
            CommandError: `data` is no bytes.
        """
        if not isinstance(cast("object", data), (bytes, bytearray, memoryview)):
            raise CommandError(f"command {self.name!r}: what is sent must be bytes, not {data!r}")
        stdin = await self._open_stdin()
        if stdin is None:
            raise StdinClosedError(self.name, "the command does not run")
        with self._context.channel.waiting():
            try:
                await stdin.send(data)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
                raise StdinClosedError(self.name, "it is closed") from error

    async def close_stdin(self) -> None:
        """Close the command's stdin: it reads end-of-file.

        Waits until the command runs; does nothing where it has ended, or the pipe is closed.
        A terminal (`pty`) stays open: its end-of-file character is typed (^D), which ends the input
        of a program that reads line by line, not that of one that reads each key.
        Cancellation: the pipe may be open or closed, the character typed or not.

        Raises:
            StdinClosedError: the command was built without ``stdin=PIPE`` or a `pty`.
        """
        stdin = await self._open_stdin()
        if stdin is not None:
            with self._context.channel.waiting():  # of a terminal for room to type
                await stdin.aclose()

    async def resize(self, rows: int, columns: int) -> None:
        """Set the size of the command's terminal; its programs are told by SIGWINCH.

        While no process runs, the next one is started with that size, and so is each later one.
        Cancellation: the size may have been set or not.

        Args:
            rows: how many lines it has, from 1 to 65535.
            columns: how many characters a line has, from 1 to 65535.

        Raises:
            CommandError: one of them is something else, or the command was built without a `pty`.
        """
        size = Pty(rows, columns)
        if not self.command.pty:
            raise CommandError(f"{self.name!r} has no terminal: it was built without a pty")
        self._to_launch = with_pty(self._to_launch, size)
        await self._attempt.resize(size)

    async def _open_stdin(self) -> ByteSendStream | None:
        """Return the pipe once the command runs; None where it has ended."""
        if self.command.stdin != PIPE and not self.command.pty:
            raise StdinClosedError(self.name, "the command was built without stdin=PIPE or a pty")
        with self._context.channel.waiting():
            await self._change.wait_for(lambda: self._attempt.runs or self._is_done)
        process = self._attempt.process
        return process.stdin if process is not None and self._attempt.runs else None

    @property
    def _is_done(self) -> bool:
        """Whether no process will be started any more, as far as that is known."""
        attempt = self._attempt
        is_decided = attempt.is_judged or isinstance(attempt.error, LaunchError)
        return self.is_ending or (is_decided and not self._wants_another)

    async def live(self) -> None:
        """Run attempts until no further one is wanted; only the Runner calls this, once.

        Cancellation: a kill.  The Runner shields it; only the end of an event loop cancels it.
        """
        began: float | None = None
        started_at: float | None = None
        try:
            while await self._may_start():
                if began is None:
                    began, started_at = anyio.current_time(), time.time()
                await self._run_attempt()
                if self._wants_another:
                    self._phase = "restarting"
                    await self._end_escapees()
                if not self._wants_another:
                    break
                await self._wait_to_restart()
            error = self._attempt.error
            if self._attempt.cannot_be_stopped and error is not None:
                self._stop_others()
                await self._send(Aborted(self.name, error, self.attempts, time.time()))
        finally:
            duration = 0.0 if began is None else anyio.current_time() - began
            status = "stopped" if self._wants_another else self._attempt.status
            self._end(status, self._attempt.error, duration, started_at)

    def end_unstarted(self) -> None:
        """End it as stopped, since a kill has come before its first start; in place of `live`."""
        self._end("stopped", None)

    async def skip(self, reason: str) -> None:
        """End it without a start: what it waits for can no longer come; in place of `live`.

        Cancellation: as that of `live`.
        """
        error = DependencyError(self.name, reason)
        self._end("skipped", error)
        await self._send(Skipped(self.name, error, time.time()))

    async def _may_start(self) -> bool:
        """Wait for a turn to start; then, in the step that starts it, look at the barrier."""
        async with self._context.starting:
            await checkpoint()
        return not self._barrier.thrown

    async def watch(self) -> None:
        """Stop the process as soon as the barrier is thrown: the watcher; called as `live` is.

        Where all are stopped, after those that need it.

        Cancellation: as that of `live`.
        """
        await self._barrier.wait()
        self._change.notify_all()
        if self._unless_killed is not None:
            self._unless_killed.cancel()
        if self._context.barrier.thrown and not self._killed:
            await self._context.until_unneeded(self)
        await self._change.wait_for(lambda: not self._attempt.is_starting or self._phase == "ended")
        await self._attempt.stop()

    def abort(self, fault: CurrantError) -> None:
        """Take the stop that is to come for a failure; nothing where it was asked to stop."""
        if self._wants_another and not (self._attempt.runs or self._barrier.thrown):
            self._attempt.error, self._attempt.status = fault, "failed"
            self._delay, self._restart_asked = None, False
        else:
            self._attempt.abort(fault)

    async def _run_attempt(self) -> None:
        """Start a process, see it through to its end and the end of its output, tell of it."""
        self._restart_asked, self._delay = False, None
        self._times_ready = self.times_ready
        self._attempt = attempt = Attempt(self._to_launch, self.attempts + 1, self._attempt_context)
        with anyio.CancelScope() as self._unless_killed:
            await attempt.launch()
        self._unless_killed = None
        if attempt.process is None:
            await self._note_failed_launch()
            return
        # No `await` until it is seen through: nobody else would end the process.
        self._restart_asked = False  # if it was while this process was being started: here it is
        self._phase = "running"
        self._starts += 1
        self._change.notify_all()
        await attempt.see_through(self._decide)
        if attempt.exit is not None:
            await self._send(Exited(self.name, attempt.exit, attempt.number, time.time()))

    async def _note_failed_launch(self) -> None:
        error = self._attempt.error
        if isinstance(error, LaunchError):  # else a kill came before
            self._decide(uptime=0.0)
            await self._send(Failed(self.name, error, self.attempts, time.time()))

    def _decide(self, uptime: float) -> None:
        """Decide, as soon as an end is known, what comes next, and whether others are stopped."""
        status = self._attempt.status
        if status == "stopped" or self._restart_asked:
            return
        policy = self._policies.restart
        self._ends_in_a_row = ends_in_a_row(policy, self._ends_in_a_row, uptime)
        if not self._barrier.thrown:
            self._delay = delay_before_restart(
                policy,
                failed=status == "failed",
                restarts=self.restarts,
                in_a_row=self._ends_in_a_row,
                random=random.random(),
            )
        if self._delay is None:
            self._stop_others()

    def _stop_others(self) -> None:
        """Stop all, if they are to be when this command has ended as it did."""
        attempt = self._attempt
        if self._policies.kill_others_on in ("exit", _KIND[attempt.status]):
            self._context.barrier.throw(f"{self.name!r} ended: {attempt.error or attempt.exit}")

    @property
    def _wants_another(self) -> bool:
        """Whether there is to be another attempt; not beside what is left of this one."""
        is_asked = self._restart_asked or self._delay is not None
        return is_asked and not self._attempt.cannot_be_stopped

    async def _end_escapees(self) -> None:
        """End what the last attempt has left outside its group; a kill leaves it to the Runner."""
        if self._attempt.exit is not None and not self._barrier.thrown:
            with anyio.CancelScope() as self._unless_killed:
                await self._attempt.end_escapees()
            self._unless_killed = None

    async def _wait_to_restart(self) -> None:
        delay = 0.0 if self._restart_asked or self._delay is None else self._delay
        if self._barrier.thrown:
            return
        await self._send(Restarting(self.name, self.attempts + 1, delay, time.time()))
        if self._restart_asked:  # while that waited for room
            return
        with anyio.move_on_after(delay) as self._pause:
            await self._barrier.wait()
        self._pause = None

    async def _send(self, message: BatchMessage) -> None:
        await self._context.channel.send(message)

    def _end(
        self,
        status: Status,
        error: CurrantError | None,
        duration: float = 0.0,
        started_at: float | None = None,
    ) -> None:
        attempt = self._attempt
        self.result = Result(
            command=self.name,
            exit=attempt.exit,
            error=error,
            status=status,
            attempts=self.attempts,
            duration=duration,
            started_at=started_at,
            stdout=attempt.output.captured("stdout"),
            stderr=attempt.output.captured("stderr"),
            tail=attempt.output.tail,
        )
        self._phase = "ended"
        self._change.notify_all()
        self._barrier.throw()  # for the watcher: there is nothing left to stop


_KIND: dict[Status, KillOthersOn] = {"failed": "failure", "succeeded": "success"}
