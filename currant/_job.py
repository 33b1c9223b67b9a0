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
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Literal, TypeAlias

import anyio
from anyio.lowlevel import checkpoint

from currant._command import PIPE, checked_signal, name_of, with_grace
from currant._errors import CannotStopError, JobEndedError, LaunchError, StdinClosedError
from currant._launcher import Sweeper
from currant._lines import LineSplitter
from currant._messages import Batch, Exited, Failed, Restarting, Result, Started
from currant._notice import Notice
from currant._output import Capture, Tail
from currant._restart import delay_before_restart, ends_in_a_row

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.abc import ByteReceiveStream, ByteSendStream, TaskGroup

    from currant._barrier import KillBarrier
    from currant._channel import Channel
    from currant._command import Command, KillOthersOn
    from currant._errors import CurrantError
    from currant._launcher import Launcher, Process
    from currant._messages import BatchMessage, Exit, Line, Status, StreamName
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
    """

    launcher: Launcher
    channel: Channel
    barrier: KillBarrier
    starting: anyio.Lock
    take_from_queue: Callable[[Job], None]


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
        self._change = Notice()

        # Of the current attempt, or of the last one.
        self._process: Process | None = None
        self._attempt: TaskGroup | None = None  # while the process may have to be stopped
        self._unless_killed: anyio.CancelScope | None = None  # around what a kill cuts short
        self._capture = Capture(policies.capture)
        self._tail = Tail()
        self._exit: Exit | None = None
        self._status: Status = "stopped"
        self._error: CurrantError | None = None
        self._open_streams = 2
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
        return self._tail.lines()

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
            self._barrier.throw(reason)
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
            self._stop_soon()
        elif self._pause is not None:
            self._pause.cancel()
        await self.until_started()
        if self._phase == "ended":
            raise JobEndedError(self.name, "restart")

    async def until_started(self) -> None:
        """Wait until the next process runs, or none will any more.

        Cancellation: harmless.
        """
        with self._around.channel.waiting():
            starts = self._starts
            while self._starts == starts and self._phase != "ended":
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

        While it waits and nobody iterates over the Runner, output that does not fit is discarded.
        Cancellation: a part of the data may have been written.

        Raises:
            StdinClosedError: nobody reads it: no ``stdin=PIPE``, no process, or it closed the pipe.
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
        Cancellation: the pipe may be open or closed.

        Raises:
            StdinClosedError: the command was built without ``stdin=PIPE``.
        """
        stdin = await self._open_stdin()
        if stdin is not None:
            await stdin.aclose()

    async def _open_stdin(self) -> ByteSendStream | None:
        """Return the pipe once the command runs; None where it has ended."""
        if self.command.stdin != PIPE:
            raise StdinClosedError(self.name, "the command was built without stdin=PIPE")
        if self._process is None and self._phase in ("queued", "restarting"):
            await self.until_started()
        return None if self._process is None else self._process.stdin

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
        if self._unless_killed is not None:
            self._unless_killed.cancel()
        attempt, process = self._attempt, self._process
        if attempt is not None and process is not None:
            try:
                await self._stop(process)
            except CannotStopError:
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
        process = await self._launch()
        if process is None:
            return
        self._process = process
        self._restart_asked = False  # if it was while this process was being started: here it is
        self.pid = process.pid
        self._phase = "running"
        self._starts += 1
        self._change.give()
        try:
            async with anyio.create_task_group() as tasks:
                self._attempt = tasks
                tasks.start_soon(self._read_output, process, tasks)
                if isinstance(self.command.stdin, bytes) and process.stdin is not None:
                    tasks.start_soon(_write_stdin, process.stdin, self.command.stdin)
                if self._barrier.thrown:  # while the process was being started
                    self._stop_soon()
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

    async def _launch(self) -> Process | None:
        """Start the process; None where it cannot, or the barrier was thrown before it did."""
        process: Process | None = None
        error: LaunchError | None = None
        with anyio.CancelScope() as self._unless_killed:
            try:
                process = await self._around.launcher.launch(self._with_grace)
            except LaunchError as raised:
                error = raised
        self._unless_killed = None
        if error is not None:
            self._error = error
            self._conclude("stopped" if self._barrier.thrown else "failed", uptime=0.0)
            await self._send(Failed(self.name, error, self.attempts, time.time()))
        return process

    def _forget_last_attempt(self) -> None:
        self._capture = Capture(self._policies.capture)
        self._tail = Tail()
        self._exit, self._error, self._delay, self._status = None, None, None, "stopped"
        self._open_streams, self._stopped_at, self._restart_asked = 2, None, False

    async def _see_through(self, process: Process) -> None:
        """Wait for the process's end; then end what it has left behind in its group."""
        began = anyio.current_time()
        try:
            self._exit = await process.wait()
            uptime = anyio.current_time() - began
            self._conclude(_status(self._exit, self.command), uptime)
        finally:
            # Also when the event loop is torn down around us.  Bounded: grace and REAP_LIMIT.
            with anyio.CancelScope(shield=True):
                self._exit = await self._stop(process)
            self._attempt, self.pid = None, None

    async def _stop(self, process: Process) -> Exit:
        if self._stopped_at is None and (self._barrier.thrown or self._restart_asked):
            self._stopped_at = anyio.current_time()
        at_once = self._hurried or isinstance(self._error, CannotStopError)
        grace = 0.0 if at_once else self._policies.grace
        try:
            return await process.stop(self.command.stop_signal, grace)
        except CannotStopError as error:
            self._error = error  # there is no use in giving it another grace
            raise

    async def _read_output(self, process: Process, tasks: TaskGroup) -> None:
        """Tell of the start, then read both streams to their ends.

        Not in the task that follows the process: a full channel must not hold up a stop.
        """
        await self._send(Started(self.name, process.pid, self.attempts, time.time()))
        tasks.start_soon(self._read, process.stderr, "stderr")
        await self._read(process.stdout, "stdout")

    async def _read(self, source: ByteReceiveStream | None, stream: StreamName) -> None:
        if source is not None:
            await self._pass_on(source, stream)
        self._open_streams -= 1
        self._change.give()

    async def _pass_on(self, source: ByteReceiveStream, stream: StreamName) -> None:
        """Pass on whole lines of one stream until it ends; then what is left of the last one."""
        splitter = LineSplitter()
        async for chunk in source:
            self._capture.add(stream, chunk)
            if data := splitter.feed(chunk):
                await self._send_output(stream, data)
        if data := splitter.finish():
            await self._send_output(stream, data)

    async def _send_output(self, stream: StreamName, data: bytes) -> None:
        batch = Batch(self.name, stream, data, time.time())
        self._tail.add(batch)
        await self._send(batch)

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
            self._around.barrier.throw(f"{self.name!r} ended: {self._exit or self._error}")

    async def _end_escapees(self, grace: float = inf) -> None:
        """End what the last attempt left outside its group."""
        launcher = self._around.launcher
        if isinstance(launcher, Sweeper):
            try:
                await launcher.sweep(self.name, grace)
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
            while self._open_streams:
                await self._change.wait()
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
            stdout=self._capture.get("stdout"),
            stderr=self._capture.get("stderr"),
            tail=self._tail.lines(),
        )
        self._phase = "ended"
        self._change.give()


_KIND: dict[Status, KillOthersOn] = {"failed": "failure", "succeeded": "success"}


def _status(end: Exit, command: Command) -> Status:
    if end.stopped:
        return "stopped"
    return "succeeded" if end.code in command.success_codes else "failed"


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
