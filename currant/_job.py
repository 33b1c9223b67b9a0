"""One command's whole life, straight down the page: `Job.live`, and below it what it calls.

A life is a row of attempts with waits between them; an attempt is a process with tasks around it:
this one follows the process, a watcher waits for it at the kill barrier, two read its output.  The
position in these coroutines is the state; `Job.state` only shows it.  Each task costs a command 30
to 60 µs of its some 700, and twice that if it is cancelled: so there is one watcher for all
attempts, which a last throw of the barrier lets go.

Three things must hold whatever comes in between.  Stop beats restart: the barrier is looked at
right before each launch and, by the watcher task, right after it.  Nothing outlives its attempt:
however an attempt is left, its group is ended first.  Stopping never waits for a reader: the task
that follows the process sends no message, so a full channel cannot hold it up.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING, Literal, TypeAlias

import anyio
from anyio.lowlevel import checkpoint

from currant._care import Care, name_of_probes, needs_care
from currant._command import PIPE, Pty, checked_signal, name_of, with_grace, with_pty
from currant._errors import (
    CannotStopError,
    CommandError,
    DependencyError,
    JobEndedError,
    LaunchError,
    NotReadyError,
    StdinClosedError,
    TimeLimitError,
)
from currant._launcher import Resizable, Sweeper
from currant._messages import Exited, Failed, GivenUp, Ready, Restarting, Result, Skipped, Started
from currant._notice import Notice
from currant._output import Output
from currant._restart import delay_before_restart, ends_in_a_row

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from anyio.abc import ByteSendStream, TaskGroup

    from currant._barrier import KillBarrier
    from currant._channel import Channel
    from currant._command import Command, KillOthersOn
    from currant._errors import CurrantError
    from currant._launcher import Launcher, Process
    from currant._messages import BatchMessage, Exit, Line, Status
    from currant._restart import RestartPolicy

__all__ = ["LAST_GRACE", "Job", "JobState", "Policies", "Surroundings"]

LAST_GRACE = 0.2
"""Seconds that what has left its group has at least to end, where a kill has used up the grace."""

OUTPUT_TIME = 0.05
"""Seconds in which output has ended once the group is gone, unless somebody else holds the pipe."""

JobState: TypeAlias = Literal["queued", "running", "restarting", "stopping", "ended"]


@dataclass(frozen=True, slots=True)
class Policies:
    """How one command is treated, with every question answered."""

    restart: RestartPolicy
    kill_others_on: KillOthersOn | None
    grace: float
    capture: bool | int


@dataclass(frozen=True, slots=True)
class Surroundings:
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
        pid: the number of its process; None while there is none.
        attempts: how often it was started, or tried to be.
        result: how it ended; None before.
    """

    def __init__(self, command: Command, policies: Policies, around: Surroundings) -> None:
        self.command = command
        self.pid: int | None = None
        self.attempts: int = 0
        self.result: Result | None = None
        self._with_grace = with_grace(command, policies.grace)
        self._policies = policies
        self._around = around
        self._barrier = around.barrier.below()
        self._killed = False
        self._hurried = False
        self._phase: JobState = "queued"
        self._starts = 0
        self._times_ready = 0
        self._change = Notice()

        # Of the current attempt, or of the last one.
        self._process: Process | None = None
        self._attempt: TaskGroup | None = None  # while the process may have to be stopped
        self._may_run = False  # from the start on until the group is gone
        self._unless_killed: anyio.CancelScope | None = None  # around what a kill cuts short
        self._output = self._new_output()
        self._exit: Exit | None = None
        self._status: Status = "stopped"
        self._error: CurrantError | None = None
        self._fault: CurrantError | None = None  # why we end it, where that is a failure
        self._ready = False
        self._told_start = False
        self._caring: anyio.CancelScope | None = None
        self._stopped_at: float | None = None

        # What comes after it.
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
        return name_of(self.command)

    @property
    def state(self) -> JobState:
        """``"queued"``, ``"running"``, ``"restarting"`` (soon), ``"stopping"`` or ``"ended"``."""
        if self._barrier.thrown and self._phase != "ended":
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
        return self._output.tail

    @property
    def starts(self) -> int:
        """How many of its processes have run."""
        return self._starts

    @property
    def is_ready(self) -> bool:
        """Whether its process runs and is ready: its probe has said so, or it has none."""
        runs = self._phase == "running" and self._exit is None
        return self._ready and runs and not self._barrier.thrown

    @property
    def times_ready(self) -> int:
        """How often it has become ready."""
        return self._times_ready

    @property
    def is_ending(self) -> bool:
        """Whether it has ended or is being stopped for good."""
        return self._barrier.thrown or self._phase == "ended"

    @property
    def is_gone(self) -> bool:
        """Whether none of its processes runs, and none will; its output may still be on its way."""
        return self.is_ending and not self._may_run

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
        times, output = self._times_ready, self._output
        runs = self._process is not None and self._exit is None
        start = self._starts if runs else self._starts + 1
        with self._around.channel.waiting():
            while not self.is_ready and self._times_ready == times:
                if self._starts == start:
                    output = self._output
                reason = self._why_not_ready(start)
                if reason is not None:
                    with anyio.move_on_after(OUTPUT_TIME):
                        await output.ended()
                    cause = None if self._fault is None else self._fault.__cause__
                    raise NotReadyError(self.name, reason, output.tail) from cause
                await self._change.wait()

    def _why_not_ready(self, start: int) -> str | None:
        """Return why its process of that number will not become ready; None: it may."""
        over = self._starts > start or (self._starts == start and self._exit is not None)
        if self._starts == start and self._fault is not None:
            fault = self._fault
            return fault.reason if isinstance(fault, NotReadyError) else str(fault)
        if self.result is not None or over:
            return f"it has ended: {self._error or self._exit or self._status}"
        if self._barrier.thrown or self._phase == "stopping":
            return "it is being stopped"
        return None

    async def wait(self) -> Result:
        """Wait until the command has ended for good, and return how.

        For any number of tasks, any number of times.  While it waits and nobody iterates over the
        Runner, output that does not fit is discarded (see `Dropped`).
        Cancellation: harmless; the command goes on.
        """
        with self._around.channel.waiting():
            while self.result is None:
                await self._change.wait()
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
                self._stop_soon()
            self._barrier.throw(reason)
            self._change.give()
            self._around.take_from_queue(self)

    def hurry(self) -> None:
        """Skip what is left of the grace, if the command is stopping; return at once."""
        if not self._barrier.thrown:
            return
        self._hurried = True  # for a process that is being started, too
        self._stop_soon()

    async def restart(self) -> None:
        """Stop the process if there is one, and return when a new one runs.

        It counts as a restart, but asks no policy: not for its leave, and not for its delay.
        Cancellation: the restart goes on.

        Raises:
            JobEndedError: the command has ended or is being stopped, or ends before it runs.
        """
        if self.state == "ended" or self._barrier.thrown:
            raise JobEndedError(self.name, "restart")
        self._restart_asked = True
        if self._attempt is not None:
            self._phase = "stopping"
            self._stop_caring()
            self._change.give()
            self._stop_soon()
        elif self._pause is not None:
            self._pause.cancel()
        starts = self._starts
        with self._around.channel.waiting():
            while self._starts == starts and self._phase != "ended":
                await self._change.wait()
        if self._phase == "ended":
            raise JobEndedError(self.name, "restart")

    async def until_started(self) -> None:
        """Wait until its process runs, or none will any more; return at once if one does.

        Cancellation: harmless.
        """
        with self._around.channel.waiting():
            while self._process is None and self._phase != "ended":
                await self._change.wait()

    async def send_signal(self, signal: int) -> bool:
        """Send `signal` to the command's whole process group; return whether it reached anybody.

        A command that does not run is not an error.
        Cancellation: the signal may have been sent or not.

        Raises:
            CommandError: there is no such signal.
        """
        if signal != 0:  # which reaches without doing anything
            checked_signal("signal", signal)
        return self._process is not None and await self._process.send_signal(signal)

    async def send(self, data: bytes) -> None:
        """Write all of `data` to the command's stdin; wait for its start, and for room in its pipe.

        Where the command has a `pty`, it is typed there, whatever its `stdin` is.
        While it waits and nobody iterates over the Runner, output that does not fit is discarded.
        Cancellation: a part of the data may have been written.

        Raises:
            StdinClosedError: nobody reads it: neither ``stdin=PIPE`` nor a `pty`, no process, or it
                closed the pipe.
        """
        stdin = await self._open_stdin()
        if stdin is None:
            raise StdinClosedError(self.name, "the command does not run")
        with self._around.channel.waiting():
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
        if stdin is not None and self.command.pty:
            with self._around.channel.waiting():  # for room: what it has echoed may not be read
                await stdin.aclose()
        elif stdin is not None:
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
        self._with_grace = with_pty(self._with_grace, size)
        await self._set_size()

    async def _open_stdin(self) -> ByteSendStream | None:
        """Return the pipe once the command runs; None where it has ended."""
        if self.command.stdin != PIPE and not self.command.pty:
            raise StdinClosedError(self.name, "the command was built without stdin=PIPE or a pty")
        if self._process is None and self._phase in ("queued", "restarting"):
            await self.until_started()
        return None if self._process is None else self._process.stdin

    async def _set_size(self) -> None:
        """Give the terminal of the process, if there is one, the size that was asked for last."""
        process, size = self._process, self._with_grace.pty
        if process is not None and isinstance(process, Resizable) and isinstance(size, Pty):
            await process.resize(size.rows, size.columns)
        else:
            await checkpoint()

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
                self.attempts += 1
                await self._run_attempt()
                if self._restart_asked or self._delay is not None:
                    self._phase = "restarting"
                    if self._exit is not None:  # else there was no process
                        await self._end_escapees_unless_killed()
                if self._restart_asked:
                    self._delay = 0.0
                if self._delay is None:
                    break
                await self._wait_to_restart(self._delay)
        finally:
            duration = 0.0 if began is None else anyio.current_time() - began
            self._end(duration, started_at)
            self._barrier.throw()  # for the watcher: there is nothing left to stop

    async def skip(self, reason: str) -> None:
        """End it without a start: what it waits for can no longer come; in place of `live`.

        Cancellation: as that of `live`.
        """
        error = DependencyError(self.name, reason)
        self._error, self._status = error, "skipped"
        self._end(0.0, None)
        self._barrier.throw()
        await self._send(Skipped(self.name, error, time.time()))

    async def _may_start(self) -> bool:
        """Wait for a turn to start; then, in the step that starts it, look at the barrier."""
        async with self._around.starting:
            await checkpoint()
        return not self._barrier.thrown

    async def watch(self) -> None:
        """Stop the process as soon as the barrier is thrown: the watcher; called as `live` is.

        Cancellation: as that of `live`.
        """
        await self._barrier.wait()
        self._change.give()
        self._stop_caring()
        if self._unless_killed is not None:
            self._unless_killed.cancel()
        await self._stop_in_turn()

    def _stop_caring(self) -> None:
        if self._caring is not None:
            self._caring.cancel()

    async def _stop_in_turn(self) -> None:
        """Stop the process, if there is one; where all are stopped, after those that need it."""
        if self._around.barrier.thrown and not self._killed:
            await self._around.until_unneeded(self)
        attempt, process = self._attempt, self._process
        if attempt is not None and process is not None:
            try:
                await self._stop(process)
            except Exception:  # CannotStopError, or of a launcher that keeps no contract
                attempt.cancel_scope.cancel()  # who follows the process comes to the same

    def _stop_soon(self) -> None:
        """Begin to stop the process, if there is one; where that is under way, with what is left.

        That is: no grace, where the command was hurried meanwhile.
        """
        if self._attempt is not None and self._process is not None:
            self._attempt.start_soon(self._stop, self._process)

    async def _run_attempt(self) -> None:
        """Start the process, see it through to its end and the end of its output, tell of it."""
        if self.attempts > 1:
            self._forget_last_attempt()
        launched = self._with_grace
        process = await self._launch()
        if process is None:
            return
        self._process = process
        self._restart_asked = False  # if it was while this process was being started: here it is
        self.pid = process.pid
        self._phase = "running"
        self._starts += 1
        if self.command.ready is None:
            self._ready = True
            self._times_ready += 1
        self._change.give()
        try:
            async with anyio.create_task_group() as tasks:
                self._attempt = tasks
                self._start_tasks(process, tasks)
                if self._barrier.thrown:  # while the process was being started
                    tasks.start_soon(self._stop_in_turn)
                if self._with_grace is not launched:  # the same
                    tasks.start_soon(self._set_size)
                await self._see_through(process)
                if process.stdin is not None:
                    await process.stdin.aclose()  # a stranger may hold the other end
                if self._stopped_at is not None:
                    await self._end_who_holds_the_output(self._stopped_at)
        except* CannotStopError as group:
            self._error = _first(group)
            self._delay, self._restart_asked = None, False  # not beside what is still there
        finally:
            self._process = None
            await process.aclose()
        if self._exit is not None:
            await self._send(Exited(self.name, self._exit, self.attempts, time.time()))

    def _start_tasks(self, process: Process, tasks: TaskGroup) -> None:
        """Begin what goes on beside the process: its output, its input, and who looks after it."""
        tasks.start_soon(self._tell_and_read, process, tasks)
        if isinstance(self.command.stdin, bytes) and process.stdin is not None:
            tasks.start_soon(_write_stdin, process.stdin, self.command.stdin)
        if needs_care(self.command):
            self._caring = anyio.CancelScope()
            tasks.start_soon(self._care_for, process, tasks, self._caring)

    async def _launch(self) -> Process | None:
        """Start the process; None where it cannot, or the barrier was thrown before it did."""
        process: Process | None = None
        error: LaunchError | None = None
        self._may_run = True
        with anyio.CancelScope() as self._unless_killed:
            try:
                process = await self._around.launcher.launch(self._with_grace)
            except LaunchError as raised:
                error = raised
        self._unless_killed = None
        if process is None:
            self._is_over()
        if error is not None:
            self._error = error
            self._conclude("stopped" if self._barrier.thrown else "failed", uptime=0.0)
            await self._send(Failed(self.name, error, self.attempts, time.time()))
        return process

    def _forget_last_attempt(self) -> None:
        self._output = self._new_output()
        self._exit, self._error, self._delay, self._status = None, None, None, "stopped"
        self._stopped_at, self._restart_asked = None, False
        self._fault, self._ready, self._told_start = None, False, False

    def _new_output(self) -> Output:
        sought = () if self.command.ready is None else self.command.ready.line_probes
        return Output(self.name, self._policies.capture, sought, self._send)

    async def _care_for(
        self, process: Process, tasks: TaskGroup, caring: anyio.CancelScope
    ) -> None:
        """See that the process becomes ready, stays alive, and keeps its time."""

        def on_ready(after: float) -> None:
            if self.state != "running":
                return
            self._ready = True
            self._times_ready += 1
            self._change.give()
            tasks.start_soon(self._tell, Ready(self.name, after, time.time()))

        launcher, output = self._around.launcher, self._output
        care = Care(self.command, process, launcher, output, on_ready, self._fail)
        with caring:
            await care.look_after()

    async def _tell(self, message: Ready | GivenUp) -> None:
        while not self._told_start:
            await self._change.wait()
        await self._send(message)

    def blame(self, fault: CurrantError) -> None:
        """Take the stop that is to come for a failure; nothing, where one is under way."""
        if self._fault is None and self._attempt is not None and self.state == "running":
            self._fault = fault
            self._phase = "stopping"
            self._stop_caring()
            self._change.give()
            message = GivenUp(self.name, fault, self.attempts, time.time())
            self._attempt.start_soon(self._tell, message)

    def _fail(self, fault: CurrantError) -> None:
        self.blame(fault)
        self._stop_soon()

    async def _see_through(self, process: Process) -> None:
        """Wait for the process's end; then end what it has left behind in its group."""
        began = anyio.current_time()
        try:
            end = await process.wait()
            uptime = anyio.current_time() - began
            self._exit = self._with_fault(end)
            self._conclude(self._status_of(self._exit), uptime)
        finally:
            self._stop_caring()
            self._change.give()
            # Also when the event loop is torn down around us.  Bounded: grace and REAP_LIMIT.
            with anyio.CancelScope(shield=True):
                self._exit = self._with_fault(await self._stop(process))
            self._attempt, self.pid = None, None
            self._is_over()

    def _is_over(self) -> None:
        """Note that none of the attempt's processes runs."""
        self._may_run = False
        self._change.give()

    def _with_fault(self, end: Exit) -> Exit:
        """Return how the process ended, and if its time was up by then, that."""
        timed_out = isinstance(self._fault, TimeLimitError)
        return replace(end, timed_out=True) if timed_out else end

    def _status_of(self, end: Exit) -> Status:
        if self._fault is not None:  # also where it ended by itself meanwhile: it was told of
            self._error = self._fault
            return "failed"
        if end.stopped:
            return "stopped"
        return "succeeded" if end.code in self.command.success_codes else "failed"

    async def _stop(self, process: Process) -> Exit:
        asked = self._barrier.thrown or self._restart_asked or self._fault is not None
        if self._stopped_at is None and asked:
            self._stopped_at = anyio.current_time()
        at_once = self._hurried or isinstance(self._error, CannotStopError)
        grace = 0.0 if at_once else self._policies.grace
        try:
            return await process.stop(self.command.stop_signal, grace)
        except CannotStopError as error:
            self._error = error  # there is no use in giving it another grace
            raise

    async def _tell_and_read(self, process: Process, tasks: TaskGroup) -> None:
        """Tell of the start, then read both streams to their ends.

        Not in the task that follows the process: a full channel must not hold up a stop.
        """
        await self._send(Started(self.name, process.pid, self.attempts, time.time()))
        self._told_start = True
        self._change.give()
        await self._output.read(process.stdout, process.stderr, tasks)

    async def _send(self, message: BatchMessage) -> None:
        await self._around.channel.send(message)

    def _conclude(self, status: Status, uptime: float) -> None:
        """Decide, as soon as an end is known, what comes next, and whether others are stopped."""
        self._status = status
        if status == "stopped" or self._restart_asked:
            return
        policies = self._policies
        self._ends_in_a_row = ends_in_a_row(policies.restart, self._ends_in_a_row, uptime)
        if not self._barrier.thrown:
            self._delay = delay_before_restart(
                policies.restart,
                failed=status == "failed",
                restarts=self.restarts,
                in_a_row=self._ends_in_a_row,
                random=random.random(),
            )
        if self._delay is None and policies.kill_others_on in ("exit", _KIND[status]):
            self._around.barrier.throw(f"{self.name!r} ended: {self._error or self._exit}")

    async def _end_escapees(self, grace: float = inf) -> None:
        """End what the last attempt left outside its group."""
        launcher = self._around.launcher
        if isinstance(launcher, Sweeper):
            try:
                await launcher.sweep(self.name, grace)
                if needs_care(self.command):
                    await launcher.sweep(name_of_probes(self.name), grace)
            except CannotStopError as error:
                self._error = error
                self._delay, self._restart_asked = None, False  # not beside what is still there

    async def _end_escapees_unless_killed(self) -> None:
        """Do so before a restart; a kill leaves it to the Runner."""
        if not self._barrier.thrown:
            with anyio.CancelScope() as self._unless_killed:
                await self._end_escapees()
            self._unless_killed = None

    async def _end_who_holds_the_output(self, since: float) -> None:
        """Where output goes on though the group was stopped and is gone, end who has left it."""
        with anyio.move_on_after(OUTPUT_TIME):
            await self._output.ended()
            return
        left = self._policies.grace - (anyio.current_time() - since)
        await self._end_escapees(0 if self._hurried else max(left, LAST_GRACE))

    async def _wait_to_restart(self, delay: float) -> None:
        if self._barrier.thrown:
            return
        await self._send(Restarting(self.name, self.attempts + 1, delay, time.time()))
        if self._restart_asked:  # while that waited for room
            return
        with anyio.move_on_after(delay) as self._pause:
            await self._barrier.wait()
        self._pause = None

    def _end(self, duration: float, started_at: float | None) -> None:
        status = self._status
        if isinstance(self._error, CannotStopError):
            status = "failed"
        elif self._delay is not None:  # we came before a further start
            status = "stopped"
        self.result = Result(
            command=self.name,
            exit=self._exit,
            error=self._error,
            status=status,
            attempts=self.attempts,
            duration=duration,
            started_at=started_at,
            stdout=self._output.captured("stdout"),
            stderr=self._output.captured("stderr"),
            tail=self._output.tail,
        )
        self._phase = "ended"
        self._change.give()


_KIND: dict[Status, KillOthersOn] = {"failed": "failure", "succeeded": "success"}


def _first(group: ExceptionGroup[CannotStopError]) -> CannotStopError:
    error: BaseException = group
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, CannotStopError)
    return error


async def _write_stdin(stdin: ByteSendStream, data: bytes) -> None:
    """Write `data` and end-of-file; a command need not read to the end."""
    try:
        await stdin.send(data)
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        pass
    finally:
        await stdin.aclose()
