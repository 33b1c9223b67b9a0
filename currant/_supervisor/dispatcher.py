"""Starts the lives of commands: registers, admits and runs each command.

A registered command has a job.  An admitted command waits for its dependencies, and then in the
queue of the `scheduler`.  Then the life of the command runs in a task, and the watcher in another
task.  From the registration to the end, the channel counts the command as a producer.

A command that has ended may be run again: a new life is registered under its name, and is admitted
and run like the first.  A life ends after its last process and message, but for `Skipped`, which
the channel sends before all later messages of the command.  So no two lives overlap.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING

import anyio
from anyio.lowlevel import checkpoint

from currant._supervisor.conditions import Conditions
from currant._supervisor.context import RunnerContext
from currant._supervisor.job import Job, keep_life
from currant._supervisor.lifecycle import Lifecycle
from currant._supervisor.reactions import Reactions
from currant._supervisor.scheduler import Scheduler
from currant._synchronization import Notifier
from currant._values.errors import JobEndedError
from currant._values.names import ByName

if TYPE_CHECKING:
    from collections.abc import Iterable

    from currant._channel.channel import Channel
    from currant._process.launcher import Launcher
    from currant._supervisor.failure import Failure
    from currant._synchronization import HomeLoop, KillBarrier
    from currant._values.command import Command, CommandLike
    from currant._values.plan import Plan
    from currant._values.shutdown_limits import ShutdownLimits

__all__ = ["Dispatcher"]

AT_A_TIME = 50
"""Commands that are dealt with before other tasks run: a thousand in a row take 10 ms."""


class Dispatcher:
    """Registers commands and runs their lives.

    Args:
        plan: the commands, their dependencies and policies.
        launcher: starts the processes.
        channel: takes the messages.
        barrier: the Runner's.
        home: the event loop of the Runner.
        limits: how long each step of a shutdown may take.
        max_processes: how many commands may run at the same time; None: all.
        failure: records the errors that no life handles.
        keep_results: how many commands that have ended are remembered; None: all.

    Attributes:
        jobs: the handles by name, in the order of registration.
        lives: the current or last life of each command by name, in the same order.
        tasks: the task group of the lives, which the Supervisor enters.
        is_complete: whether all planned commands are registered.
        is_closed: whether the block was left, so that no command is run again.
        reactions: restart commands when files change, and with other commands.
        some_ended: is notified when a command has ended.
    """

    def __init__(
        self,
        plan: Plan,
        launcher: Launcher,
        channel: Channel,
        barrier: KillBarrier,
        home: HomeLoop,
        limits: ShutdownLimits,
        max_processes: int | None,
        failure: Failure,
        keep_results: int | None = None,
    ) -> None:
        self.jobs: ByName[Job] = ByName()
        self.lives: dict[str, Lifecycle] = {}
        self.tasks = anyio.create_task_group()
        self.is_complete = False
        self.is_closed = False
        self._plan = plan
        self._channel = channel
        self._failure = failure
        self._conditions = Conditions(plan.dependencies, self.lives)
        self._scheduler: Scheduler[Lifecycle] = Scheduler(max_processes)
        self.some_ended = Notifier()
        self._keep_results = keep_results
        self._ended: deque[Lifecycle] = deque()  # those that may be forgotten
        self._waits: dict[str, anyio.CancelScope] = {}  # for other commands, by name
        self._starting = anyio.Lock(fast_acquire=True)
        self._context = RunnerContext(
            launcher=launcher,
            channel=channel,
            barrier=barrier,
            home=home,
            limits=limits,
            take_turn=self._take_turn,
            withdraw=self._withdraw,
            run_again=self._run_again,
            wait_for_dependents=self._conditions.wait_for_dependents,
        )
        self.reactions = Reactions(
            plan, self.lives, self._conditions, channel, self._context, failure
        )

    async def _take_turn(self) -> None:
        """Let other tasks run between two starts, each of which blocks the event loop."""
        async with self._starting:
            await checkpoint()

    async def register_all(self) -> None:
        """Register all planned commands."""
        for number, command in enumerate(list(self._plan.commands.values()), 1):
            self._register(command)
            if number % AT_A_TIME == 0:
                await checkpoint()
        self.is_complete = True

    async def admit_all(self) -> None:
        """Admit all registered commands."""
        for number, life in enumerate(list(self.lives.values()), 1):
            self._begin(life)
            if number % AT_A_TIME == 0:
                await checkpoint()

    def add(self, command: CommandLike) -> Job:
        """Register and admit one more command, or a new life of a command that has ended.

        Raises:
            CommandError: the command is wrong.
            DuplicateNameError: the command was given the name of a command that has not ended.
        """
        life = self._register(self._plan.add(command, self._may_run_again))
        self._context.home.call_in_task(partial(self._begin, life))  # Only a task starts tasks.
        return self.jobs[life.name]

    def dispatch(self) -> None:
        """Begin the lives for which there is room; after a kill, end all that have not begun."""
        step = self._scheduler.decide(is_stopped=self._context.barrier.thrown)
        for life in step.end:
            self._end_unstarted(life)
        for life in step.begin:
            self.tasks.start_soon(self._run_life, life, name=f"currant job {life.name}")
            watch = life.stop_when_killed
            self.tasks.start_soon(self._failure.noting, watch, name=f"watcher of {life.name}")

    def hurry(self) -> None:
        """Cut the grace of all commands short."""
        for life in self.lives.values():
            life.hurry()

    def end_inputs(self) -> None:
        """Close the stdin of all commands with ``stdin=PIPE``, of later attempts too."""
        for life in self.lives.values():
            life.end_input()

    def longest_stop(self, lives: Iterable[Lifecycle]) -> float:
        """Return the seconds that `lives` may take to stop, dependents first."""
        return self._plan.dependencies.longest_chain(
            {life.name: life.context.policies.grace for life in lives}
        )

    def _register(self, command: Command) -> Lifecycle:
        name = command.name
        policies, before = self._plan.policies_of(command), self.lives.get(name)
        self.lives[name] = life = Lifecycle(command, policies, self._context, before)
        self._channel.add_producer()
        self.reactions.register(life)
        if before is None:
            self.jobs[name] = Job(name, self.lives)
        else:
            before.end_reactions()
            before.context.change.notify_all()  # Tasks that wait for the command look at this life.
        return life

    def _may_run_again(self, name: str) -> bool:
        """Return whether no process of the command is left, and none will start by itself."""
        life = self.lives[name]
        return life.has_ended and not life.attempt.outcome.cannot_be_stopped

    def _run_again(self, name: str) -> None:
        """Begin another life of a command that has ended.

        Raises:
            JobEndedError: the Runner has ended or is being stopped, or the old process still runs.
            CommandError: the commands no longer fit together.
        """
        life = self.lives[name]
        if self.is_closed or self._context.barrier.thrown or not self._may_run_again(name):
            raise JobEndedError(name, "restart") from life.attempt.outcome.error
        self.add(life.command)

    def _begin(self, life: Lifecycle) -> None:
        self.reactions.begin(life)
        self._admit(life)

    def _admit(self, life: Lifecycle) -> None:
        """Queue a command, once the dependencies are met."""
        if life.is_ending:  # A kill came first.
            self._end_unstarted(life)
        elif life.name in self._plan.dependencies:
            self._waits[life.name] = scope = anyio.CancelScope()
            self.tasks.start_soon(self._wait_for_needs, life, scope)
        else:
            self._enqueue(life)

    async def _wait_for_needs(self, life: Lifecycle, scope: anyio.CancelScope) -> None:
        """Wait outside the queue until the dependencies are met, or cannot be."""
        reason: str | None = None
        with scope:  # cancelled if the command is killed
            reason = await self._conditions.wait_for_needs(life)
        del self._waits[life.name]
        if life.is_ending:
            self._end_unstarted(life)
        elif reason is None:
            self._enqueue(life)
        else:
            try:
                await life.skip(reason)
            finally:
                self._note_end(life)

    def _enqueue(self, life: Lifecycle) -> None:
        self._scheduler.add(life)
        self.dispatch()

    def _withdraw(self, name: str) -> None:
        """End a command that was killed before its life began."""
        if name in self._waits:
            self._waits[name].cancel()
        elif self._scheduler.remove(self.lives[name]):
            self._end_unstarted(self.lives[name])

    def _end_unstarted(self, life: Lifecycle) -> None:
        life.end_unstarted()
        self._note_end(life)

    async def _run_life(self, life: Lifecycle) -> None:
        try:
            await self._failure.noting(life.run)
        finally:
            self._scheduler.release()
            self._note_end(life)
            self.dispatch()

    def _note_end(self, life: Lifecycle) -> None:
        """Note that a life is over, and forget lives that are over for longer."""
        self._channel.remove_producer()
        self.some_ended.notify_all()
        if self._keep_results is not None:
            self._ended.append(life)
            while len(self._ended) > self._keep_results:
                self._forget(self._ended.popleft())

    def _forget(self, life: Lifecycle) -> None:
        """Forget a command, unless it may run again or another command refers to it."""
        name = life.name
        is_last = self.lives.get(name) is life and life.has_ended
        if is_last and not (life.may_start_again or self._plan.is_needed(name)):
            self._plan.forget(name)
            del self.lives[name]
            keep_life(self.jobs.pop(name), life)  # The caller may hold the job.
            self._channel.forget_transcript(life.context.transcript)
