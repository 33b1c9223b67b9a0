"""One attempt at running a command: its process, and what goes on beside it until all is over.

An attempt is launched, then seen through.  Beside the process one task tells of the start and reads
stdout, another one reads stderr, and where the command asks for it a third looks after the process.
When the leader has ended, what is left of its group is ended, the output comes to its end, and
everything is freed.

Who ends before it was ready has failed.  A line that a probe waits for counts if it was written,
however soon after it the process ended: so that is known when the output has ended.

Two things must hold whatever comes in between.  Nothing outlives its attempt: the group is ended
behind a shield, for as long as the grace allows.  Stopping never waits for a reader: the task that
follows the process sends no message, so a full channel cannot hold up a stop.

Each task costs a command 30 to 60 µs of its some 700, and twice that if it is cancelled.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING

import anyio
from anyio.lowlevel import checkpoint

from currant._channel.output import Output
from currant._process.launcher import Launcher, Process, Resizable, Sweeper
from currant._supervisor.health import HealthCheck, has_checks, name_of_probes
from currant._values.errors import (
    CannotStopError,
    CurrantError,
    LaunchError,
    NotReadyError,
    TimeLimitError,
)
from currant._values.messages import Aborted, BatchMessage, Ready, Started

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.abc import ByteSendStream, TaskGroup

    from currant._channel.channel import Channel
    from currant._synchronization import KillBarrier, Notifier
    from currant._values.command import Command
    from currant._values.exit import Exit
    from currant._values.launch_spec import Pty
    from currant._values.results import Status

__all__ = ["LAST_GRACE", "OUTPUT_TIME", "Attempt", "AttemptContext"]


LAST_GRACE = 0.2
"""Seconds that what has left its group has at least to end, where a kill has used up the grace."""

OUTPUT_TIME = 0.05
"""Seconds in which output has ended once its writers are gone, unless a stranger holds the pipe."""

LAST_LOOK = 0.5
"""Seconds in which a probe of several parts has come to a line that it waits for."""


@dataclass(frozen=True, slots=True)
class AttemptContext:
    """What all attempts at one command share.

    Attributes:
        launcher: what starts the processes.
        channel: where messages go.
        barrier: the command's kill barrier.
        change: is given whenever something about the command has changed.
        grace: seconds that the process has to end after it was asked to.
        capture: how much of the output is kept.
    """

    launcher: Launcher
    channel: Channel
    barrier: KillBarrier
    change: Notifier
    grace: float
    capture: bool | int


class Attempt:
    """One attempt at running a command.

    Args:
        command: the command, with the grace that it has in its Runner.
        number: which attempt it is, from 1; 0: what there is before the first.
        context: what it shares with the other attempts.

    Attributes:
        number: as given.
        process: its process, from the launch until all is over.
        output: what the process writes.
        exit: how the leader ended; None before.
        error: why it has failed, where that is not its exit.
        status: how it ended, as far as that is known.
        is_judged: whether the leader has ended, and `status` is known.
        may_run: whether any process of it may run.
        is_ready: whether the process has become ready: its probe has said so, or it has none.
    """

    def __init__(self, command: Command, number: int, context: AttemptContext) -> None:
        self.number = number
        self.process: Process | None = None
        sought = () if command.ready is None else command.ready.line_probes
        self.output = Output(command.name, context.capture, sought, context.channel.send)
        self.exit: Exit | None = None
        self.error: CurrantError | None = None
        self.status: Status = "stopped"
        self.is_judged = False
        self.may_run = False
        self.is_ready = False
        self._command = command
        self._context = context
        self._tasks: TaskGroup | None = None  # beside the process
        self._told_start = False
        self._checks: anyio.CancelScope | None = None
        self._size: Pty | None = None  # that was asked for meanwhile
        self._stop_asked = False
        self._at_once = False
        self._stopped_at: float | None = None

    @property
    def pid(self) -> int | None:
        """The number of its process, while any of the group may run."""
        return self.process.pid if self.process is not None and self.may_run else None

    @property
    def is_starting(self) -> bool:
        """Whether its process is being started."""
        return self.may_run and self.process is None

    @property
    def runs(self) -> bool:
        """Whether there is a process whose end is not known."""
        return self.process is not None and self.exit is None

    @property
    def may_become_ready(self) -> bool:
        """Whether it is not ready, but runs, or has written lines that are still to be read."""
        return not self.is_ready and (self.runs or self._checks is not None)

    @property
    def is_stopping(self) -> bool:
        """Whether it was asked to stop, and is not over."""
        return self._stopped_at is not None and self.process is not None

    @property
    def cannot_be_stopped(self) -> bool:
        """Whether something of it has outlived SIGKILL."""
        return isinstance(self.error, CannotStopError)

    async def launch(self) -> None:
        """Start the process, or note in `error` why it cannot be.

        Cancellation: no process is left, or it is in `process`.
        """
        self.may_run = True
        try:
            self.process = await self._context.launcher.launch(self._command)
        except LaunchError as error:
            self.error = error
            self.status = "stopped" if self._context.barrier.thrown else "failed"
        finally:
            if self.process is None:
                self._note_over()

    async def see_through(self, on_end: Callable[[float], None]) -> None:
        """Wait until all is over: the leader, its group, and the output.

        To be called in the step in which it was launched: nobody else would end the process.
        Cancellation: ends the process.

        Args:
            on_end: is called as soon as `status` is known, with the seconds that the leader ran;
                not where its end is not known.
        """
        process = self._launched()
        began = anyio.current_time()
        uptime: float | None = None
        try:
            async with anyio.create_task_group() as self._tasks:
                try:
                    self._begin_tasks(process, self._tasks)
                    self._note_exit(await process.wait())
                    uptime = anyio.current_time() - began
                    if self._may_have_written_what_is_sought:
                        self._tasks.start_soon(self._check_the_last_lines)
                    else:
                        self._cancel_checks()
                    self._judge()
                    if self.is_judged:
                        on_end(uptime)
                finally:
                    # Also when the event loop is torn down.  Bounded: grace and REAP_LIMIT.
                    with anyio.CancelScope(shield=True):
                        await self._end_group()
                await self._let_output_end(process)
            if uptime is not None and not self.is_judged:
                self._judge()
                on_end(uptime)
        finally:
            self.process = self._tasks = None
            try:
                await process.aclose()
            finally:
                self._note_over()  # also where it did not come to that

    async def stop(self) -> None:
        """Stop the process, where it may still run, and return when its group is empty.

        Cancellation: leaves it asked to end.
        """
        if self._stoppable is not None:
            self._note_stop()
            await self._stop()

    def stop_soon(self, *, at_once: bool = False) -> None:
        """Begin to stop the process, also one that is only being started; return at once.

        Where that is under way, it goes on with what is left of the grace.

        Args:
            at_once: whether nothing is left of it.
        """
        self._stop_asked = True
        self._at_once |= at_once
        if self._stoppable is not None:
            self._note_stop()
            self._stoppable.start_soon(self._stop)

    def abort(self, fault: CurrantError) -> bool:
        """Have it fail by `fault`, and return whether it does; the caller then stops it.

        It does not where it is over, has failed, or is being stopped.
        """
        is_stopped = self.is_stopping or self._context.barrier.thrown
        if self._stoppable is None or not self.runs or self.error is not None or is_stopped:
            return False
        self.error = fault
        self._cancel_checks()
        self._tell_soon(Aborted(self._command.name, fault, self.number, time.time()))
        return True

    async def end_escapees(self, grace: float = inf) -> None:
        """End what has left the group, or note that it cannot be.

        Cancellation: leaves it asked to end.
        """
        launcher, name = self._context.launcher, self._command.name
        if isinstance(launcher, Sweeper):
            try:
                await launcher.sweep(name, grace)
                if has_checks(self._command):
                    await launcher.sweep(name_of_probes(name), grace)
            except CannotStopError as error:
                self._note_failure_to_stop(error)

    async def send_signal(self, signal: int) -> bool:
        """Send a signal to the group; return whether it reached anybody."""
        return self.process is not None and await self.process.send_signal(signal)

    async def resize(self, size: Pty) -> None:
        """Give the terminal of the process, if there is one, another size; else when there is."""
        self._size = size
        process = self.process
        if process is not None and isinstance(process, Resizable):
            await process.resize(size.rows, size.columns)
        else:
            await checkpoint()

    @property
    def _stoppable(self) -> TaskGroup | None:
        """The tasks beside the process, while that may have to be stopped."""
        return self._tasks if self.may_run else None

    def _launched(self) -> Process:
        assert self.process is not None
        return self.process

    def _begin_tasks(self, process: Process, tasks: TaskGroup) -> None:
        command = self._command
        tasks.start_soon(self._tell_start_and_read, process, tasks)
        if isinstance(command.stdin, bytes) and process.stdin is not None:
            tasks.start_soon(_write_stdin, process.stdin, command.stdin)
        if command.ready is None:
            self._note_ready()
        if self._size is not None:
            tasks.start_soon(self.resize, self._size)
        if self._stop_asked:
            self.stop_soon()
        elif has_checks(command):
            self._checks = anyio.CancelScope()
            tasks.start_soon(self._check_health, process, self._checks)

    async def _tell_start_and_read(self, process: Process, tasks: TaskGroup) -> None:
        await self._send(Started(self._command.name, process.pid, self.number, time.time()))
        self._told_start = True
        self._context.change.notify_all()
        await self.output.read(process.stdout, process.stderr, tasks)

    async def _check_health(self, process: Process, checks: anyio.CancelScope) -> None:
        """See that the process becomes ready, stays alive, and keeps its time."""

        def on_ready(after: float) -> None:
            if self._checks is not None:
                self._note_ready()
                self._tell_soon(Ready(self._command.name, after, time.time()))
                if self.exit is not None:
                    self._cancel_checks()

        def on_fault(fault: CurrantError) -> None:
            if self.abort(fault):
                self.stop_soon()

        launcher, output = self._context.launcher, self.output
        check = HealthCheck(self._command, process, launcher, output, on_ready, on_fault)
        with checks:
            await check.watch()
        self._cancel_checks()

    @property
    def _may_have_written_what_is_sought(self) -> bool:
        probe = self._command.ready
        return probe is not None and bool(probe.line_probes) and self.may_become_ready

    async def _check_the_last_lines(self) -> None:
        """Let the checks go on until all is read that the process wrote."""
        await self.output.ended()
        if self.output.matched:
            with anyio.move_on_after(LAST_LOOK):
                await self._context.change.wait_for(lambda: not self.may_become_ready)
        self._cancel_checks()

    def _judge(self) -> None:
        """Set `status`, as the leader has ended; not yet, where its last lines decide that."""
        assert self.exit is not None
        is_stopped = self._stopped_at is not None or self._context.barrier.thrown
        if self.error is not None:  # also where it ended by itself meanwhile: that was told
            self.status = "failed"
        elif self.exit.stopped:
            self.status = "stopped"
        elif self.exit.code not in self._command.success_codes:
            self.status = "failed"
        elif self.is_ready:
            self.status = "succeeded"
        elif self.may_become_ready:
            return
        elif is_stopped:  # before that was known
            self.status = "stopped"
        else:
            reason = f"it has ended: {self.exit}"
            self.error = NotReadyError(self._command.name, reason, self.output.tail)
            self.status = "failed"
        self.is_judged = True

    def _tell_soon(self, message: Ready | Aborted) -> None:
        """Send a message, but after the one that tells of the start."""

        async def tell() -> None:
            await self._context.change.wait_for(lambda: self._told_start)
            await self._send(message)

        if self._tasks is not None:
            self._tasks.start_soon(tell)

    async def _send(self, message: BatchMessage) -> None:
        await self._context.channel.send(message)

    async def _end_group(self) -> None:
        if self._context.barrier.thrown:  # also before its turn has come to be stopped
            self._note_stop()
        if self.exit is None:
            self._cancel_checks()
        try:
            if not self.cannot_be_stopped:
                await self._stop()
        finally:
            self._note_over()

    async def _stop(self) -> None:
        grace = 0.0 if self._at_once else self._context.grace
        try:
            end = await self._launched().stop(self._command.stop_signal, grace)
        except CannotStopError as error:
            self._note_failure_to_stop(error)
        except Exception:  # of a launcher that keeps no contract
            self._let_go()
            raise
        else:
            self._note_exit(end)

    async def _let_output_end(self, process: Process) -> None:
        """End who has left the group and holds the output open, if that was to be stopped."""
        if process.stdin is not None:
            await process.stdin.aclose()  # a stranger may hold the other end
        if self._stopped_at is not None:
            with anyio.move_on_after(OUTPUT_TIME):
                await self.output.ended()
                return
            left = self._context.grace - (anyio.current_time() - self._stopped_at)
            await self.end_escapees(0 if self._at_once else max(left, LAST_GRACE))

    def _note_ready(self) -> None:
        self.is_ready = True
        self._context.change.notify_all()

    def _note_stop(self) -> None:
        if self._stopped_at is None:
            self._stopped_at = anyio.current_time()
            self._cancel_checks()

    def _note_exit(self, end: Exit) -> None:
        timed_out = isinstance(self.error, TimeLimitError)
        self.exit = replace(end, timed_out=True) if timed_out else end

    def _note_failure_to_stop(self, error: CannotStopError) -> None:
        self.error, self.status = error, "failed"
        self._let_go()

    def _note_over(self) -> None:
        self.may_run = False
        self._context.change.notify_all()

    def _let_go(self) -> None:
        """Wait no longer for what will not end: the leader, and its output."""
        if self._stoppable is not None:
            self._stoppable.cancel_scope.cancel()

    def _cancel_checks(self) -> None:
        if self._checks is not None:
            self._checks.cancel()
            self._checks = None
        self._context.change.notify_all()


async def _write_stdin(stdin: ByteSendStream, data: bytes) -> None:
    """Write `data` and end-of-file; a command need not read to the end."""
    try:
        await stdin.send(data)
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        pass
    finally:
        await stdin.aclose()
