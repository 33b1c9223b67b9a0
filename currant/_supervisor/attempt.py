"""One attempt at running a command: its process, and the tasks beside it until all is over.

Start with `run_to_completion`.  Beside the process, each stream that has output is read by a task.
If the command has probes or a time limit, another task checks the process (`health`).  After the
leader has exited, leftover processes of the group are stopped (or waited for, or left alone), the
output is drained, and everything is freed.  How the attempt has ended is in its `outcome`.

Two invariants hold through every error and cancellation.  No process outlives the attempt: the
group is stopped behind a shield, bounded by the grace.  Stopping never waits for a reader: the task
that waits for the process sends no message, so a full channel cannot hold up a stop.

Each task costs a command 30 to 60 µs of about 700, and a cancelled task costs twice that.
"""

from __future__ import annotations

import time
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, cast

import anyio
from anyio.lowlevel import checkpoint

from currant._channel.output import Output
from currant._channel.silence import Silence
from currant._channel.spill import SpillFile
from currant._process.launcher import Outlived, Resizable, host_of, is_interrupted, waited_of
from currant._supervisor.announcer import Announcer
from currant._supervisor.health import Health
from currant._supervisor.outcome import Outcome
from currant._supervisor.requested_stop import RequestedStop
from currant._supervisor.standard_input import StandardInput
from currant._supervisor.sweep import end_escapees_of
from currant._synchronization import start_task
from currant._values.capture import as_capture
from currant._values.command import flush_after_of
from currant._values.errors import (
    CannotStopError,
    HostLostError,
    LaunchError,
    SpillError,
    TimeLimitError,
    UnresponsiveError,
)
from currant._values.messages import Aborted, Ready, Started

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.abc import TaskGroup

    from currant._process.launcher import Process, Watched
    from currant._supervisor.context import JobContext
    from currant._values.command import Command
    from currant._values.errors import CurrantError
    from currant._values.exit import Exit
    from currant._values.launch_spec import Pty, SignalTarget
    from currant._values.usage import Usage

__all__ = ["Attempt"]


class _Starting(NamedTuple):
    """The launcher is starting the process."""


class _Running(NamedTuple):
    """The process runs, or processes of its group do; `tasks` run beside it."""

    process: Process
    tasks: TaskGroup


class _Draining(NamedTuple):
    """The group is empty; output may still be unread."""

    process: Process
    tasks: TaskGroup


class _NoProcess(NamedTuple):
    """No process, before the start or after everything is freed."""


_Phase: TypeAlias = _Starting | _Running | _Draining | _NoProcess
_STARTING, _NO_PROCESS = _Starting(), _NoProcess()


class Attempt:
    """One attempt at running a command.

    Args:
        command: the command, with the grace that holds in this Runner.
        context: shared with the other attempts of the job.

    Attributes:
        number: counts from 1; 0 before the launch.
        output: the output of the process.
        host: the host of the process; None: this machine, or there was no process yet.
        outcome: how the attempt ends.
        usage: what the process has used; None until all is over, or if that is unknown.
        stopping: seconds from the request to stop until all was over; None until then, or if the
            leader exited without a request.
        has_left_nothing: whether the escapees are gone too, so that another attempt may begin; the
            life sets this.
    """

    def __init__(self, command: Command, context: JobContext) -> None:
        self._command = command
        self._context = context
        self.number: int = 0
        self.output: Output = self._new_output()
        self.host: str | None = None
        self.outcome: Outcome = Outcome(command)
        self.usage: Usage | None = None
        self.stopping: float | None = None
        self.has_left_nothing: bool = False
        self._phase: _Phase = _NO_PROCESS
        self._launched_at = 0.0  # on the clock of the event loop
        self._was_interrupted = False
        self._size: Pty | None = None  # asked for while there was no process
        self._input = StandardInput(command)
        self._requested_stop = RequestedStop(command, context, self._input, self.outcome)
        self._announcer = Announcer(context)
        self._health = Health(command, context.launcher, self.output, context.change, self)

    def _new_output(self) -> Output:
        command, context = self._command, self._context
        capture = as_capture(context.policies.capture)
        path = None if capture is None else capture.spill_of(command.name)
        return Output(
            command.name,
            capture,
            () if command.ready is None else command.ready.line_probes,
            context.send,
            line_limit=command.line_limit,
            flush_after=flush_after_of(command),
            max_output=command.max_output,
            silence=None if command.idle_timeout is None else Silence(streams=2),
            spill=None if path is None else SpillFile(command.name, path, self.on_output_fault),
            on_fault=self.on_output_fault,
            transcript=context.transcript,
        )

    @property
    def pid(self) -> int | None:
        """The leader's process ID while any process of the group may run."""
        return self._phase.process.pid if isinstance(self._phase, _Running) else None

    @property
    def process(self) -> Process | None:
        """The process, until all is over."""
        return self._phase.process if isinstance(self._phase, (_Running, _Draining)) else None

    @property
    def input_was_closed(self) -> bool:
        """Whether the program has closed the pipe to the process; see `StandardInput`."""
        return self._input.was_closed

    @property
    def is_starting(self) -> bool:
        """Whether the process is being started."""
        return self._phase is _STARTING

    @property
    def is_running(self) -> bool:
        """Whether there is a process that is not known to have exited."""
        return self.process is not None and self.outcome.exit is None

    @property
    def may_run(self) -> bool:
        """Whether any process of the attempt may run."""
        return isinstance(self._phase, (_Starting, _Running))

    @property
    def is_ready(self) -> bool:
        """Whether the process has become ready; without a `ready` probe, whether it has started."""
        return self._health.readiness == "ready"

    @property
    def may_become_ready(self) -> bool:
        """Whether checks go on that may still find the process ready."""
        return self._health.readiness == "pending"

    @property
    def why_unready(self) -> str | None:
        """What the last check for readiness has found that failed; None if none has."""
        return self._health.why_unready

    @property
    def is_stopping(self) -> bool:
        """Whether the process was asked to stop, and not all is over."""
        return self._requested_stop.is_requested and self.process is not None

    @property
    def grace_of_escapees(self) -> float:
        """What is left of the grace after a stop; without a stop, escapees have all of theirs."""
        return self._requested_stop.grace_of_escapees

    async def launch(self, command: Command, number: int) -> Process | None:
        """Start and return the process; if that fails, note why and return None.

        The terminal of `command` may have another size than before.
        Cancellation: nothing is left running.
        """
        self._command, self.number = command, number
        self._phase = _STARTING
        self._launched_at = anyio.current_time()
        process: Process | None = None
        try:
            if self.output.spill is not None:
                await self.output.spill.create()
            if not self._context.barrier.thrown:
                process = await self._context.launcher.launch(self._command)
                self._launched_at += waited_of(process)
        except LaunchError as error:
            self.outcome.note_failed_launch(error, was_killed=self._context.barrier.thrown)
        finally:
            if process is None:
                self._enter(_NO_PROCESS)
        return process

    async def run_to_completion(self, process: Process, on_end: Callable[[float], None]) -> None:
        """Wait until the leader, its group and the output have ended.

        Call this without an `await` after `launch`: until then nothing would stop the process.
        Cancellation: stops the process.

        Args:
            process: the process that `launch` returned.
            on_end: called as soon as the status is known, with the seconds that the process was up;
                not called if the exit never becomes known.
        """
        exited_at: float | None = None
        try:
            async with anyio.create_task_group() as tasks:
                running = _Running(process, tasks)
                try:
                    self._begin(running)
                    self._note_exit(await self._exit_of(running))
                    exited_at = anyio.current_time()
                    self._refuse_interrupted_success(process)
                    self._health.leader_exited(tasks, self._context.limits.last_lines)
                    if self._judge():
                        on_end(self._uptime(exited_at))
                except HostLostError as error:
                    self._note_lost(error)
                    on_end(self._uptime(anyio.current_time()))
                finally:
                    # Also when the event loop is torn down.  Bounded: grace, and limits.reap.
                    with anyio.CancelScope(shield=True):
                        await self._stop_and_drain(running)
            if exited_at is not None and self.outcome.status is None:
                self._judge()
                on_end(self._uptime(exited_at))
        finally:
            self._enter(_NO_PROCESS)
            await process.aclose()
        self.usage = getattr(process, "usage", None)  # An isinstance of `Measured` takes 15 µs.
        end = self.outcome.exit
        if self._requested_stop.is_requested and end is not None and end.stopped:
            self.stopping = self._requested_stop.seconds

    # ---- to ask for ----

    async def stop(self) -> None:
        """Stop the process, if there is one, and return when the group is empty.

        A second call joins the stop that is under way, with the rest of the grace.
        Cancellation: the process has been asked to stop.
        """
        self._request_stop()
        if isinstance(self._phase, _Running):
            await self._stop(self._phase)

    def stop_soon(self, *, hurry: bool = False) -> None:
        """Begin to `stop`, and return at once; a process that is being started stops after that.

        Args:
            hurry: whether the grace is over now, also for a stop that is under way.
        """
        self._request_stop(hurry=hurry)
        if isinstance(self._phase, _Running):
            start_task(self._phase.tasks, self._stop, self._phase)

    def abort(self, fault: CurrantError) -> bool:
        """Mark the attempt as failed, and return True; the caller then stops it.

        Return False if it has failed or exited already, or is being stopped.
        """
        is_stopped = self.is_stopping or self._context.barrier.thrown
        may_fail = self.may_run and self.is_running and self.outcome.error is None
        if is_stopped or not may_fail:
            return False
        self._note_fault(fault)
        return True

    async def end_escapees(self, grace: float = inf) -> None:
        """Stop the escapees of the attempt, or fail if they cannot be stopped.

        Cancellation: the escapees have been asked to stop.
        """
        try:
            await end_escapees_of(self._command, self._context.launcher, grace)
        except CannotStopError as error:
            self._note_failure_to_stop(error)

    async def send_signal(self, signal: int, to: SignalTarget) -> bool:
        """Send a signal to the group or the leader; return whether it reached a process."""
        process = self.process
        if process is None:
            return False
        # Pass `to` only if needed: a launcher may support signals to the group alone.
        return await (
            process.send_signal(signal, to) if to != "group" else process.send_signal(signal)
        )

    async def close_input(self) -> None:
        """Close the input of the process, if there is one; see `StandardInput.aclose`."""
        if self.process is not None:
            await self._input.aclose(self.process)

    def close_input_soon(self) -> None:
        """Close a pipe to the process, and return at once."""
        tasks = self._phase.tasks if isinstance(self._phase, _Running) else None
        self._input.close_soon(self.process, tasks)

    async def resize(self, size: Pty) -> None:
        """Resize the terminal of the process; if there is none yet, as soon as there is."""
        self._size = size
        if (process := self.process) is not None and isinstance(process, Resizable):
            await process.resize(size.rows, size.columns)
        else:
            await checkpoint()

    # ---- the steps of `run_to_completion` ----

    def _begin(self, running: _Running) -> None:
        process, tasks = running.process, running.tasks
        self.host = host_of(process)
        self._enter(running)
        name, launching = self._command.name, anyio.current_time() - self._launched_at
        started = Started(name, process.pid, self.number, time.time(), self.host, launching)
        # An isinstance of a protocol takes 15 µs.
        is_watched = getattr(process, "watch", None) is not None
        if is_watched and self._announcer.started_nowait(started):
            self.output.read_later(process.stdout, process.stderr)
        else:
            start_task(tasks, self._report_start_and_read, started, running)
        self._input.start(process, tasks)
        if self._size is not None:
            start_task(tasks, self.resize, self._size)
        # A kill during the launch may not have reached the watcher yet.
        self._health.start(process, tasks, is_stopped=self._requested_stop.is_due)
        if self._requested_stop.is_requested:  # during the launch
            self._requested_stop.begin_again()
            start_task(tasks, self._stop, running)

    async def _exit_of(self, running: _Running) -> Exit:
        """Wait for the exit of the leader, and perhaps of the processes that it leaves behind.

        Cancellation: requests a stop, or after a kill hurries it.  In a Runner only the end of the
        event loop cancels this task, and on asyncio a second Ctrl-C ends the event loop.
        """
        try:
            return await self._wait(running)
        except BaseException:  # a cancellation, Ctrl-C, or a lost host
            self._was_interrupted = True
            was_killed = self._context.barrier.thrown and self._requested_stop.is_requested
            self._request_stop(hurry=was_killed)
            raise

    async def _wait(self, running: _Running) -> Exit:
        process = running.process
        if self.output.unstarted:
            await self._read_from_first_output(cast("Watched", process), running.tasks)
        end = await process.wait()
        if self._command.leftovers == "wait" and isinstance(process, Outlived):
            await process.wait_group()
            if self._requested_stop.is_requested and end.code in self._command.success_codes:
                return replace(end, stopped=True)  # The processes left behind were stopped.
        return end

    async def _read_from_first_output(self, process: Watched, tasks: TaskGroup) -> None:
        """Have each stream read in `tasks` from its first output on, and return at the exit."""
        has_exited, output = False, self.output
        try:
            while not has_exited and (watch := process.watch) is not None:
                has_exited, begun, ended = await watch.next()
                for stream in begun:
                    output.read_soon(stream, tasks, has_begun=True)
                for stream in ended:
                    output.end_unstarted(stream)
        except anyio.ClosedResourceError:  # The launcher was left; the exit tells the rest.
            pass
        finally:
            for stream in list(output.unstarted):  # A descendant may still write.
                output.read_soon(stream, tasks, has_begun=False)

    async def _report_start_and_read(self, started: Started, running: _Running) -> None:
        await self._announcer.started(started)
        process, tasks = running
        await self.output.read(process.stdout, process.stderr, tasks)

    async def _stop_and_drain(self, running: _Running) -> None:
        """Stop the group, and drain the output.

        Cancellation: goes on when all is done, because the processes have a grace; the second one
        goes on at once.  The native cancellation of asyncio, and Ctrl-C, reach through a shield.
        """
        try:
            await self._stop_group(running)
            await self._drain(running.process)
        except BaseException as error:
            is_first = not (self._was_interrupted or isinstance(error, Exception))
            self._was_interrupted = True
            if is_first:
                await self._stop_and_drain(running)
            else:
                self.output.give_up()
            raise

    async def _stop_group(self, running: _Running) -> None:
        """Stop the group, or after the exit of the leader the leftover processes."""
        if self._context.barrier.thrown:  # A kill may not have reached the watcher yet.
            self._request_stop()
        if self.outcome.exit is None:
            self._health.cancel()
        process = running.process
        try:
            if await self._leaves_group() and isinstance(process, Outlived):
                process.leave_group()
            elif not self.outcome.cannot_be_stopped:
                await self._stop(running)
        finally:
            self._enter(_Draining(running.process, running.tasks))

    async def _leaves_group(self) -> bool:
        """Return whether the leftover processes go on: after a success that was no stop."""
        end = self.outcome.exit
        if end is None or self._command.leftovers != "leave":
            return False
        if self._requested_stop.is_requested:
            return False
        if self.outcome.status is None:
            # The last output decides, but a leftover may hold the pipe.
            with anyio.move_on_after(self._context.limits.end_of_output):
                await self.output.ended()
        is_in_order = self.outcome.error is None and self._health.readiness != "missed"
        return is_in_order and end.code in self._command.success_codes

    async def _drain(self, process: Process) -> None:
        """Drain the output; after a stop, end the escapees that hold the pipes open."""
        if process.stdin is not None:
            await process.stdin.aclose()  # Another process may hold the other end.
        if not self._requested_stop.is_requested or self.output.has_ended:
            return
        with anyio.move_on_after(self._context.limits.end_of_output):
            await self.output.ended()
            return
        await self.end_escapees(self.grace_of_escapees)

    def _judge(self) -> bool:
        """Set the status and return True; return False if unread output still decides it."""
        was_stopped = self._requested_stop.is_due
        return self.outcome.judge(self._health.readiness, self.output, was_stopped=was_stopped)

    def _uptime(self, exited_at: float) -> float:
        """Return for how many seconds the process was ready and passed its `alive` probe."""
        error = self.outcome.error
        if isinstance(error, TimeLimitError) and error.kind != "idle":
            return 0.0
        if isinstance(error, (TimeLimitError, UnresponsiveError)):
            exited_at = self._health.passed_at
        return max(0.0, exited_at - self._health.ready_at)

    # ---- a stop ----

    def _request_stop(self, *, hurry: bool = False) -> None:
        if self.output.spill is not None:
            left = 0.0 if hurry else self._context.policies.grace
            self.output.spill.limit_wait(left + self._context.limits.spill)
        if not self._requested_stop.is_requested:
            if not self.may_run:
                return
            self._requested_stop.begin()
            self._health.cancel()
        if hurry:
            self._requested_stop.hurry()

    async def _stop(self, running: _Running) -> None:
        try:
            grace = await self._requested_stop.ask_without_signal(running.process)
            end = await running.process.stop(self._command.stop_signal, grace)
        except CannotStopError as error:
            self._note_failure_to_stop(error)
        except HostLostError as error:
            self._note_lost(error)
        except Exception:  # The launcher broke its contract.
            self._abandon(running)
            raise
        else:
            self._note_exit(end)

    # ---- what happens to the process ----

    def on_ready(self, after: float) -> None:
        """Send `Ready`."""
        self._send_soon(Ready(self._command.name, after, time.time()))
        if self.outcome.exit is not None:
            self._health.cancel()

    def on_fault(self, fault: CurrantError) -> None:
        """Fail and stop because of `fault`; called by the checks."""
        if self.abort(fault):
            self.stop_soon()

    def on_output_fault(self, fault: CurrantError) -> None:
        """Fail because of `fault`; called by the output, which may be read after the exit.

        A command that was stopped first has not failed, unless its file lacks output.
        """
        if self.outcome.exit is None:
            self.on_fault(fault)
        end = self.outcome.exit
        is_failure = isinstance(fault, SpillError) or not (end is None or end.stopped)
        if self.outcome.error is None and is_failure:
            self._note_fault(fault)

    def _note_fault(self, fault: CurrantError) -> None:
        self.outcome.note_fault(fault)
        self._health.cancel()
        self._send_soon(Aborted(self._command.name, fault, self.number, time.time()))

    def _note_lost(self, error: HostLostError) -> None:
        """Fail because the host is lost: how all its processes end will never be known."""
        if self.outcome.error is None:
            self._note_fault(error)
        self.outcome.note_lost_host()

    def _refuse_interrupted_success(self, process: Process) -> None:
        """Fail if the end of the host has stopped the process, whatever its exit code is."""
        end = self.outcome.exit
        is_success = end is not None and end.code in self._command.success_codes
        is_due = self._requested_stop.is_due
        if is_interrupted(process) and is_success and self.outcome.error is None and not is_due:
            error = HostLostError(
                process.host, "its agent was asked to end, and stopped the command"
            )
            self._note_fault(error)

    def _note_failure_to_stop(self, error: CannotStopError) -> None:
        """Record that a process survived SIGKILL, and wait no longer for its exit and output."""
        self.outcome.fail(error)
        if isinstance(self._phase, _Running):
            self._abandon(self._phase)

    def _abandon(self, running: _Running) -> None:
        self.output.give_up()
        running.tasks.cancel_scope.cancel()

    def _enter(self, phase: _Phase) -> None:
        self._phase = phase
        self._context.change.notify_all()

    def _note_exit(self, end: Exit) -> None:
        self.outcome.note_exit(end, was_asked=self._requested_stop.was_asked)

    def _send_soon(self, message: Ready | Aborted) -> None:
        if isinstance(self._phase, (_Running, _Draining)):
            self._announcer.soon(message, self._phase.tasks)
