"""The life of one command: `Lifecycle.run`, and below it the steps in order.

A life is a series of attempts (`attempt`) with waits between them.  The position in these
coroutines is the state; the property `state` only shows it.  One watcher, `stop_when_killed`, waits
at the kill barrier during all attempts.  The end of the life throws the job's own barrier, which
ends the watcher.  A command that is run again after its end gets a new `Lifecycle`.

Stop beats restart: the barrier is checked right before each launch and, by the watcher, right after
each launch.
"""

from __future__ import annotations

import random
import time
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias

import anyio

from currant._process.launcher import waited_of
from currant._supervisor.attempt import Attempt
from currant._supervisor.context import JobContext
from currant._synchronization import ChildBarrier, Notifier, keep_interrupts_out
from currant._values.command import PIPE, with_policies, with_pty, with_stdin
from currant._values.errors import (
    CannotStopError,
    CurrantError,
    DependencyError,
    JobEndedError,
    LaunchError,
)
from currant._values.launch_spec import places_of
from currant._values.messages import Aborted, Exited, Failed, Restarting, Skipped
from currant._values.policies import StopReason
from currant._values.restart import Again, Done, History, after_request, decide
from currant._values.results import Result

if TYPE_CHECKING:
    from currant._supervisor.context import RunnerContext
    from currant._values.command import Command
    from currant._values.exit import Exit
    from currant._values.launch_spec import Pty
    from currant._values.policies import Policies
    from currant._values.restart import Decision
    from currant._values.results import Status

__all__ = ["JobState", "Lifecycle"]

JobState: TypeAlias = Literal["queued", "running", "restarting", "stopping", "ended"]

_DONE, _NO_HISTORY = Done(), History()


class Lifecycle:
    """One life of a command in a Runner.

    The Supervisor calls `run` and `stop_when_killed`, once each.  If the command never starts, it
    calls `end_unstarted` or `skip` instead.

    Args:
        command: the command.
        policies: restart, grace and so on, with the Runner's defaults filled in.
        context: shared with the other commands.
        before: the last life of the command, which has ended; None for the first life.

    Attributes:
        command: as given.
        context: shared by the attempts: the barrier, the policies, and the notifier of changes.
        to_launch: the command for the next attempt: with its policies, terminal size and stdin.
        attempt: the current or last attempt; before the launch of the first, the first.
        result: how the command ended; None before.
        starts: how many processes have run in this life.
        attempts: how many attempts there were, with those of earlier lives.
        reactions: the scope of the tasks that restart the command when files change, or with other
            commands; a kill, or the next life, cancels it.
        is_forgotten: whether the Runner has forgotten the command, so that it cannot run again.
    """

    def __init__(
        self,
        command: Command,
        policies: Policies,
        context: RunnerContext,
        before: Lifecycle | None = None,
    ) -> None:
        self.command = command
        self.result: Result | None = None
        self.starts: int = 0
        self._earlier_attempts = 0 if before is None else before.attempts
        self.attempts: int = self._earlier_attempts
        barrier = ChildBarrier(context.barrier)
        transcript = context.channel.new_transcript(command.name, self._may_write_again)
        self.context: JobContext = JobContext(context, barrier, Notifier(), policies, transcript)
        self.to_launch: Command = with_policies(command, policies)
        if before is not None and before.command is command:
            self.to_launch = before.to_launch
        self.attempt: Attempt = Attempt(self.to_launch, self.context)
        self._phase: Literal["queued", "running", "restarting", "ended"] = "queued"
        self._times_ready = 0  # by earlier attempts
        self._waited = 0.0  # seconds that the first attempt waited for a place on a host
        self._history = _NO_HISTORY
        self._next: Decision = _DONE  # after this attempt
        self._is_killed = False  # by `kill`, not only by the Runner's barrier
        self._cut_short: anyio.CancelScope | None = None  # of what a kill cuts short
        self.reactions: anyio.CancelScope | None = None
        self.is_forgotten: bool = False

    @property
    def name(self) -> str:
        """The command's name."""
        return self.command.name

    @property
    def state(self) -> JobState:
        """The state that `Job.state` shows."""
        if self._phase != "ended" and (self.context.barrier.thrown or self.attempt.is_stopping):
            return "stopping"
        return self._phase

    @property
    def restarts(self) -> int:
        """How often the command has been started again."""
        return max(0, self.attempts - 1)

    @property
    def is_ready(self) -> bool:
        """Whether the process runs and is ready."""
        return self.attempt.is_ready and self.attempt.is_running and self.state == "running"

    @property
    def times_ready(self) -> int:
        """How often the command has become ready."""
        return self._times_ready + self.attempt.is_ready

    @property
    def has_ended(self) -> bool:
        """Whether the life is over."""
        return self._phase == "ended"

    @property
    def is_ending(self) -> bool:
        """Whether the command has ended, or is being stopped for good."""
        return self.context.barrier.thrown or self.has_ended

    @property
    def is_gone(self) -> bool:
        """Whether no process runs or will run; output may still be unread."""
        return self.has_ended or (self.context.barrier.thrown and not self.attempt.may_run)

    @property
    def starts_no_more(self) -> bool:
        """Whether no further process will be started, as far as that is known."""
        has_status = self.attempt.outcome.status is not None
        return self.is_ending or (has_status and not self._wants_another)

    @property
    def may_start_again(self) -> bool:
        """Whether a change of files begins another attempt, whenever this one ends."""
        return self.command.watch is not None and self.command.watch.restarts

    @property
    def is_watched(self) -> bool:
        """Whether a change of files begins another attempt: not after a kill of the command."""
        scope = self.reactions
        return self.may_start_again and scope is not None and not scope.cancel_called

    @property
    def end_so_far(self) -> Exit | CurrantError | Status | None:
        """How the present process, or the command, has ended; None if it has not."""
        end = self.attempt.outcome.exit
        if end is not None or self.result is None:
            return end
        return self.result.error or self.result.status

    async def started(self) -> None:
        """Wait until a process runs, or the command has ended; return at once if a process runs.

        Cancellation: harmless.
        """
        await self.context.change.wait_for(
            lambda: self.attempt.process is not None or self.has_ended
        )

    async def exited(self) -> None:
        """Wait for the exit of the present process, and for its last lines.

        Cancellation: harmless.
        """
        outcome, output = self.attempt.outcome, self.attempt.output
        await self.context.change.wait_for(lambda: outcome.exit is not None or self.has_ended)
        await output.ended()

    # ---- to ask for ----

    def kill(self, reason: str | None = None) -> None:
        """Stop the command for good; return at once.  A second call hurries.

        Any thread and any signal handler may call this.
        """
        is_repeated, self._is_killed = self._is_killed, True
        self.context.barrier.throw(reason)
        self.context.runner.home.call_in_task_soon(self.hurry if is_repeated else self._on_kill)

    def _on_kill(self) -> None:
        self.end_reactions()
        self.context.change.notify_all()
        if self.has_ended:  # The command may have begun another life.
            return
        if self.context.runner.barrier.thrown:  # Do not wait for the dependents any longer.
            self.attempt.stop_soon()
        self.context.runner.withdraw(self.name)

    def hurry(self) -> None:
        """Cut the grace short, if the command is being stopped; return at once."""
        if self.context.barrier.thrown:
            self.attempt.stop_soon(hurry=True)

    async def restart(self) -> None:
        """Stop the process if there is one, and return when a new process runs.

        Cancellation: the restart goes on.

        Raises:
            JobEndedError: the command is being stopped, or ends before it runs.
        """
        if self.is_ending:
            raise JobEndedError(self.name, "restart")
        starts = self.starts
        self.restart_soon()
        with self.context.runner.channel.waiting():
            await self.context.change.wait_for(lambda: self.starts > starts or self.has_ended)
        if self.result is not None and self.starts == starts:
            raise JobEndedError(self.name, "restart") from self.result.error

    def restart_soon(self, reason: str | None = None) -> None:
        """Stop the process if there is one, and start another; return at once.

        If a process is just being started, no further process starts.

        Args:
            reason: the cause, for the message; such a restart counts for no limit.  None: a call.
        """
        self._next = Again(0.0, reason)
        if not self.attempt.is_starting:
            self.attempt.stop_soon()
        self.context.change.notify_all()

    def end_reactions(self) -> None:
        """End the tasks that restart the command by themselves."""
        if self.reactions is not None:
            self.reactions.cancel()

    def end_input(self) -> None:
        """Close the stdin of this attempt, if that is a pipe; later attempts read end-of-file.

        A stop that has begun closes the pipe itself.
        """
        if self.command.stdin == PIPE and not (self.command.pty or self.context.barrier.thrown):
            self.to_launch = with_stdin(self.to_launch, None)
            self.attempt.close_input_soon()

    async def resize(self, size: Pty) -> None:
        """Set the size of the terminal, for this process and for later ones."""
        self.to_launch = with_pty(self.to_launch, size)
        await self.attempt.resize(size)

    def abort(self, fault: CurrantError) -> None:
        """Count the stop that follows as a failure, unless a stop was requested before."""
        is_between_attempts = not (self.attempt.is_running or self.context.barrier.thrown)
        if self._wants_another and is_between_attempts:
            self._next = _DONE
            self.attempt.outcome.fail(fault)
        else:
            self.attempt.abort(fault)

    # ---- for the Supervisor ----

    async def run(self) -> None:
        """Run attempts until no further attempt is wanted.

        Cancellation: a kill.  The Runner shields this; only the end of an event loop cancels it.
        """
        keep_interrupts_out(Lifecycle.run)
        began: float | None = None
        started_at: float | None = None
        try:
            if self._earlier_attempts:
                await self._end_escapees()
            while not self.attempt.outcome.cannot_be_stopped and await self._may_start():
                if began is None:
                    began, started_at = anyio.current_time(), time.time()
                await self._run_attempt()
                if self._wants_another:
                    await self._prepare_another()
                if not self._wants_another:  # Nor beside an escapee that survived SIGKILL.
                    break
                await self._wait_to_restart()
            outcome = self.attempt.outcome
            if isinstance(error := outcome.error, CannotStopError):
                self._stop_others(outcome.status, error)
                await self.context.send(Aborted(self.name, error, self.attempts, time.time()))
        finally:
            duration = 0.0 if began is None else anyio.current_time() - began - self._waited
            started_at = None if started_at is None else started_at + self._waited
            outcome = self.attempt.outcome
            # If another attempt is wanted, a kill came before its start.
            status = "stopped" if self._wants_another else outcome.status
            self._end(status or "stopped", outcome.error, duration, started_at)

    async def stop_when_killed(self) -> None:
        """Stop the process as soon as the barrier is thrown: the watcher.

        If all commands are stopped, this waits for the dependents of this command first.
        Cancellation: as for `run`.
        """
        await self.context.barrier.wait()
        self.context.change.notify_all()
        if self._cut_short is not None:
            self._cut_short.cancel()
        if self.context.runner.barrier.thrown and not self._is_killed:
            await self.context.runner.wait_for_dependents(self.name)
        await self.context.change.wait_for(lambda: not self.attempt.is_starting or self.has_ended)
        await self.attempt.stop()

    def end_unstarted(self) -> None:
        """End the command as stopped: a kill has come before its first start."""
        self._end("stopped", None)

    async def skip(self, reason: str) -> None:
        """End the command without a start: a dependency can never be met.

        For the command's own `kill_others_on`, this is a failure.
        Cancellation: the message may not have been sent.
        """
        error = DependencyError(self.name, reason)
        self._end("skipped", error)
        if not self.may_start_again:
            self._stop_others("skipped", error)
        await self.context.send(Skipped(self.name, error, time.time()))

    # ---- the steps of `run` ----

    @property
    def _wants_another(self) -> bool:
        """Whether another attempt follows; never beside a process that survived SIGKILL."""
        return isinstance(self._next, Again) and not self.attempt.outcome.cannot_be_stopped

    @property
    def _reason(self) -> str | None:
        """The cause of the next attempt; None: the policy, a call, or no attempt follows."""
        return self._next.reason if isinstance(self._next, Again) else None

    def _may_write_again(self) -> bool:
        """Return whether another attempt may follow, as far as that is known while one runs."""
        return self._wants_another or (
            self.context.policies.restart.when != "never" and not self.context.barrier.thrown
        )

    async def _may_start(self) -> bool:
        """Wait for a turn to start; then, in the same step as the start, look at the barrier."""
        await self.context.runner.take_turn()
        return not self.context.barrier.thrown

    async def _run_attempt(self) -> None:
        """Run one attempt to its end, and report the exit or the failed launch."""
        self._next = _DONE
        if self.attempts > self._earlier_attempts:
            self._times_ready = self.times_ready
            self.attempt = Attempt(self.to_launch, self.context)
        self.attempts += 1
        attempt, process = self.attempt, None
        with anyio.CancelScope() as self._cut_short:
            process = await attempt.launch(self.to_launch, self.attempts)
        self._cut_short = None
        if process is None:
            await self._report_failed_launch()
            return
        if self.attempts == self._earlier_attempts + 1:
            self._waited = waited_of(process)
        # No `await` from here to `run_to_completion`: nothing else would stop the process.
        self._next = _DONE  # This launch also serves a restart that was requested meanwhile.
        self._phase = "running"
        self.starts += 1
        self.context.change.notify_all()
        await attempt.run_to_completion(process, self._decide)
        end = attempt.outcome.exit
        if end is not None:
            number, usage, stopping = attempt.number, attempt.usage, attempt.stopping
            await self.context.send(Exited(self.name, end, number, time.time(), usage, stopping))

    async def _report_failed_launch(self) -> None:
        error = self.attempt.outcome.error
        if isinstance(error, LaunchError):  # Otherwise a kill came first.
            self._decide(uptime=0.0)
            await self.context.send(Failed(self.name, error, self.attempt.number, time.time()))

    def _decide(self, uptime: float) -> None:
        """Once the status is known, decide whether to restart, and to stop other commands."""
        outcome, policy = self.attempt.outcome, self.context.policies.restart
        if self._wants_another:  # A restart was requested.
            after = after_request(policy, self._history, uptime=uptime)
            self._history = after if self._reason is None else _NO_HISTORY
            return
        if outcome.status == "stopped":
            return
        decision, self._history = decide(
            policy,
            self._history,
            failed=outcome.status == "failed",
            uptime=uptime,
            random=random.random(),
        )
        # If the exit status is lost, it is lost after each restart, and the command may have
        # succeeded each time.
        is_final = self.context.barrier.thrown or outcome.is_status_lost
        if not is_final:
            self._next = decision
        if isinstance(self._next, Done) and not self.may_start_again:
            self._stop_others(outcome.status, outcome.error or outcome.exit)

    def _stop_others(self, status: Status | None, end: CurrantError | Exit | None) -> None:
        """Stop all commands, if the policy says so for this command's end."""
        if self.context.policies.kills_others(status):
            reason = str(end) if isinstance(end, CurrantError) else f"{self.name!r} ended: {end}"
            self.context.runner.barrier.throw(StopReason(reason, self.name))

    async def _prepare_another(self) -> None:
        """Before another attempt, end the escapees of this one."""
        self._phase = "restarting"
        if self.attempt.outcome.exit is not None:
            await self._end_escapees()
        self.attempt.has_left_nothing = not self.context.barrier.thrown
        self.context.change.notify_all()

    async def _end_escapees(self) -> None:
        """End the escapees of earlier attempts; after a kill, the Runner ends them."""
        if self.context.barrier.thrown:
            return
        with anyio.CancelScope() as self._cut_short:
            await self.attempt.end_escapees()
        self._cut_short = None

    async def _wait_to_restart(self) -> None:
        """Announce the restart and wait out its delay, unless a kill or a request cuts it."""
        while isinstance(again := self._next, Again) and not self.context.barrier.thrown:
            await self._announce_restart(again)
            with anyio.move_on_after(again.delay):
                await self.context.change.wait_for(partial(self._is_overtaken, again))
            if self._next is again or self._reason is None:
                return

    def _is_overtaken(self, again: Again) -> bool:
        return self.context.barrier.thrown or self._next is not again

    async def _announce_restart(self, again: Again) -> None:
        number = self.attempts + 1
        await self.context.send(
            Restarting(self.name, number, again.delay, time.time(), again.reason)
        )

    def _end(
        self,
        status: Status,
        error: CurrantError | None,
        duration: float = 0.0,
        started_at: float | None = None,
    ) -> None:
        output, places = self.attempt.output, places_of(self.command)
        self.result = Result(
            command=self.name,
            exit=self.attempt.outcome.exit,
            error=error,
            status=status,
            attempts=self.attempts - self._earlier_attempts,
            duration=duration,
            started_at=started_at,
            stdout=output.captured("stdout") if places.stdout is None else None,
            stderr=output.captured("stderr") if places.stderr is None else None,
            omitted=output.omitted,
            places=places,
            tail=output.tail,
            usage=self.attempt.usage,
            host=self.attempt.host,
        )
        self._phase = "ended"
        self.context.runner.channel.end_transcript(self.context.transcript)
        self.context.change.notify_all()
        self.context.barrier.throw_in_loop()  # This ends the watcher.
