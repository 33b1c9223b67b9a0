"""`Supervisor`: the tasks of a Runner's block, nested in the order in which they end.

    launcher           ends last, and stops leftover processes
      sinks            end after the last message
        killing        calls from other threads, news of hosts, reactions, the time limit, sweeps
          lives        all commands

One shielded task, the supervisor, owns these.  So whatever cancels the task of the block, a cancel
scope or a native `asyncio.Task.cancel`, a command is stopped in one way only: by the kill barrier,
with the grace.  The task of the block yields to the body, throws the barrier if the body did not
end normally, and waits.

Rejected: a cancellation that reaches the task of each command.  Then every `except` is part of the
kill path, and the exit and the last output of a cancelled command are lost.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from math import inf
from typing import TYPE_CHECKING, NamedTuple

import anyio
from anyio.lowlevel import checkpoint

from currant._channel.channel import Channel
from currant._channel.unread import UnreadWarner
from currant._process.launcher import Checker, HostReporter, check_place, limits_of
from currant._supervisor.dispatcher import Dispatcher
from currant._supervisor.failure import Failure, is_interrupt, unwrapped
from currant._supervisor.side_commands import with_stop_commands
from currant._supervisor.sink_tasks import SinkTasks
from currant._supervisor.sweep import FinalSweep
from currant._synchronization import HomeLoop
from currant._values.command import as_command
from currant._values.errors import TimeLimitError, WrongTaskError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from currant._channel.unread import CodeLine
    from currant._process.launcher import Launcher
    from currant._supervisor.job import Job
    from currant._supervisor.sink_tasks import Sink
    from currant._synchronization import KillBarrier
    from currant._values.command import CommandLike
    from currant._values.plan import Plan

__all__ = ["Settings", "Supervisor"]


class Settings(NamedTuple):
    """The options of a `Runner` that do not concern single commands; see `Runner`."""

    max_processes: int | None
    buffer_size: int
    sinks: Sequence[Sink]
    launcher: Launcher
    timeout: float | None
    keep_open: bool
    iterable: bool
    stop_on_exit: bool
    waits_for_reader: bool
    keep_results: int | None
    built_at: CodeLine


class Supervisor:
    """The tasks of one block, from the entry to the exit.

    Args:
        plan: the commands.
        settings: the Runner's options.
        barrier: the Runner's.

    Attributes:
        channel: takes the messages of all commands.
        home: the event loop of the block.
        scope: the cancel scope of the block; a cancellation stops all commands.
        dispatcher: holds the jobs.
        has_begun: whether the block was entered, and no command was found to be missing.
    """

    # Many attributes: all that a block owns is here, so that the nesting is read in one place.
    def __init__(self, plan: Plan, settings: Settings, barrier: KillBarrier) -> None:
        launcher = settings.launcher
        limits = limits_of(launcher)
        self.home = HomeLoop()
        self.channel = Channel(
            settings.buffer_size,
            plan.commands,
            for_sinks_only=not settings.iterable,
            unread_timeout=inf if settings.waits_for_reader else limits.unread,
            on_unread=UnreadWarner(settings.built_at, limits.unread).warn,
            home=self.home,
        )
        self.scope = anyio.CancelScope()
        self.has_begun: bool = False
        self._plan = plan
        self._settings = settings
        self._limits = limits
        self._barrier = barrier
        self._failure = Failure(barrier, self._on_interrupt)
        self._sinks = SinkTasks(settings.sinks, self._failure, limits)
        self._sweep = FinalSweep(launcher, self._failure, limits)
        self.dispatcher = Dispatcher(
            plan,
            launcher,
            self.channel,
            barrier,
            self.home,
            limits,
            settings.max_processes,
            self._failure,
            settings.keep_results,
        )
        self._is_held_open = settings.keep_open
        self._admitted = anyio.Event()
        self._closing = anyio.Event()
        self._is_supervised = False
        self._over = anyio.Event()
        self._refusal: Exception | None = None  # of a command, so that nothing begins
        self._watching = anyio.CancelScope()
        self._entry = anyio.CancelScope()  # of the launcher, until that is entered
        self._is_entered = False
        if settings.keep_open:
            self.channel.add_producer()

    @property
    def is_open(self) -> bool:
        """Whether all jobs exist, so that the Runner may be called."""
        return self.dispatcher.is_complete

    @property
    def is_closing(self) -> bool:
        """Whether the block has been left, so that no more commands may be added."""
        return self._closing.is_set()

    def check_exit(self) -> None:
        """Check that the block is left in its event loop, unless nothing is left to wait for.

        Raises:
            WrongLoopError: the block is being left elsewhere; nothing has changed.
        """
        if self.is_open and not self._over.is_set():
            self.home.check("the exit of a Runner's block")

    @asynccontextmanager
    async def block(self) -> AsyncGenerator[None]:
        """Run everything; yield to the body, then wait until all is over.

        The body's own exception leaves unchanged.
        """
        self.has_begun = True
        self.home.check("the entry of a Runner")
        owner = anyio.get_current_task()
        error: BaseException | None = None
        # Stacks, because another task may have to leave the block without closing what they hold.
        with ExitStack() as scopes:
            scopes.enter_context(self.scope)
            try:
                async with AsyncExitStack() as groups:
                    tasks = await groups.enter_async_context(anyio.create_task_group())
                    tasks.start_soon(self._supervise, name="currant supervisor")
                    tasks.start_soon(self._watch_barrier, name="currant barrier")
                    try:
                        await self._admitted.wait()
                        self._raise_refusal()
                        self._failure.raise_first()
                        yield
                        self._end_body(owner)
                        await self.join()
                    except BaseException as raised:
                        # Raised again below, since the task group would wrap the error.
                        error = raised
                        if self._refusal is None:
                            self._leave_early(f"the block was left by {type(raised).__name__}")
                    error = await self._end_block(owner, error)
                    self.has_begun = self._refusal is None
                    if anyio.get_current_task() != owner:
                        # Only the owner can close the task group and the cancel scope.
                        groups.pop_all()
                        scopes.pop_all()
            finally:  # This error replaces the error that the task group raised.
                if error is not None:
                    try:
                        raise error
                    finally:
                        del error  # The error refers to this frame.
        self._failure.raise_first()

    def _end_body(self, owner: anyio.TaskInfo) -> None:
        """Do what the normal end of the body asks for, before `join`.

        Raises:
            WrongTaskError: the owner of the block runs, and this is another task.
        """
        if _runs_elsewhere(owner):
            raise WrongTaskError
        if self._settings.stop_on_exit:
            self._barrier.throw("the block was left")
            self.channel.limit_readers(self._limits.unread)
        self.dispatcher.end_inputs()

    async def _end_block(
        self, owner: anyio.TaskInfo, error: BaseException | None
    ) -> BaseException | None:
        """Admit no more commands, and wait until the supervisor has ended.

        Returns:
            The exception to leave the block with.
        """
        is_refused = _runs_elsewhere(owner)
        self.dispatcher.is_closed = True
        self._closing.set()
        self.channel.begin_to_wait()
        error = await self._wait_until_over(error)
        self.channel.close()  # The supervisor may never have begun.
        return (self._failure.error or _wrong_task(error)) if is_refused else error

    async def _wait_until_over(self, error: BaseException | None) -> BaseException | None:
        """Wait until the supervisor has ended, and return the exception to leave the block with.

        Args:
            error: the exception that the body has raised.
        """
        # The end of an event loop may cancel the supervisor before its first step.
        while not self._over.is_set() and (self._is_supervised or error is None):
            try:
                with anyio.CancelScope(shield=True):  # Bounded: see `_supervise`.
                    await self._over.wait()
            except anyio.get_cancelled_exc_class() as cancelled:  # by a native cancellation
                error = error or cancelled
                self._leave_early("the block was cancelled")
            except BaseException as interrupt:  # Ctrl-C on trio, in its main task
                if not is_interrupt(interrupt):
                    raise
                error = error or interrupt
                self._leave_early("Ctrl-C")
                self.hurry()
        return error

    async def join(self) -> None:
        """Wait until all commands have ended, and readers and sinks have had all messages."""
        with self.channel.waiting():
            await self.channel.settled()
            while self.channel.is_producing:
                await self.channel.ended()
                await self.channel.settled()

    async def _find_refusal(self) -> Exception | None:
        """Look up the programs and files of all commands, if the launcher can, and watch files.

        Returns:
            The error with which a command is refused.
        """
        launcher = self._settings.launcher
        try:
            for command in self._plan.commands.values():
                check_place(command, launcher)
            if isinstance(launcher, Checker):
                commands = map(self._plan.to_launch, self._plan.commands.values())
                await launcher.check(with_stop_commands(commands))
            await self.dispatcher.reactions.prepare()
        except Exception as error:
            return error
        return None

    def _raise_refusal(self) -> None:
        if self._refusal is not None:
            raise self._refusal

    def add(self, command: CommandLike) -> Job:
        """Run one more command."""
        built = as_command(command)
        check_place(built, self._settings.launcher)
        self.dispatcher.reactions.check(built)
        return self.dispatcher.add(built)

    def hurry_soon(self) -> None:
        """Skip the rest of the grace; any thread and any signal handler may call this."""
        self.home.call_in_task_soon(self.hurry)

    def hurry(self) -> None:
        """Skip the rest of the grace; called by a task."""
        self._sweep.hurry()
        self._sinks.hurry()
        self.dispatcher.hurry()

    def _on_interrupt(self) -> None:
        """Leave the block: a signal handler has interrupted a task of ours and not the body.

        Ctrl-C on trio interrupts any task, unless trio was told to interrupt the main task at
        checkpoints only; on asyncio the second Ctrl-C does so.  The program's own handlers may
        raise anywhere, often `SystemExit`.
        """
        self.scope.cancel()
        if self._barrier.thrown:
            self.hurry()

    async def _supervise(self) -> None:
        """Run everything; end when the block is left, and all commands and sinks have ended."""
        self._is_supervised = True
        try:
            # Bounded: once the block is left, by the graces, limits.reap and limits.sinks.
            with anyio.CancelScope(shield=True):
                with self._entry:
                    async with self._settings.launcher:
                        if not self._entry.cancel_called:
                            self._is_entered = True
                            self._refusal = await self._find_refusal()
                            if self._refusal is None:
                                await self._run_all()
                if not self._is_entered:  # A kill came first, so that nothing starts.
                    await self._run_all()
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as error:  # of the launcher, on entry or exit, or Ctrl-C on trio
            self._failure.note(unwrapped(error))
        finally:
            self._admitted.set()
            self.dispatcher.reactions.close()
            self.channel.close()
            self._watching.cancel()
            self._over.set()

    async def _run_all(self) -> None:
        """Run all that is nested in the launcher; without it, nothing starts."""
        timeout = self._settings.timeout
        async with anyio.create_task_group() as sinks:
            self._sinks.start(self.channel, sinks)
            async with anyio.create_task_group() as killing:
                killing.start_soon(self.home.run_calls)
                self.dispatcher.reactions.start(killing)
                if self._is_entered:
                    killing.start_soon(self._failure.noting, self._watch_hosts)
                    killing.start_soon(self._sweep.after_kill, self._barrier, self._longest_stop)
                    if self._settings.keep_results is not None:
                        killing.start_soon(self._sweep.each_second, self.dispatcher.some_ended)
                if timeout is not None:
                    killing.start_soon(self._limit_time, timeout)
                async with self.dispatcher.tasks:
                    if not self.is_closing:  # The block may be cancelled already.
                        await self.dispatcher.register_all()
                        self._sinks.release()
                        await self.dispatcher.admit_all()
                    self._admitted.set()
                    await self._closing.wait()
                self.channel.close()
                if self._is_entered:
                    await self._sweep.run()
                killing.cancel_scope.cancel()

    async def _watch_hosts(self) -> None:
        launcher = self._settings.launcher
        if isinstance(launcher, HostReporter):
            await launcher.watch(self.channel.send)

    async def _limit_time(self, seconds: float) -> None:
        await anyio.sleep(seconds)
        await checkpoint()  # If the event loop was busy, processes may have exited in time.
        for life in self.dispatcher.lives.values():
            life.abort(TimeLimitError(life.name, seconds, "runner"))
        self._barrier.throw(f"the time limit of {seconds:g} s is over")

    def _longest_stop(self) -> float:
        return self.dispatcher.longest_stop(self.dispatcher.lives.values())

    async def _watch_barrier(self) -> None:
        """When the barrier is thrown, end the queued commands, and end `keep_open`.

        A cancellation of the block reaches only this task, which takes it for a kill.
        """
        try:
            with self._watching:
                await self._barrier.wait()
                self._let_all_end()
                await anyio.sleep_forever()
        except BaseException as error:  # of a signal handler: Ctrl-C on trio
            if not (isinstance(error, Exception) or is_interrupt(error)):
                raise
            self._failure.note(error)
        finally:
            if not self._watching.cancel_called:
                if self.is_closing:  # The block waits for the sinks.
                    self._leave_early("the block was cancelled")
                else:
                    self._barrier.throw("the block was cancelled")
            self._let_all_end()

    def _let_all_end(self) -> None:
        if not self._is_entered:  # The entry may take long, and nothing needs it any more.
            self._entry.cancel()
        self.dispatcher.reactions.end_all()
        self.dispatcher.dispatch()
        if self._is_held_open:
            self._is_held_open = False
            self.channel.remove_producer()

    def _leave_early(self, reason: str) -> None:
        """Stop everything; the body reads no more messages."""
        self._barrier.throw(reason)
        self._sinks.release()  # The sinks may not have begun.
        self.channel.abandon()
        # The commands stop within the grace, and sinks have as long again for the output.
        grace = 0.0
        if not self._sweep.is_hurried:
            lives = self.dispatcher.lives.values()
            grace = self.dispatcher.longest_stop(life for life in lives if not life.has_ended)
        self._sinks.limit(grace)


def _runs_elsewhere(owner: anyio.TaskInfo) -> bool:
    """Return whether `owner`, the task that entered the block, runs and is not this task."""
    return owner != anyio.get_current_task() and owner in anyio.get_running_tasks()


def _wrong_task(error: BaseException | None) -> WrongTaskError:
    if isinstance(error, WrongTaskError):
        return error
    problem = WrongTaskError()
    problem.__cause__ = error
    return problem
